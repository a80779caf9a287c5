"""Runs that are stopped or killed: the same command goes on, and comes to the same end bit for bit."""
import json
import signal
import subprocess
import time

import pytest
from conftest import PROGRAM, PROGRAM_SECONDS
from small_world import STEPS, make_world, records_of

# A run with all that a resume has to carry over: dropout, micro-batches, shuffled windows, epochs, factored moments.
LONG_STEPS = 200
LONG_RUN = f"""pretrain --config run.toml --set train.steps={LONG_STEPS} train.evaluate_every=20 train.save_every=25
train.micro_batch_size=4 model.dropout=0.1 data.shuffle_window=64 optimizer.min_factored_size=16""".split()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def uninterrupted(world):
    world.succeed(*LONG_RUN, "--output", "uninterrupted")
    return world.directory / "uninterrupted"


def last_step(run) -> int:
    """Of the whole lines of metrics.jsonl, which may be growing; 0 where there is none."""
    metrics = run / "metrics.jsonl"
    lines = metrics.read_text().split("\n")[:-1] if metrics.exists() else []
    return json.loads(lines[-1])["step"] if lines else 0


def saved_step(run) -> int:
    latest = run / "checkpoints" / "latest"
    return int(latest.readlink().name.removeprefix("step-")) if latest.is_symlink() else 0


def weights_of(run) -> bytes:
    return (run / "checkpoints" / "latest" / "model.safetensors").read_bytes()


def repeatable(records: list[dict]) -> list[dict]:
    """The records without what depends on the clock and the machine."""
    changing = {"tokens_per_second", "seconds", "data_seconds", "peak_memory_mib"}
    return [{name: value for name, value in record.items() if name not in changing} for record in records]


def interrupt(world, command, number, ripe) -> int:
    """Starts the command, sends it the signal as soon as ripe() is true, and returns its exit status."""
    arguments = [str(PROGRAM), *map(str, command), "--threads", "1", "--log-level", "error"]
    process = subprocess.Popen(arguments, cwd=world.directory)
    try:
        deadline = time.monotonic() + PROGRAM_SECONDS
        while not ripe():
            assert process.poll() is None, "the run ended before it could be interrupted"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(number)
        return process.wait(PROGRAM_SECONDS)
    finally:
        process.kill()
        process.wait()


def test_stopped_run_saves_and_goes_on_bit_for_bit(world, uninterrupted):
    """SIGTERM and SIGINT end a run with 128 + signal, after a save that nothing else asks for here."""
    run = world.directory / "stopped"
    command = [*LONG_RUN, "train.save_every=0", "train.evaluate_every=0", "--output", run]
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        ripe = last_step(run) + 30
        assert interrupt(world, command, number, lambda: last_step(run) >= ripe) == status
        assert ripe <= last_step(run) == saved_step(run) < LONG_STEPS
    world.succeed(*command)
    assert weights_of(run) == weights_of(uninterrupted)
    assert repeatable(records_of(run, "train")) == repeatable(records_of(uninterrupted, "train"))
    assert repeatable(records_of(run, "validation")) == repeatable(records_of(uninterrupted, "validation")[-1:])


def test_killed_run_goes_on_bit_for_bit_from_its_last_checkpoint(world, uninterrupted):
    """SIGKILL as soon as a checkpoint appears, and again when records are ahead of the checkpoint: these are made anew,
    a line that was cut off is dropped, and the command of a finished run changes nothing."""
    run = world.directory / "killed"
    command = [*LONG_RUN, "--output", run]
    assert interrupt(world, command, signal.SIGKILL, lambda: saved_step(run) > 0) == -signal.SIGKILL
    first = saved_step(run)
    ahead = lambda: first < saved_step(run) < last_step(run) - 3
    assert interrupt(world, command, signal.SIGKILL, ahead) == -signal.SIGKILL
    assert ahead() and last_step(run) < LONG_STEPS
    with open(run / "metrics.jsonl", "a") as metrics:
        metrics.write('{"step":199,"split":"tr')
    for _ in range(2):
        world.succeed(*command)
        assert weights_of(run) == weights_of(uninterrupted)
        assert repeatable(records_of(run)) == repeatable(records_of(uninterrupted))


def test_record_after_a_resume_is_of_its_whole_interval(world):
    """Steps 1 to 25 are in the checkpoint of a killed run, of which 22 to 25 belong to the record of step 28."""
    command = [*LONG_RUN, "train.log_every=7", "--output"]
    run, whole = world.directory / "intervals", world.directory / "whole_intervals"
    assert interrupt(world, [*command, run], signal.SIGKILL, lambda: saved_step(run) > 0) == -signal.SIGKILL
    assert saved_step(run) % 7 > 0
    for output in (run, whole):
        world.succeed(*command, output)
    assert repeatable(records_of(run, "train")) == repeatable(records_of(whole, "train"))


@pytest.mark.parametrize("step", [STEPS // 2, STEPS])
def test_evaluation_that_a_signal_cut_short_is_made_up_for(world, step):
    """The step is done and its evaluation, of a text that takes a while, is not: the same command still measures it."""
    run = world.directory / f"unmeasured_{step}"
    long_text = "data.validation=" + json.dumps(["train.txt"] * 10)
    settings = [long_text, "train.validation_examples=0", f"train.evaluate_every={STEPS // 2}"]
    command = ["pretrain", "--config", "run.toml", "--set", *settings, "--output", run]
    assert interrupt(world, command, signal.SIGTERM, lambda: last_step(run) == step) == 143
    world.succeed(*command)
    assert [record["step"] for record in records_of(run, "validation")] == [STEPS // 2, STEPS]
