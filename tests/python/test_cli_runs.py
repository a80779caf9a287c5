"""What the program does when all is well, command after command as its users meet them: a small text becomes a
tokenizer, a run, a fine-tuned model, metrics, answers, an exported file and a report. Figures are computed a second
time wherever another way leads to them.
"""
import json
import math
import re
import shutil

import pytest
from conftest import ROOT
from small_world import (
    BATCH,
    CHUNK,
    EOS,
    FIRST_SENTINEL,
    INPUT,
    PIECES,
    PROMPTS,
    ROWS,
    STEPS,
    TARGET,
    World,
    joined,
    lines_of,
    make_world,
    records_of,
    reviews,
    sentences,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


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


def test_settings_that_change_nothing_are_told(world):
    """Blocks of a Recycled model that stay equal, and what only the other optimiser reads; the run goes on."""
    settings = ("train.steps=1", "altup.variant=recycled", "altup.blocks=5", "optimizer.beta1=0.8")
    done = world("pretrain", "--config", "run.toml", "--output", "told", "--set", *settings, "optimizer.warmup_steps=0")
    assert done.returncode == 0, done.stderr
    assert "altup.blocks = 5: of a Recycled model, 3 blocks that no layer computes start equal" in done.stderr
    assert "adafactor does not read optimizer.beta1" in done.stderr
