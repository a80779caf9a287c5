"""A grid of variants and seeds on the program itself: it trains run after run, comes to the same end when it is
interrupted, skips what is done, and tells a change of its settings before it trains anything.
"""
import json
import random
import signal
import subprocess
import time

import pytest
from conftest import PROGRAM, PROGRAM_SECONDS, Altup

BASE = """
model = {d_model = 16, d_ff = 32, d_kv = 8, num_heads = 2, num_encoder_layers = 2, num_decoder_layers = 2,
         vocab_size = 272}
tokenizer = {model = "tokenizer/spiece.model"}
data = {train = ["train.txt"], validation = ["valid.txt"], input_length = 32, target_length = 0}
train = {steps = 20, batch_size = 4, precision = "fp32", log_every = 1, evaluate_every = 10, save_every = 10,
         keep_checkpoints = 1}
optimizer = {learning_rate = 0.03, schedule = "linear", warmup_steps = 5}
""".replace(",\n         ", ", ")
GRID = """
[experiment]
output = "grid"
configs = ["base.toml"]
seeds = [1, 2]
baseline = "dense"
[[variant]]
name = "dense"
[[variant]]
name = "recycled"
label = "Recycled, K = 2"
set = ["altup.variant=recycled"]
"""
RUNS = [("dense", 1), ("recycled", 1), ("dense", 2), ("recycled", 2)]
WORDS = "cow fox owl hare crane met found saw near old mill hill river barn road quiet yellow frozen".split()


@pytest.fixture(scope="module")
def grid(tmp_path_factory) -> Altup:
    directory = tmp_path_factory.mktemp("grid")
    rng = random.Random(1)
    for name, count in (("train.txt", 300), ("valid.txt", 30)):
        lines = (f"The {' '.join(rng.sample(WORDS, 8))} on day {day}." for day in range(count))
        (directory / name).write_text("\n\n".join(lines))
    (directory / "base.toml").write_text(BASE)
    (directory / "grid.toml").write_text(GRID)
    altup = Altup(directory)
    altup.succeed("tokenizer", "train", "--input", "train.txt", "--vocab-size", 90, "--output", "tokenizer")
    return altup


def experiment(*arguments) -> tuple:
    return ("experiment", "--config", "grid.toml", "--threads", 1, *arguments)


def listed(grid, *arguments) -> list[dict]:
    return json.loads(grid.succeed(*experiment("--list", "--json", "-", *arguments)))


def metrics(directory) -> list[dict]:
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    timing = ("seconds", "data_seconds", "tokens_per_second", "peak_memory_mib")
    return [{key: value for key, value in line.items() if key not in timing} for line in lines]


@pytest.fixture(scope="module")
def whole(grid):
    """The grid without interruption, and what the program printed."""
    done = grid(*experiment("--json", "-"))
    assert done.returncode == 0, done.stderr
    return grid.directory / "grid", json.loads(done.stdout), done.stderr


def test_a_grid_is_trained_seed_by_seed(grid, whole):
    output, figures, log = whole
    assert figures == {"runs": 4, "finished": 4, "failed": [], "output": "grid"}
    places = [log.index(f"run {i} of 4: grid/{variant}/seed-{seed}") for i, (variant, seed) in enumerate(RUNS, 1)]
    assert places == sorted(places)
    runs = listed(grid)
    assert [(run["variant"], run["seed"]) for run in runs] == RUNS
    assert all(run["finished"] and run["step"] == run["steps"] == 20 for run in runs)
    config = (output / "recycled" / "seed-2" / "config.toml").read_text()
    assert 'variant = "recycled"' in config and "\nseed = 2 " in config


def test_runs_of_one_seed_are_paired(whole):
    """Recycled of identical blocks starts as the dense model of its seed does, on the same batches."""
    output, _, _ = whole
    first = {(v, s): metrics(output / v / f"seed-{s}")[0] for v, s in RUNS}
    assert first["dense", 1]["tokens"] == first["recycled", 1]["tokens"]
    for seed in (1, 2):
        assert first["dense", seed]["loss"] == pytest.approx(first["recycled", seed]["loss"], abs=1e-5)
    assert abs(first["dense", 1]["loss"] - first["dense", 2]["loss"]) > 1e-3


def test_runs_at_the_same_time_come_to_the_same_end(grid, whole):
    output, _, _ = whole
    done = grid(*experiment("--jobs", 3, "--output", "jobs", "--json", "-"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"runs": 4, "finished": 4, "failed": [], "output": "jobs"}
    assert done.stderr.count("finished: jobs/") == 4 and "step 10/20" not in done.stderr
    third = done.stderr.index("run 3 of 4: jobs/dense/seed-2")
    assert third < done.stderr.index("finished: "), "three are begun before the first is finished"
    for variant, seed in RUNS:
        run = f"{variant}/seed-{seed}"
        assert metrics(grid.directory / "jobs" / run) == metrics(output / run)


def test_what_is_finished_is_left_alone(grid, whole):
    output, _, _ = whole
    before = {path: path.stat().st_mtime_ns for path in output.glob("*/seed-*/metrics.jsonl")}
    again = grid(*experiment())
    assert again.returncode == 0
    assert "4 of 4 runs are finished" in again.stderr and "run 1 of 4" not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_an_interrupted_grid_comes_to_the_same_end(grid, whole):
    """A signal ends the run in hand after a save and starts no other; the same command goes on."""
    output, _, _ = whole
    arguments = experiment("--output", "stopped", "--only", "dense", "--seeds", "2", "--set", "train.steps=3000",
                           "train.evaluate_every=1000", "train.save_every=1000")
    arguments += ("--log-level", "warning")
    process = subprocess.Popen([str(PROGRAM), *map(str, arguments)], cwd=grid.directory, stderr=subprocess.PIPE, text=True)
    written = grid.directory / "stopped" / "dense" / "seed-2" / "metrics.jsonl"
    deadline = time.monotonic() + PROGRAM_SECONDS
    while not (written.exists() and written.read_text().count("\n") > 2) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=PROGRAM_SECONDS)
    assert process.returncode == 128 + signal.SIGTERM, log
    assert "saved at step" in log
    (run,) = listed(grid, *arguments[5:-2])
    assert 0 < run["step"] < 3000 and not run["finished"]

    # The whole of a shorter grid: stopped after no time at all, then trained on.
    short = experiment("--output", "short")
    timed = grid(*short, "--minutes", "0.01")
    assert timed.returncode == 0
    assert "run the same command again" in timed.stderr, "less than a second does not do for four runs"
    assert grid(*short).returncode == 0
    for variant, seed in RUNS:
        assert metrics(grid.directory / "short" / variant / f"seed-{seed}") == metrics(output / variant / f"seed-{seed}")


