"""The directory of a run: what is in it is never lost, whatever happened to it between two commands or during one."""
import shutil
import signal
import subprocess
import time

import pytest
from conftest import PROGRAM, PROGRAM_SECONDS
from small_world import make_world, records_of

RUN = """pretrain --config run.toml
--set train.steps=6 train.save_every=2 train.evaluate_every=0 optimizer.warmup_steps=2""".split()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def finished(world):
    world.succeed(*RUN, "--output", "finished")
    return world.directory / "finished"


def refusal(world, *arguments) -> str:
    done = world(*arguments, "--log-level", "error")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def start(world, output, *settings) -> subprocess.Popen:
    """A run that would go on for long, once it has trained a step."""
    limits = ["train.steps=100000", "train.save_every=100000", *settings]
    command = [PROGRAM, *RUN, *limits, "--output", output, "--threads", "1"]
    process = subprocess.Popen(command, cwd=world.directory, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PROGRAM_SECONDS
    metrics = world.directory / output / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("resume", ["auto", "never"])
def test_broken_checkpoints_are_not_trained_over(world, finished, tmp_path, resume):
    run = tmp_path / "run"
    shutil.copytree(finished, run, symlinks=True)
    for step in run.glob("checkpoints/step-*"):
        (step / "config.toml").write_text("")
    metrics = (run / "metrics.jsonl").read_bytes()
    said = refusal(world, *RUN, "train.steps=8", "--resume", resume, "--output", run)
    assert ("none is whole" if resume == "auto" else "already holds checkpoints") in said
    assert (run / "metrics.jsonl").read_bytes() == metrics


def test_copy_with_links_followed_goes_on(world, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    assert (run / "checkpoints" / "latest").is_dir() and not (run / "checkpoints" / "latest").is_symlink()
    world.succeed(*RUN, "train.steps=8", "--output", run)
    assert (run / "checkpoints" / "latest").readlink().name == "step-00000008"
    assert not list(run.glob("checkpoints/.tmp*"))


def test_run_that_goes_on_needs_no_longer_what_it_started_from(world, finished, tmp_path):
    origin = tmp_path / "origin"
    shutil.copytree(finished, origin, symlinks=True)
    command = [*RUN, f"train.init_from={origin}", "--output", tmp_path / "run"]
    world.succeed(*command)
    shutil.rmtree(origin)
    world.succeed(*command[:-2], "train.steps=8", *command[-2:])
    assert f'init_from = "{origin}"' in (tmp_path / "run" / "config.toml").read_text()
    assert str(origin) in refusal(world, *command[:-1], tmp_path / "new")


def test_one_process_at_a_time_trains_in_it_and_a_hangup_saves(world):
    process = start(world, "busy")
    try:
        assert "another process" in refusal(world, *RUN, "--output", "busy")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        assert process.wait(PROGRAM_SECONDS) == 128 + signal.SIGHUP
    finally:
        process.kill()
        process.wait()
    step = records_of(world.directory / "busy", "train")[-1]["step"]
    assert (world.directory / "busy/checkpoints/latest").readlink().name == f"step-{step:08}"


def test_broken_line_costs_no_step_and_is_in_the_log(world):
    text = (world.directory / "train.txt").read_bytes()
    (world.directory / "broken.txt").write_bytes(text + b"caf\xe9\n")
    settings = ['data.train=["broken.txt"]', "data.shuffle_window=1", "train.save_every=0", "train.steps=100000"]
    said = refusal(world, *RUN, *settings, "--output", "broken")
    assert "broken.txt:" in said and "UTF-8" in said
    run = world.directory / "broken"
    step = records_of(run, "train")[-1]["step"]
    assert step > 0
    assert (run / "checkpoints/latest").readlink().name == f"step-{step:08}"
    assert said.removeprefix("error: ").strip() in (run / "log.txt").read_text()
    # Mended without another size, the text is still the same data.
    (world.directory / "broken.txt").write_bytes(text + b"cafe\n")
    world.succeed(*RUN, *settings[:-1], f"train.steps={step + 1}", "--output", "broken")
    (world.directory / "broken.txt").write_bytes(text)
    assert "data files are not those" in refusal(world, *RUN, *settings, "--output", "broken")


def test_config_of_the_user_is_not_written_over(world):
    mine = world.directory / "mine" / "config.toml"
    mine.parent.mkdir()
    mine.write_text('extends = "../run.toml"\ntrain = {seed = 2}  # mine\n')
    assert "config.toml" in refusal(world, "pretrain", "--config", mine, "--output", mine.parent)
    assert mine.read_text().endswith("# mine\n")
    # A run's own, of one that ended before it saved, may be.
    world.succeed(*RUN, "--output", "unsaved")
    shutil.rmtree(world.directory / "unsaved" / "checkpoints")
    own = ["pretrain", "--config", "unsaved/config.toml", "--set", "train.steps=4", "--output", "unsaved"]
    world.succeed(*own)


def test_place_that_cannot_hold_a_run_is_refused_before_any_work(world, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoints").write_text("")
    for output in ("", tmp_path / "file", tmp_path / "file" / "run", tmp_path / "run"):
        assert "expected" in refusal(world, *RUN, "--output", output)


def test_validation_files_that_are_not_reached_are_named(world):
    settings = ['data.validation=["valid.txt","train.txt"]', "train.validation_examples=2"]
    said = world(*RUN, *settings, "--output", "partly").stderr
    assert "1 of 2 files are not reached" in said
    assert "not reached" not in world(*RUN, *settings, "train.validation_examples=0", "--output", "wholly").stderr


def test_folder_may_be_named_like_a_pattern(world):
    folder = world.directory / "set[1]"
    folder.mkdir()
    shutil.copy(world.directory / "train.txt", folder / "text.txt")
    world.succeed("preview", "--config", "run.toml", "--set", 'data.train=["set[1]/text.txt"]')


@pytest.mark.parametrize("command", ["generate --checkpoint finished", "preview --config run.toml", "info --config run.toml"])
def test_output_that_cannot_be_written_is_an_error(world, finished, command):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [PROGRAM, *command.split()], cwd=world.directory, input="cow\n", text=True, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 1
    assert "error: standard output cannot be written" in done.stderr


def test_figures_of_a_fine_tuning_are_of_its_lengths_and_its_model(world, finished):
    settings = ["task.names=[\"glue/sst2\"]", "task.input_length=24", "task.target_length=4", "train.init_from=finished"]
    (world.directory / "tune.toml").write_text("[train]\nbatch_size = 2\n")
    info = world.figures("info", "--config", "tune.toml", "--set", *settings)
    assert (info["step"]["input_length"], info["step"]["target_length"]) == (24, 4)
    assert info["parameters"] == world.figures("info", "--checkpoint", "finished")["parameters"]
    step = world.figures("bench", "step", "--config", "tune.toml", "--steps", 1, "--no-reference", "--set", *settings)
    assert step["tokens"] == 2 * (24 + 4)
    assert step["parameters"] == info["parameters"]["total"]
