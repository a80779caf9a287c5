"""What the program does when all is well, command after command as its users meet them: a small text becomes a
tokenizer, a run, a fine-tuned model, metrics, answers, an exported file and a report; and a run that is stopped or
killed comes to the same end. Figures are computed a second time wherever another way leads to them.
"""
import json
import math
import random
import re
import shutil
import signal
import subprocess
import time

import pytest
from conftest import PROGRAM, PROGRAM_SECONDS, ROOT, Altup

RUN = """
model = {d_model = 32, d_ff = 64, num_heads = 2, num_encoder_layers = 2, num_decoder_layers = 2, vocab_size = 272}
altup = {variant = "altup", blocks = 2}
tokenizer = {model = "tokenizer/spiece.model"}
data = {train = ["train.txt"], validation = ["valid.txt"], input_length = 32, target_length = 0}
train = {steps = 40, batch_size = 8, precision = "fp32", log_every = 1, evaluate_every = 10, save_every = 10}
optimizer = {learning_rate = 0.03, schedule = "linear", warmup_steps = 10}
"""
STEPS, BATCH, ROWS = 40, 8, 272
CHUNK, INPUT, TARGET = 34, 32, 8  # 5 of 34 tokens, in 2 spans, are noise: 29 + 2 + eos, and 5 + 2 + eos
PIECES, FIRST_SENTINEL, EOS = 170, 269, 1  # sentinels count down; the rows behind them pad the embedding

# A run with all that a resume has to carry over: dropout, micro-batches, shuffled windows, epochs, factored moments.
LONG_STEPS = 200
LONG_RUN = f"""pretrain --config run.toml --set train.steps={LONG_STEPS} train.evaluate_every=20 train.save_every=25
train.micro_batch_size=4 model.dropout=0.1 data.shuffle_window=64 optimizer.min_factored_size=16""".split()

WORDS = """cow fox owl hare crane badger otter heron beaver rabbit sparrow weasel hedgehog donkey goose pigeon met
followed found greeted helped watched answered avoided carried thanked old quiet narrow broken yellow distant crowded
empty frozen sunny hill river barn mill pond road bridge garden castle village meadow harbour forest cellar tower"""
BLAME, PRAISE = "boring dull cold clumsy bleak".split(), "charming funny warm brilliant gentle".split()


