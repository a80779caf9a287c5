"""`altup convert` as its users meet it: a trained model gets more blocks, says what it said before, and is trained on."""
import json

import pytest
from conftest import Altup

RUN = """
model = {d_model = 32, d_ff = 64, num_heads = 2, num_encoder_layers = 2, num_decoder_layers = 2, vocab_size = 144}
tokenizer = {model = "spiece.model"}
data = {train = ["train.txt"], validation = ["train.txt"], input_length = 24, target_length = 0}
train = {steps = 30, batch_size = 8, precision = "fp32", log_every = 10, evaluate_every = 30, save_every = 30}
optimizer = {learning_rate = 0.03, schedule = "constant", warmup_steps = 0}
runtime = {threads = 1}
"""
INPUTS = "The cow met the fox.\nthe old mill\nThe owl near the river on day 3.\n"


@pytest.fixture
def dense(altup: Altup, tokenizer_model) -> Altup:
    """A directory with a dense model in runs/dense."""
    (altup.directory / "spiece.model").write_bytes(tokenizer_model.read_bytes())
    text = (tokenizer_model.parent.parent / "text.txt").read_text()
    (altup.directory / "train.txt").write_text(text * 4)
    (altup.directory / "run.toml").write_text(RUN)
    altup.succeed("pretrain", "--config", "run.toml", "--output", "runs/dense")
    return altup


def answers(altup: Altup, checkpoint: str) -> str:
    return altup.succeed("generate", "--checkpoint", checkpoint, "--max-new-tokens", 12, "--threads", 1, stdin=INPUTS)


@pytest.mark.parametrize("variant", ["altup", "recycled", "sum"])
def test_a_converted_model_answers_as_before_and_is_trained_on(dense: Altup, variant: str):
    said = dense.succeed(
        "convert", "--checkpoint", "runs/dense", "--altup", variant, "--blocks", 2, "--output", "wider", "--json", "-"
    )
    assert json.loads(said) == {"output": "wider", "variant": variant, "blocks": 2}
    assert answers(dense, "wider") == answers(dense, "runs/dense")
    # Again, from two blocks to four.
    dense.succeed("convert", "--checkpoint", "wider", "--altup", variant, "--blocks", 4, "--output", "widest")
    assert answers(dense, "widest") == answers(dense, "runs/dense")

    dense.succeed(
        "pretrain", "--config", "run.toml", "--output", "runs/on", "--set", "train.init_from=wider", "train.log_every=1",
        f"altup.variant={variant}", "altup.blocks=2",
    )  # fmt: skip
    records = [json.loads(line) for line in (dense.directory / "runs/on/metrics.jsonl").read_text().splitlines()]
    dense_records = [
        json.loads(line) for line in (dense.directory / "runs/dense/metrics.jsonl").read_text().splitlines()
    ]
    last = [record["loss"] for record in dense_records if record["split"] == "train"][-1]
    first = [record["loss"] for record in records if record["split"] == "train"][0]
    assert first < last + 0.3  # it goes on from where the dense model was, not from ln V


def test_what_cannot_be_converted_is_refused_in_one_line(dense: Altup):
    dense.succeed("convert", "--checkpoint", "runs/dense", "--altup", "recycled", "--output", "wider")
    for arguments, complaint in (
        (("wider", "--altup", "altup"), '"recycled" cannot become "altup"'),
        (("wider", "--altup", "recycled", "--blocks", 3), "altup.blocks is 3; expected a multiple of the 2"),
        (("runs/dense", "--altup", "recycled", "--set", "model.d_ff=80"), "a conversion changes [altup] only"),
        (("wider", "--altup", "recycled", "--blocks", 4, "--set", "altup.coefficients=token"), "a conversion changes [altup] only"),
        (("runs/dense", "--altup", "recycled", "--set", "altup.coefficients=token", "altup.init=active"), 'expected altup.init "identity"'),
        (("nowhere", "--altup", "recycled"), "nowhere"),
    ):
        done = dense("convert", "--checkpoint", *arguments, "--output", "other")
        assert done.returncode == 2 and complaint in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (dense.directory / "other").exists()
