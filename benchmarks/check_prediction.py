#!/usr/bin/env python3
"""Holds what `altup info` predicts of a training step against `altup bench step`: peak memory and, with --time, seconds.

    benchmarks/check_prediction.py --sizes small base --precision fp32 --checkpointing off on --time

Each line of the table is one configuration: the prediction is made first (with --time from rates that `info --measure` takes
on this machine), then the step is measured in a process of its own. Exits with 1 where a prediction is further off than
--within. --program-only prints what a step takes whose model is next to nothing: kProgramBytes of trainers/memory_estimate.h.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEXT_TO_NOTHING = {
    "model.d_model": 8,
    "model.d_ff": 8,
    "model.d_kv": 8,
    "model.num_heads": 1,
    "model.num_encoder_layers": 1,
    "model.num_decoder_layers": 1,
    "model.vocab_size": 16,
    "data.input_length": 16,
    "train.batch_size": 1,
}


def program_mib(options: argparse.Namespace) -> float:
    settings = [f"{key}={value}" for key, value in NEXT_TO_NOTHING.items()]
    return figures(options, ["bench", "step", "--no-reference"], "tiny", "dense", settings)["peak_memory_mib"]


def figures(options: argparse.Namespace, command: list, size: str, variant: str, settings: list[str]) -> dict:
    configs = [ROOT / "configs" / "models" / f"t5_{size}.toml"]
    configs += [ROOT / "configs" / "altup" / f"{variant}.toml"] if variant != "dense" else []
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        call = [options.program, *command, "--threads", options.threads, "--json", file.name, "--config", *configs]
        call += ["--set", *settings]
        done = subprocess.run([*map(str, call)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{options.program} failed: {done.stderr.strip()}")
        return json.load(open(file.name))


def check(options: argparse.Namespace, size: str, variant: str, precision: str, checkpointing: str) -> dict:
    settings = [
        f"train.precision={precision}",
        f"train.batch_size={options.batch}",
        f"train.activation_checkpointing={'true' if checkpointing == 'on' else 'false'}",
        f"data.input_length={options.input_length}",
        "data.target_length=0",
        *options.set,
    ]
    info = figures(options, ["info", *(["--measure"] if options.time else [])], size, variant, settings)
    step = figures(options, ["bench", "step", "--no-reference", "--steps", options.steps], size, variant, settings)
    found = {
        "name": f"{size} | {variant} | {precision} | {checkpointing}",
        "memory": (info["memory_mib"]["peak"], step["peak_memory_mib"]),
        "during": info["memory_mib"]["peak_during"],
        "seconds": (info["step"]["time"]["seconds"] if options.time else None, step["seconds_per_step"]),
        "parts": info["step"].get("time", {}),
    }
    print(json.dumps(found), file=sys.stderr)
    return found


def row(found: dict, time: bool) -> str:
    predicted, measured = found["memory"]
    cells = [found["name"], f"{predicted:,.0f}", f"{measured:,.0f}", f"{predicted / measured:.2f}", found["during"]]
    if time:
        predicted, measured = found["seconds"]
        parts = found["parts"]
        cells += [f"{predicted:.2f}", f"{measured:.2f}", f"{predicted / measured:.2f}"]
        cells += [" + ".join(f"{parts[name]:.2f}" for name in ("linears", "attention", "traffic", "exponentials"))]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build" / "altup"))
    parser.add_argument("--sizes", nargs="+", default=["small", "base"])
    parser.add_argument("--variants", nargs="+", default=["dense"], help="dense, or configs/altup/NAME.toml")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32"])
    parser.add_argument("--checkpointing", nargs="+", choices=("off", "on"), default=["off", "on"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--input-length", type=int, default=512)
    parser.add_argument("--set", nargs="*", default=[], help="further settings")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the machine has")
    parser.add_argument("--steps", type=int, default=1, help="timed steps, after two that warm up")
    parser.add_argument("--time", action="store_true", help="predict the seconds, too")
    parser.add_argument("--within", type=float, default=0.15)
    parser.add_argument("--program-only", action="store_true", help="measure the program without a model, and nothing else")
    options = parser.parse_args()
    if options.program_only:
        print(f"{program_mib(options):.1f} MiB")
        return
    all_found = [
        check(options, size, variant, precision, checkpointing)
        for size in options.sizes
        for variant in options.variants
        for precision in options.precision
        for checkpointing in options.checkpointing
    ]
    head = "| size | variant | precision | checkpointing | predicted MiB | measured MiB | ratio | peak during |"
    head += " predicted s | measured s | ratio | products + attention's + traffic + exponentials, s |" if options.time else ""
    print(head, "|" + "---|" * (head.count("|") - 1), *(row(found, options.time) for found in all_found), sep="\n")
    pairs = [found[key] for found in all_found for key in (("memory", "seconds") if options.time else ("memory",))]
    if any(abs(predicted / measured - 1) > options.within for predicted, measured in pairs):
        sys.exit(1)


if __name__ == "__main__":
    main()
