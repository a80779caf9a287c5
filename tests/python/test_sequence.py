"""The shorter encoders and coefficients of the token as their users meet them: trained, counted, asked, exported and
taken back; what cannot be is told in one line."""
import json

import pytest
from conftest import Altup

RUN = """
model = {d_model = 32, d_ff = 64, num_heads = 2, num_encoder_layers = 4, num_decoder_layers = 2, vocab_size = 144}
tokenizer = {model = "spiece.model"}
data = {train = ["train.txt"], validation = ["train.txt"], input_length = 24, target_length = 0}
train = {steps = 20, batch_size = 8, log_every = 10, evaluate_every = 20, save_every = 20}
optimizer = {learning_rate = 0.03, schedule = "constant", warmup_steps = 0}
runtime = {threads = 1}
"""
INPUTS = "The cow met the fox.\nthe old mill\nThe owl near the river on day 3.\n"
ALTUP = {
    "none": "",
    "sequence": '[altup]\nvariant = "sequence"\nstride = 3\n',
    "stride_skip": '[altup]\nvariant = "stride_skip"\nstride = 3\n',
    "average_pool": '[altup]\nvariant = "average_pool"\nstride = 3\n',
    "altup_token": '[altup]\nvariant = "altup"\ncoefficients = "token"\n',
    "recycled_token": '[altup]\nvariant = "recycled"\ncoefficients = "token"\n',
}


@pytest.fixture(scope="module", params=[kind for kind in ALTUP if kind != "none"])
def trained(request, tmp_path_factory, tokenizer_model) -> tuple[str, Altup]:
    directory = tmp_path_factory.mktemp(request.param)
    (directory / "spiece.model").write_bytes(tokenizer_model.read_bytes())
    (directory / "train.txt").write_text((tokenizer_model.parent.parent / "text.txt").read_text() * 4)
    (directory / "run.toml").write_text(RUN + ALTUP[request.param])
    (directory / "dense.toml").write_text(RUN)
    altup = Altup(directory)
    altup.succeed("pretrain", "--config", "run.toml", "--output", "run", "--set", "train.precision=bf16")
    return request.param, altup


def figures(altup: Altup, *arguments) -> dict:
    return json.loads(altup.succeed(*arguments, "--json", "-"))


def answers(altup: Altup, checkpoint: str, *options) -> list[str]:
    return altup.succeed(
        "generate", "--checkpoint", checkpoint, "--max-new-tokens", 12, *options, stdin=INPUTS
    ).splitlines()


def test_it_learns_and_goes_on(trained):
    kind, altup = trained
    read = lambda: [json.loads(line) for line in (altup.directory / "run/metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in read() if record["split"] == "train"]
    assert losses[-1] < losses[0] - 0.2
    altup.succeed("pretrain", "--config", "run.toml", "--output", "run", "--set", "train.precision=bf16", "train.steps=22")
    assert read()[-1]["step"] == 22


def test_info_counts_its_parameters_and_its_work(trained):
    kind, altup = trained
    model, dense = (figures(altup, "info", "--config", name) for name in ("run.toml", "dense.toml"))
    token = 32 + 2 * 32 + 4 * 2 + 2 * 2  # norm, router, p and g of a layer
    expected = {"sequence": 2 * 3, "altup_token": 6 * token, "recycled_token": 6 * token}.get(kind, 0)
    assert model["parameters"]["altup"] == expected
    if kind != "altup_token":  # whose embedding and head are wider, too
        assert model["parameters"]["total"] == dense["parameters"]["total"] + expected
    if "token" in kind:
        assert model["flops_per_token"] >= dense["flops_per_token"]
    else:
        assert model["flops_per_token"] < 0.9 * dense["flops_per_token"]


def test_an_answer_depends_neither_on_the_batch_nor_on_padding(trained):
    _, altup = trained
    for options in ((), ("--beams", 3), ("--precision", "fp32"), ("--precision", "int8")):
        together = answers(altup, "run", "--batch-size", 8, *options)
        assert answers(altup, "run", "--batch-size", 1, *options) == together
        assert len(together) == 3


def test_it_comes_back_from_a_hugging_face_directory(trained):
    _, altup = trained
    altup.succeed("export", "--checkpoint", "run", "--to", "huggingface", "--output", "exported")
    assert json.loads((altup.directory / "exported/config.json").read_text())["model_type"] == "altup_t5"
    altup.succeed("import", "--from", "exported", "--output", "imported")
    assert answers(altup, "imported", "--precision", "fp32") == answers(altup, "run", "--precision", "fp32")


def test_what_cannot_be_is_refused_in_one_line(trained):
    kind, altup = trained
    if "token" in kind:
        pytest.skip("there is nothing it cannot do")
    for arguments, complaint in (
        (("info", "--config", "run.toml", "--set", "model.num_encoder_layers=1"), "expected model.num_encoder_layers of at least"),
        (("info", "--config", "run.toml", "--set", "altup.stride=0"), "altup.stride is 0"),
        (("convert", "--checkpoint", "run", "--altup", "recycled", "--output", "wider"), "has no blocks that could become more"),
    ):
        done = altup(*arguments)
        assert done.returncode == 2 and complaint in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