def test_a_run_is_ended_however_soon_after_its_start(grid):
    """Time that is up at once: the signal reaches a run that is only just being started."""
    for number in range(10):
        minutes = 1e-5 * (1 + number)  # under a millisecond and more
        done = grid(*experiment("--output", f"at_once_{number}", "--minutes", minutes, "--set", "train.steps=1000"))
        assert "0 of 4 runs are finished" in done.stderr, done.stderr


def test_a_part_of_the_grid(grid):
    assert grid(*experiment("--output", "part", "--only", "recycled", "--seeds", 2)).returncode == 0
    finished = [(run["variant"], run["seed"]) for run in listed(grid, "--output", "part") if run["finished"]]
    assert finished == [("recycled", 2)]
    report = grid.succeed("report", "part", "--output", "part.html", "--json", "-")
    assert json.loads(report)["report"] == "part.html"
    text = (grid.directory / "part.md").read_text()
    assert "- dense: seed 1 not begun; seed 2 not begun\n" in text
    assert "- Recycled, K = 2: seed 1 not begun\n" in text


def test_step_times_and_the_report(grid, whole):
    output, _, _ = whole
    grid.succeed(*experiment("--bench", "--rounds", 2, "--steps", 1))
    times = json.loads((output / "step_times.json").read_text())
    assert times["threads"] == 1 and times["precision"] == "fp32" and set(times["variants"]) == {"dense", "recycled"}
    for variant in times["variants"].values():
        assert len(variant["rounds"]) == 2 and min(variant["rounds"]) > 0
        assert variant["seconds_per_step"] == pytest.approx(sum(variant["rounds"]) / 2)
        assert variant["tokens"] == 4 * (32 + 8)
    grid.succeed("report", "grid", "--output", "out/grid.html")
    report = json.loads((grid.directory / "out" / "grid.json").read_text())
    dense, recycled = report["variants"]
    assert report["missing"] == [] and dense["difference"] is None
    last = {(v, s): metrics(output / v / f"seed-{s}")[-1]["loss"] for v, s in RUNS}
    assert dense["loss"]["mean"] == pytest.approx((last["dense", 1] + last["dense", 2]) / 2)
    differences = [last["recycled", seed] - last["dense", seed] for seed in (1, 2)]
    assert recycled["difference"]["mean"] == pytest.approx(sum(differences) / 2)
    assert recycled["difference"]["standard_deviation"] == pytest.approx(abs(differences[0] - differences[1]) / 2**0.5)
    info = json.loads(grid.succeed("info", "--config", output / "recycled" / "seed-1" / "config.toml", "--json", "-"))
    assert recycled["parameters"]["embedding"] == info["parameters"]["embedding"]
    assert sum(recycled["parameters"].values()) == info["parameters"]["total"]
    assert recycled["flops_per_token"] == pytest.approx(info["flops_per_token"])
    for name in ("tokens", "time", "difference"):
        assert (grid.directory / "out" / f"grid_{name}.svg").exists()


def refused(grid, *arguments) -> str:
    done = grid(*arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_mistakes_are_told_in_a_line_before_anything_is_trained(grid, whole):
    assert refused(grid, *experiment("--set", "train.batch_size=8")) == (
        "error: grid/dense/seed-1: was begun with train.batch_size = 4, which is now 8; expected the same, another "
        "output, or this directory moved away\n"
    )
    grid.succeed(*experiment("--set", "train.log_every=1", "--list"))  # which changes nothing that is learnt
    assert "no variant \"dnse\"; did you mean \"dense\"?" in refused(grid, *experiment("--only", "dnse"))
    assert "no seed 9; expected one of 1, 2" in refused(grid, *experiment("--seeds", 9))
    assert "--seeds" in refused(grid, *experiment("--seed", 9))
    assert "variant dense: " in refused(grid, *experiment("--output", "new", "--set", "train.stepps=8"))
    assert "data.validation is not set" in refused(grid, *experiment("--output", "new", "--set", "data.validation=[]"))
    assert not (grid.directory / "new").exists()
    assert "reported alone" in refused(grid, "report", "grid", "grid/dense/seed-1")
    assert "minutes" in refused(grid, *experiment("--minutes", 0))
    assert "one variant at a time" in refused(grid, *experiment("--bench", "--jobs", 2))
