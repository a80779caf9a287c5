#!/usr/bin/env python3
"""Step time against batch, input length, depth and K, beside what the arithmetic of `altup info` says, as a table and SVG.

    benchmarks/growth.py --figure docs/figures/growth.svg --json growth.json

Each axis varies one number of one small model. Every point is timed by `altup bench step` in a process of its own, the axis
forwards and backwards in turn over the rounds, so that what else the machine does meets all points alike. The arithmetic of
a point is (products of the step) / rate + (attention's products) / rate + (bytes read and written beside) / bandwidth +
exponentials / rate, with four rates for the whole figure: those that `altup info --measure` finds at the middle of all
axes. A term grows faster than its arithmetic where measured over arithmetic rises along an axis.
"""
import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MIDDLE = {"batch": 4, "input": 256, "depth": 4, "K": 1}
AXES = {
    "batch": ("batch, examples", [1, 2, 4, 8, 16]),
    "input": ("input length, tokens", [64, 128, 256, 512, 1024]),
    "depth": ("layers of a stack", [1, 2, 4, 8, 16]),
    "K": ("K, blocks (Recycled-AltUp)", [1, 2, 4, 8]),
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe and Ito's, as in the report


def settings(point: dict, model: str) -> list[str]:
    keys = {
        "model.size": model,
        "model.num_encoder_layers": point["depth"],
        "model.num_decoder_layers": point["depth"],
        "data.input_length": point["input"],
        "data.target_length": 0,
        "train.batch_size": point["batch"],
        "train.precision": "fp32",
        "altup.variant": "recycled" if point["K"] > 1 else "none",
        "altup.blocks": max(2, point["K"]),
    }
    return ["--set", *(f"{key}={value}" for key, value in keys.items())]


def figures(options: argparse.Namespace, command: list[str], point: dict) -> dict:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        config = ROOT / "configs" / "models" / f"t5_{options.model}.toml"
        call = [options.program, *command, "--config", config, "--threads", options.threads, "--json", file.name]
        done = subprocess.run([*map(str, call), *settings(point, options.model)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{options.program} failed: {done.stderr.strip()}")
        return json.load(open(file.name))


def time_points(options: argparse.Namespace) -> dict:
    """Seconds of every round, by axis and value."""
    seconds = {axis: {value: [] for value in values} for axis, (_, values) in AXES.items()}
    command = ["bench", "step", "--no-reference", "--steps", str(options.steps)]
    for number in range(options.rounds):
        for axis, (_, values) in AXES.items():
            for value in values if number % 2 == 0 else reversed(values):
                found = figures(options, command, MIDDLE | {axis: value})
                seconds[axis][value].append(found["seconds_min"])
                print(f"round {number + 1}: {axis} {value}: {found['seconds_min']:.4f} s", file=sys.stderr)
    return seconds


def arithmetic(work: dict, rates: dict) -> float:
    flops = work["flops"]
    return (
        (flops["total"] - flops["attention"]) / (1e9 * rates["linear_gflops"])
        + flops["attention"] / (1e9 * rates["attention_gflops"])
        + work["bytes"]["total"] / (1e9 * rates["gigabytes"])
        + work["exponentials"] / rates["exponentials"]
    )


def measure(options: argparse.Namespace) -> dict:
    rates = figures(options, ["info", "--measure"], MIDDLE)["step"]["time"]["rates"]
    seconds = time_points(options)
    axes = {}
    for axis, (_, values) in AXES.items():
        axes[axis] = []
        for value in values:
            work = figures(options, ["info"], MIDDLE | {axis: value})["step"]
            axes[axis].append(
                {
                    "value": value,
                    "seconds": statistics.median(seconds[axis][value]),
                    "rounds": seconds[axis][value],
                    "arithmetic": arithmetic(work, rates),
                    "gflop": 1e-9 * work["flops"]["total"],
                    "gigabytes": 1e-9 * work["bytes"]["total"],
                }
            )
    return {"model": options.model, "middle": MIDDLE, "rates": rates, "axes": axes}


def exponent(points: list[dict], key: str) -> float:
    """Slope of log(time) over log(value) between the last two points."""
    first, last = points[-2:]
    return math.log(last[key] / first[key]) / math.log(last["value"] / first["value"])


def table(found: dict) -> str:
    lines = ["| axis | value | GFLOP | other GB | arithmetic, s | measured, s | measured over arithmetic |", "|---|---|---|---|---|---|---|"]
    for axis, points in found["axes"].items():
        for p in points:
            lines.append(
                f"| {axis} | {p['value']} | {p['gflop']:.1f} | {p['gigabytes']:.2f} | {p['arithmetic']:.3f} "
                f"| {p['seconds']:.3f} | {p['seconds'] / p['arithmetic']:.2f} |"
            )
    lines += ["", "| axis | last exponent, arithmetic | measured |", "|---|---|---|"]
    for axis, points in found["axes"].items():
        lines.append(f"| {axis} | {exponent(points, 'arithmetic'):.2f} | {exponent(points, 'seconds'):.2f} |")
    return "\n".join(lines)


def ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten, from the last one below `low` to the first above `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    all_ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    first = max(tick for tick in all_ticks if tick <= low * 1.001)
    last = min(tick for tick in all_ticks if tick >= high * 0.999)
    return [tick for tick in all_ticks if first <= tick <= last]


class Panel:
    """One axis, both scales logarithmic: points are measured, the line is the arithmetic."""

    width, height, left, top, right, bottom = 300, 220, 46, 22, 10, 34

    def __init__(self, x: float, y: float, label: str, points: list[dict], low: float, high: float, colour: str):
        self.x, self.y, self.label, self.points, self.colour = x, y, label, points, colour
        self.low, self.high = low, high

    def at(self, value: float, seconds: float) -> tuple[float, float]:
        first, last = self.points[0]["value"], self.points[-1]["value"]
        across = math.log(value / first) / math.log(last / first)
        up = math.log(seconds / self.low) / math.log(self.high / self.low)
        inner_width = self.width - self.left - self.right - 16
        inner_height = self.height - self.top - self.bottom
        return self.x + self.left + 8 + across * inner_width, self.y + self.height - self.bottom - up * inner_height

    def svg(self) -> str:
        parts, bottom = [], self.y + self.height - self.bottom
        left, right = self.x + self.left, self.x + self.width - self.right
        for tick in ticks(self.low, self.high):
            y = self.at(self.points[0]["value"], tick)[1]
            parts.append(f'<path d="M{left:.1f} {y:.1f} H{right:.1f}" stroke="#e3e3e0"/>')
            parts.append(f'<text x="{left - 5:.1f}" y="{y + 3.5:.1f}" text-anchor="end">{tick:g}</text>')
        for point in self.points:
            x = self.at(point["value"], self.low)[0]
            parts.append(f'<text x="{x:.1f}" y="{bottom + 13:.1f}" text-anchor="middle">{point["value"]}</text>')
        line = " L".join("{:.1f} {:.1f}".format(*self.at(p["value"], p["arithmetic"])) for p in self.points)
        parts.append(f'<path d="M{line}" fill="none" stroke="#555" stroke-dasharray="4 3"/>')
        for point in self.points:
            x, y = self.at(point["value"], point["seconds"])
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{self.colour}"/>')
        middle = (left + right) / 2
        parts.append(f'<text x="{middle:.1f}" y="{bottom + 27:.1f}" text-anchor="middle">{self.label}</text>')
        key = "seconds a step; line: arithmetic"
        parts.append(f'<text x="{left:.1f}" y="{self.y + 13:.1f}" text-anchor="start">{key}</text>')
        return "\n".join(parts)


def figure(found: dict) -> str:
    everything = [p[key] for points in found["axes"].values() for p in points for key in ("seconds", "arithmetic")]
    scale = ticks(min(everything), max(everything))
    low, high = scale[0], scale[-1]
    panels = []
    for i, (axis, points) in enumerate(found["axes"].items()):
        x, y = (i % 2) * Panel.width, (i // 2) * Panel.height
        panels.append(Panel(x, y, AXES[axis][0], points, low, high, COLOURS[i]).svg())
    width, height = 2 * Panel.width, 2 * Panel.height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="10" '
        f'fill="#333" role="img" aria-label="step time against batch, input length, depth and K">\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n' + "\n".join(panels) + "\n</svg>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build" / "altup"))
    parser.add_argument("--model", default="tiny", help="configs/models/t5_NAME.toml")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the machine has")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a point and round; the fastest counts")
    parser.add_argument("--json", default="", help="where the figures go; with --draw, where they are read from")
    parser.add_argument("--figure", default="", help="SVG")
    parser.add_argument("--draw", action="store_true", help="measure nothing: table and figure of --json")
    options = parser.parse_args()
    found = json.loads(Path(options.json).read_text()) if options.draw else measure(options)
    print(table(found))
    if options.json and not options.draw:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")
    if options.figure:
        Path(options.figure).parent.mkdir(parents=True, exist_ok=True)
        Path(options.figure).write_text(figure(found))


if __name__ == "__main__":
    main()