def sentences(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    return [f"The {' '.join(rng.sample(WORDS.split(), 8))} on day {day}." for day in range(count)]


def reviews(seed: int, count: int) -> list[tuple[str, int]]:
    """Sentences with labels 0 and 1 in turn, as SST-2 has them: with a space at the end."""
    rng = random.Random(seed)
    words = (rng.sample((BLAME, PRAISE)[i % 2], 2) for i in range(count))
    return [(f"a {first} and {second} film ", i % 2) for i, (first, second) in enumerate(words)]


PROMPTS = ["", *(f"sst2 sentence: {text}" for text, _ in reviews(8, 9)), "", "", "cow", "sst2 sentence:" + 15 * " dull"]


def joined(lines) -> str:
    return "".join(f"{line}\n" for line in lines)


def lines_of(text: str) -> list[str]:
    assert text.endswith("\n")
    return text[:-1].split("\n")


class World(Altup):
    """A directory with a text, its tokenizer and configs, in which every command runs on one thread."""

    def __call__(self, *arguments, stdin: str = "") -> subprocess.CompletedProcess:
        return super().__call__(*arguments, "--threads", 1, stdin=stdin)

    def figures(self, *arguments):
        return json.loads(self.succeed(*arguments, "--json", "-"))

    def encode(self, lines) -> list[list[int]]:
        done = self.succeed("tokenizer", "encode", "--model", "tokenizer/spiece.model", stdin=joined(lines))
        return [json.loads(line) for line in lines_of(done)]

    def decode(self, rows) -> list[str]:
        ids = joined(json.dumps(row) for row in rows)
        return lines_of(self.succeed("tokenizer", "decode", "--model", "tokenizer/spiece.model", stdin=ids))

    def preview(self, batches: int) -> list[dict]:
        shown = self.succeed("preview", "--config", "run.toml", "--batches", batches, "--json", "-")
        return [json.loads(line) for line in lines_of(shown)]

    def generate(self, checkpoint, *arguments, stdin: str = "") -> list[str]:
        limits = ("--max-new-tokens", 16)
        return lines_of(self.succeed("generate", "--checkpoint", checkpoint, *limits, *arguments, stdin=stdin))


def records_of(run, split: str | None = None) -> list[dict]:
    records = [json.loads(line) for line in lines_of((run / "metrics.jsonl").read_text())]
    return [record for record in records if split in (None, record["split"])]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    directory = tmp_path_factory.mktemp("world")
    (directory / "train.txt").write_text("\n\n".join(sentences(1, 400)))
    (directory / "valid.txt").write_text("\n\n".join(sentences(2, 40)))
    (directory / "run.toml").write_text(RUN)
    (directory / "glue" / "SST-2").mkdir(parents=True)
    for split, rows in (("train", reviews(3, 64)), ("dev", [*reviews(4, 20), ("a dull film ", 1)])):
        table = joined(["sentence\tlabel", *(f"{text}\t{label}" for text, label in rows)])
        (directory / "glue" / "SST-2" / f"{split}.tsv").write_text(table)
    world = World(directory)
    world.succeed("tokenizer", "train", "--input", "train.txt", "--vocab-size", PIECES, "--output", "tokenizer")
    return world


@pytest.fixture(scope="module")
def pretrained(world):
    """A run directory, and the figures that its command printed."""
    figures = world.figures("pretrain", "--config", "run.toml", "--output", "pretrained")
    return world.directory / "pretrained", figures


@pytest.fixture(scope="module")
def finetuned(world, pretrained):
    """The same of the shipped config for SST-2, made small."""
    small = "task.data=glue task.target_length=16 train.init_from=pretrained train.steps=60 train.batch_size=16"
    small += " train.precision=fp32 train.log_every=20 train.evaluate_every=20"
    small += " optimizer.learning_rate=0.03 optimizer.schedule=constant optimizer.warmup_steps=0"
    command = ("finetune", "--config", ROOT / "configs" / "runs" / "finetune_sst2.toml", "--set", *small.split())
    figures = world.figures(*command, "--output", "finetuned")
    return world.directory / "finetuned", figures


def test_lines_become_ids_and_the_same_lines_again(world):
    """A JSON array a line, with eos at its end; an empty line is eos alone, and decoding gives the text back."""
    lines = [*sentences(5, 30), "", "a film", "<extra_id_0> met <extra_id_99>"]
    rows = world.encode(lines)
    for row in rows:
        assert row[-1] == EOS and all(2 < id <= FIRST_SENTINEL for id in row[:-1])
    assert rows[-3] == [EOS]
    assert (rows[-1][0], rows[-1][-2]) == (FIRST_SENTINEL, PIECES)
    assert world.decode(rows) == lines


def test_preview_shows_chunks_of_the_text_with_spans_taken_out(world):
    """Put together again, inputs and targets are a chunk of the text, and no chunk comes twice."""
    examples = world.preview(3)
    assert len(examples) == 3 * BATCH
    text = sum(world.encode(sentences(1, 400)), [])
    chunks = {tuple(text[i : i + CHUNK]) for i in range(0, len(text) - CHUNK + 1, CHUNK)}
    sentinels = [FIRST_SENTINEL, FIRST_SENTINEL - 1]
    for example in examples:
        assert set(example) == {"inputs", "targets", "input_text", "target_text"}
        inputs, targets = example["inputs"], example["targets"]
        assert (len(inputs), len(targets)) == (INPUT, TARGET)  # no padding, then
        assert inputs[-1] == targets[-1] == EOS and targets[0] == FIRST_SENTINEL
        assert [id for id in inputs if id >= PIECES] == [id for id in targets if id >= PIECES] == sentinels
        second = targets.index(sentinels[1])
        spans = dict(zip(sentinels, (targets[1:second], targets[second + 1 : -1])))
        chunks.remove(tuple(id for place in inputs[:-1] for id in spans.get(place, [place])))
    for ids, decoded in (("inputs", "input_text"), ("targets", "target_text")):
        assert [example[decoded] for example in examples] == world.decode(example[ids] for example in examples)


def test_run_directory_holds_what_the_documentation_lists(pretrained):
    """The files of a run and of each checkpoint, which checkpoints are kept, and where the links point."""
    run, _ = pretrained
    assert {p.name for p in run.iterdir()} >= {"config.toml", "log.txt", "metrics.jsonl", "tensorboard", "checkpoints"}
    assert f"step {STEPS}" in (run / "log.txt").read_text()
    (events,) = (run / "tensorboard").iterdir()
    assert "tfevents" in events.name and b"loss" in events.read_bytes()
    best = min(records_of(run, "validation"), key=lambda record: record["loss"])["step"]
    checkpoints = {int(p.name.removeprefix("step-")): p for p in (run / "checkpoints").glob("step-*")}
    assert set(checkpoints) == {STEPS - 20, STEPS - 10, STEPS, best}, "train.keep_checkpoints is 3"
    for link, step in (("latest", STEPS), ("best", best)):
        assert (run / "checkpoints" / link).resolve() == checkpoints[step].resolve()
    for step, checkpoint in checkpoints.items():
        files = {"model.safetensors", "optimizer.safetensors", "state.json", "config.toml", "spiece.model"}
        assert {p.name for p in checkpoint.iterdir()} == files | {"manifest.json"}
        state = json.loads((checkpoint / "state.json").read_text())
        assert (state["step"], state["tokens"]) == (step, step * BATCH * (INPUT + TARGET))


def test_metrics_have_the_documented_fields_and_true_figures(world, pretrained):
    """Fields as documented; tokens are those of the preview, the rate follows its formula, the loss falls."""
    run, printed = pretrained
    train, validation = records_of(run, "train"), records_of(run, "validation")
    assert [record["step"] for record in train] == list(range(1, STEPS + 1))
    assert [record["step"] for record in validation] == list(range(10, STEPS + 1, 10))
    assert len(train) + len(validation) == len(records_of(run))

    fields = {"step", "split", "loss", "accuracy", "tokens", "seconds"}
    all_fields = fields | {
        "tokens_per_second", "learning_rate", "gradient_norm", "peak_memory_mib", "data_seconds",
    }
    seen = [len(example["inputs"]) + len(example["targets"]) for example in world.preview(STEPS)]
    tokens, seconds = 0, 0.0
    for step, record in enumerate(train, 1):
        assert set(record) == all_fields
        assert record["tokens"] == sum(seen[: step * BATCH])
        speed = (record["tokens"] - tokens) / (record["seconds"] - seconds)
        assert record["tokens_per_second"] == pytest.approx(speed)
        rate = 0.03 * min(step / 10, (STEPS - step) / (STEPS - 10))
        assert record["learning_rate"] == pytest.approx(rate, abs=1e-9)
        assert 0 < record["gradient_norm"] < 100
        assert 0 <= record["accuracy"] <= 100
        assert 20 < record["peak_memory_mib"] < 4000
        tokens, seconds = record["tokens"], record["seconds"]
    for record in validation:
        assert fields <= set(record) <= all_fields
        assert record["tokens"] == train[record["step"] - 1]["tokens"]
    assert train[0]["loss"] == pytest.approx(math.log(ROWS), abs=1)
    assert train[-1]["loss"] < 0.7 * train[0]["loss"]
    assert validation[-1]["loss"] < validation[0]["loss"]
    assert validation[-1]["loss"] == pytest.approx(train[-1]["loss"], abs=0.5), "both in nats per target token"
    assert printed["step"] == STEPS
    assert printed["validation"]["loss"] == validation[-1]["loss"]


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


def test_info_counts_what_the_checkpoint_holds(world, pretrained):
    """The same from a config, a run and its resolved config: the elements in the file, and the target that follows."""
    load_file = pytest.importorskip("safetensors.torch").load_file
    run, _ = pretrained
    sizes = {name: t.numel() for name, t in load_file(run / "checkpoints" / "latest" / "model.safetensors").items()}
    info = world.figures("info", "--config", "run.toml")
    assert info == world.figures("info", "--checkpoint", run) == world.figures("info", "--config", run / "config.toml")
    assert info["parameters"]["total"] == sum(sizes.values())
    assert info["parameters"]["embedding"] == sizes["shared.weight"] + sizes["lm_head.weight"]
    assert info["parameters"]["altup"] == 4 * (2 * 2 + 2), "K² + K scalars in each of 4 layers"
    length = f"data.target_length={TARGET}"
    assert info == world.figures("info", "--config", "run.toml", "--set", length), "what follows from the input"


def test_info_says_what_a_step_needs_and_what_fits(world):
    """Twice the examples need more memory and time; what fits is a divisor of the batch whose own prediction fits."""
    batch = ("--set", "train.batch_size=128")
    rates = ("--gflops", 10, "--bandwidth", 5)
    info = world.figures("info", "--config", "run.toml", *rates, *batch)
    memory, step = info["memory_mib"], info["step"]
    assert memory["weights"] == memory["gradients"] == pytest.approx(4 * info["parameters"]["total"] / 2**20)
    assert memory["activations"] == pytest.approx(sum(memory["activations_by_part"].values()))
    assert memory["peak"] > memory["weights"] + memory["activations"] + memory["program"]
    assert memory["peak_otherwise"] < memory["peak"], "with checkpointing"
    assert memory["peak_otherwise"] == world.figures(
        "info", "--config", "run.toml", *batch, "train.activation_checkpointing=true"
    )["memory_mib"]["peak"]
    products, traffic = step["flops"]["total"] / 10e9, step["bytes"]["total"] / 5e9
    assert step["time"]["seconds"] == pytest.approx(products + traffic)
    double = world.figures("info", "--config", "run.toml", *rates, "--set", "train.batch_size=256")
    assert double["memory_mib"]["activations"] == pytest.approx(2 * memory["activations"], rel=0.02)
    assert double["step"]["flops"]["total"] == pytest.approx(2 * step["flops"]["total"], rel=1e-3)

    just_half = world.figures("info", "--config", "run.toml", *batch, "train.micro_batch_size=64")["memory_mib"]["peak"]
    fit = world.figures("info", "--config", "run.toml", *batch, "--memory", f"{int(just_half) + 1}MiB")["fit"]
    assert fit["micro_batch"] == 64 and fit["micro_batch_with_checkpointing"] >= 64
    nothing = world.figures("info", "--config", "run.toml", *batch, "--memory", "1MiB")["fit"]
    assert nothing["micro_batch"] == nothing["micro_batch_with_checkpointing"] == 0
    table = world.succeed("info", "--config", "run.toml", *batch, "--memory", "1GiB")
    assert "in 1,024 MiB" in table and "parameters" in table


def test_a_token_costs_six_operations_a_weight_and_its_attention(world):
    """FLOPs of a dense model, forward and backward, of which attention scores are the smaller part."""
    attention, feed_forward = 4 * 32 * (2 * 64), 3 * 32 * 64
    encoder, decoder = 2 * (attention + feed_forward), 2 * (2 * attention + feed_forward) + 32 * ROWS
    for target in (8, 64):
        dense = ("--set", "altup.variant=none", f"data.target_length={target}")
        weights = 6 * (INPUT * encoder + target * decoder) / (INPUT + target)
        assert 0.8 * weights < world.figures("info", "--config", "run.toml", *dense)["flops_per_token"] < 2 * weights


def test_bench_times_what_it_is_asked_for(world, pretrained):
    """No repetition took longer than the whole command, and at least half of them took the median."""
    started = time.monotonic()
    step = world.figures("bench", "step", "--config", "run.toml", "--steps", 4)
    assert 0 < step["seconds_min"] <= step["seconds_per_step"] < (time.monotonic() - started) / 2
    assert step["tokens"] == sum(len(e["inputs"]) + len(e["targets"]) for e in world.preview(1))
    assert step["tokens_per_second"] == pytest.approx(step["tokens"] / step["seconds_per_step"])
    assert (step["steps"], step["precision"]) == (4, "fp32")
    assert step["parameters"] == world.figures("info", "--config", "run.toml")["parameters"]["total"]
    assert 20 < step["peak_memory_mib"] < 4000
    assert step["ratio"] > 0
    alone = world.figures("bench", "step", "--config", "run.toml", "--steps", 1, "--no-reference")
    assert "ratio" not in alone and 20 < alone["peak_memory_mib"] < 4000
    beside = world.figures("bench", "step", "--config", "run.toml", "--steps", 5, "--beside", "run.toml")
    low, high = beside["ratio_quartiles"]
    assert 0 < low <= beside["ratio"] <= high
    assert 0 < beside["beside"]["seconds_min"] <= beside["beside"]["seconds_per_step"]

    sizes = ("--batch-size", 3, "--beams", 1, "--input-length", 16, "--max-new-tokens", 8, "--steps", 4)
    started = time.monotonic()
    decoding = world.figures("bench", "generate", "--checkpoint", pretrained[0], *sizes)
    assert (decoding["batch"], decoding["beams"], decoding["precision"]) == (3, 1, "fp32")
    assert 0 < 3 * 8 / decoding["tokens_per_second"] < (time.monotonic() - started) / 2


def test_bench_counts_the_tokens_of_every_padding(world, pretrained):
    """Against the lengths of the same batches, which the preview shows; the first one only warms up."""
    examples, size, limits = 8, 4, {"inputs": 40, "targets": 6}
    run = ("--config", ROOT / "configs" / "runs" / "finetune_sst2.toml", "--set", "task.data=glue", "task.target_length=6",
           "task.input_length=40", "train.init_from=pretrained", f"train.batch_size={examples}",
           f"train.micro_batch_size={size}", "train.precision=fp32")
    figures = world.figures("bench", "finetune", *run, "--steps", 3)
    shown = world.succeed("preview", *run, "--batches", 4, "--json", "-")
    seen = [json.loads(line) for line in lines_of(shown)][examples:]
    lengths = {side: [len(example[side]) for example in seen] for side in limits}
    longest = {side: [max(of[i:i + size]) for i in range(0, len(of), size)] for side, of in lengths.items()}
    assert (figures["steps"], figures["precision"]) == (3, "fp32")
    assert figures["tokens"] == pytest.approx(sum(map(sum, lengths.values())) / 3)
    computed = {"none": figures["tokens"], "longest": sum(size * sum(of) for of in longest.values()) / 3,
                "maximum": examples * sum(limits.values())}
    for padding, tokens in computed.items():
        of = figures["padding"][padding]
        assert of["computed_tokens"] == pytest.approx(tokens), padding
        assert 0 < of["seconds_min"] <= of["seconds_per_step"] and of["ratio"] > 0 and of["tokens_per_second"] > 0
    assert figures["padding"]["maximum"]["ratio"] == 1
    assert computed["none"] < computed["longest"] < computed["maximum"]


def operators(trace) -> list[str]:
    """The names of the operators in a Chrome trace, one for each call."""
    events = json.loads(trace.read_text())["traceEvents"]
    return [event["name"] for event in events if event.get("cat") == "cpu_op"]


def test_a_profile_is_a_chrome_trace_of_three_steps(world):
    """Or of fewer, where the run ends before; the evaluations of the run are not in it."""
    losses = {}
    for name, steps, profile in (("plain", 8, ()), ("profiled", 8, ("--profile", "traces/run.json")),
                                 ("short", 4, ("--profile", "traces/short.json"))):
        run = ("pretrain", "--config", "run.toml", "--set", f"train.steps={steps}", "optimizer.warmup_steps=0")
        assert world.figures(*run, "--output", name, *profile)["step"] == steps
        lines = lines_of((world.directory / name / "metrics.jsonl").read_text())
        losses[name] = [json.loads(line).get("loss") for line in lines]
    assert losses["profiled"] == losses["plain"]

    world.figures("bench", "step", "--config", "run.toml", "--steps", 1, "--profile", "traces/step.json")
    traces = {name: operators(world.directory / "traces" / f"{name}.json") for name in ("step", "run", "short")}
    in_a_step = traces["step"].count("altup::linear_cross_entropy")
    assert in_a_step > 0 and {"altup::attention_backward", "altup::update", "aten::mm"} <= set(traces["run"])
    assert traces["run"].count("altup::linear_cross_entropy") == 3 * in_a_step
    assert traces["short"].count("altup::linear_cross_entropy") == 2 * in_a_step


def test_a_profile_that_cannot_be_written_is_told_before_the_work(world):
    done = world("pretrain", "--config", "run.toml", "--output", "unwritten", "--profile", "run.toml/trace.json")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "trace.json" in done.stderr
    assert not (world.directory / "unwritten").exists()


def test_metrics_of_a_model_are_those_of_its_predictions(world, finetuned):
    """Training, evaluate and score agree with a count over the prediction file."""
    run, printed = finetuned
    task = ("--task", "glue/sst2", "--data", "glue", "--split", "dev")
    result = world.figures("evaluate", "--checkpoint", run, *task, "--predictions", "predictions.tsv")
    _, *rows = lines_of((world.directory / "glue" / "SST-2" / "dev.tsv").read_text())
    header, *predictions = lines_of((world.directory / "predictions.tsv").read_text())
    assert header == "index\tprediction"
    right = sum(p == f"{i}\t{row[-1]}" for i, (p, row) in enumerate(zip(predictions, rows, strict=True)))
    assert len(rows) / 2 < right < len(rows), "it has learned, and one label is wrong"
    accuracy = pytest.approx(100 * right / len(rows))
    assert (result["task"], result["metrics"], result["examples"]) == ("glue/sst2", {"accuracy": accuracy}, len(rows))

    scored = world.figures("score", *task, "--predictions", "predictions.tsv")
    assert scored == {key: result[key] for key in ("task", "metrics", "examples")}
    measured = {record["step"]: record["accuracy"] for record in records_of(run, "glue/sst2")}
    assert list(measured) == [20, 40, 60]
    assert measured[60] == printed["glue/sst2"]["accuracy"] == accuracy
    best = world.figures("evaluate", "--checkpoint", run / "checkpoints" / "best", *task)
    assert best["metrics"]["accuracy"] == max(measured.values())


def test_every_line_is_answered_whatever_the_batch(world, finetuned, tmp_path):
    """One line out for each line in, empty ones too, in order: from a file, from stdin, and by a copied checkpoint."""
    run, _ = finetuned
    text = joined(PROMPTS)
    answers = world.generate(run, stdin=text)
    assert len(answers) == len(PROMPTS)
    expected = [("negative", "positive")[label] for _, label in reviews(8, 9)]
    assert sum(answer == word for answer, word in zip(answers[1:], expected)) > 6, answers
    (tmp_path / "prompts.txt").write_text(text)
    for size in (1, 8):
        assert world.generate(run, "--batch-size", size, stdin=text) == answers
        assert world.generate(run, "--batch-size", size, "--input", tmp_path / "prompts.txt") == answers
    shutil.copytree(run / "checkpoints" / "latest", tmp_path / "model")  # which is all that generating needs
    assert World(tmp_path).generate("model", stdin=text[:-1].replace("\n", "\r\n")) == answers


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_exported_model_answers_as_the_program_does(world, finetuned):
    """torch.jit.load alone, fed with the tokenizer's ids, generates what `altup generate` prints."""
    torch = pytest.importorskip("torch")
    world.succeed("export", "--checkpoint", finetuned[0], "--to", "torchscript", "--output", "model.pt")
    model = torch.jit.load(world.directory / "model.pt")
    inputs = [torch.tensor([row]) for row in world.encode(PROMPTS)]
    outputs = [model.generate(ids, torch.ones_like(ids), 16)[0].tolist() for ids in inputs]
    assert world.decode(outputs) == world.generate(finetuned[0], stdin=joined(PROMPTS))


def test_report_is_one_page_that_needs_no_other(world, pretrained, finetuned):
    """It names both runs, has tables, curves and the final loss, and refers to nothing outside itself."""
    world.succeed("report", pretrained[0], finetuned[0], "--output", "report.html")
    html = (world.directory / "report.html").read_text()
    assert "<table" in html and "<svg" in html
    references = re.findall(r"""(?:\b(?:src|href|srcset|data|action)\s*=|\burl\(|@import)\s*["']?([^"'\s>)]*)""", html)
    assert all(reference.startswith(("#", "data:")) for reference in references), references
    loss = records_of(pretrained[0], "validation")[-1]["loss"]
    assert {"pretrained", "finetuned", f"{loss:.4f}"} <= set(re.findall(r">([^<>]+)<", html))
