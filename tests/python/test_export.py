"""Models that the program trained for a step, exported, and opened in a process that has torch and nothing of ours:
any batch, any length, padding honoured, and generate is the argmax of forward. With --fused it has the library of operators
too."""
import json
import subprocess
import sys

import pytest

pytest.importorskip("torch")

MODEL = """
[model]
size = "custom"
d_model = 24
d_ff = 40
d_kv = 8
num_heads = 2
num_encoder_layers = 3
num_decoder_layers = 2
vocab_size = 150
"""

TRAINING = """
[tokenizer]
model = "{tokenizer}"
[data]
train = ["text.txt"]
validation = ["text.txt"]
input_length = 24
target_length = 0
[train]
steps = 2
batch_size = 2
precision = "fp32"
seed = {seed}
[optimizer]
name = "adamw"
learning_rate = 0.01
schedule = "constant"
warmup_steps = 0
"""

VARIANTS = {
    "dense": '[altup]\nvariant = "none"\n',
    "altup_k2": '[altup]\nvariant = "altup"\nblocks = 2\n',
    "altup_k3_same": '[altup]\nvariant = "altup"\nblocks = 3\nblock_selection = "same"\ninit = "active"\n',
    "altup_k2_summed": '[altup]\nvariant = "altup"\nblocks = 2\ncross_attention = "summed"\n',
    "recycled_k2": '[altup]\nvariant = "recycled"\nblocks = 2\n',
    "none_switch": "[moe]\nexperts = 3\n",
    "altup_k2_switch": '[altup]\nvariant = "altup"\nblocks = 2\n[moe]\nexperts = 3\n',
    "recycled_k2_choice": '[altup]\nvariant = "recycled"\nblocks = 2\n[moe]\nexperts = 3\nrouter = "expert_choice"\n',
    "altup_k2_token": '[altup]\nvariant = "altup"\nblocks = 2\ncoefficients = "token"\n',
    "recycled_k3_token": '[altup]\nvariant = "recycled"\nblocks = 3\ncoefficients = "token"\ninit = "active"\n',
    "sequence": '[altup]\nvariant = "sequence"\nstride = 3\n',
    "sequence_choice": '[altup]\nvariant = "sequence"\n[moe]\nexperts = 3\nrouter = "expert_choice"\n',
    "stride_skip": '[altup]\nvariant = "stride_skip"\n',
    "average_pool": '[altup]\nvariant = "average_pool"\n',
    "average_pool_choice": '[altup]\nvariant = "average_pool"\n[moe]\nexperts = 3\nrouter = "expert_choice"\n',
    "sum_k2": '[altup]\nvariant = "sum"\nblocks = 2\n',
}

# Runs in a directory of its own, isolated from this one's modules (-I).
CHECKS = '''
import json, sys
import torch

assert not any("altup" in name for name in sys.modules)
for library in sys.argv[2:]:
    torch.ops.load_library(library)
extra = {"config.json": "", "valid_vocab": ""}
model = torch.jit.load(sys.argv[1], _extra_files=extra)
config, words = json.loads(extra["config.json"]), int(extra["valid_vocab"])
vocabulary = config["vocab_size"]
assert words < vocabulary
torch.manual_seed(3)


def close(a, b):
    assert a.shape == b.shape, (a.shape, b.shape)
    assert (a - b).abs().max() <= 2e-5 * b.abs().max(), (a - b).abs().max()


lengths = [31, 9, 1, 40]
mask = (torch.arange(40)[None] < torch.tensor(lengths)[:, None]).long()
ids = torch.randint(2, words, (4, 40))
targets = torch.randint(2, words, (4, 21))
together = model.forward(ids, mask, targets)
assert together.shape == (4, 21, vocabulary) and not together.requires_grad
close(model.forward(ids, mask.bool(), targets), together)

memory = model.encode(ids, mask)
for row, length in enumerate(lengths):
    one = slice(row, row + 1)
    ones = torch.ones(1, length, dtype=torch.long)
    close(model.forward(ids[one, :length], ones, targets[one]), together[one])
    alone = model.encode(ids[one, :length], ones)
    pools = config["altup"]["variant"] == "average_pool"
    assert alone.size(1) == (-(-length // config["altup"]["stride"]) if pools else length)
    close(alone, memory[one, : alone.size(1)])
    close(model.forward(ids[one, :length], ones, targets[one, :5]), together[one, :5])  # causal

padded = torch.where(mask.bool(), ids, torch.full_like(ids, 5))
assert torch.equal(model.forward(padded, mask, targets), together)
assert not torch.equal(model.forward(padded, torch.ones_like(mask), targets), together)

limit = 37
generated = model.generate(ids, mask, limit)
for row, length in enumerate(lengths):
    one = slice(row, row + 1)
    ones = torch.ones(1, length, dtype=torch.long)
    expected = [0]
    while len(expected) <= limit and expected[-1] != 1:
        logits = model.forward(ids[one, :length], ones, torch.tensor([expected]))
        expected.append(int(logits[0, -1, :words].argmax()))
    expected = expected[1:]
    found = generated[row].tolist()
    assert found[: len(expected)] == expected, (row, found, expected)
    assert not any(found[len(expected) :]), "padded with 0 behind eos"
    alone = model.generate(ids[one, :length], ones, limit)[0].tolist()
    assert alone == expected, (row, alone, expected)
assert model.generate(ids, mask, 1).shape == (4, 1)
assert model.forward(ids[:0], mask[:0], targets[:0]).shape == (0, 21, vocabulary)
assert model.generate(ids[:0], mask[:0], 3).size(0) == 0
print(json.dumps({"rows": generated.tolist(), "variant": config["altup"]["variant"]}))
'''


@pytest.fixture(scope="module", params=VARIANTS)
def trained(request, tmp_path_factory, tokenizer_model):
    """A run directory of each variant."""
    from conftest import Altup

    directory = tmp_path_factory.mktemp(request.param)
    altup = Altup(directory)
    (directory / "text.txt").write_text(tokenizer_model.parents[1].joinpath("text.txt").read_text())
    training = TRAINING.format(tokenizer=tokenizer_model, seed=1)
    (directory / "run.toml").write_text(MODEL + VARIANTS[request.param] + training)
    altup.succeed("pretrain", "--config", "run.toml", "--output", "run")
    return request.param, directory, altup


def check_elsewhere(directory, *arguments):
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", CHECKS, *arguments],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_exported_file_is_consistent_without_our_library(trained):
    variant, directory, altup = trained
    altup.succeed("export", "--checkpoint", "run", "--to", "torchscript", "--output", "model.pt")
    done = check_elsewhere(directory, directory / "model.pt")
    assert done.returncode == 0, done.stderr
    named = {"dense": "none"}.get(variant, variant)
    assert f"{named}_".startswith(json.loads(done.stdout)["variant"] + "_")


def test_fused_file_is_consistent_with_our_operators(trained, ops_library):
    variant, directory, altup = trained
    if variant not in ("dense", "altup_k2", "recycled_k3_token", "altup_k2_switch", "sequence"):
        pytest.skip("its operators are those of another variant; the C++ tests have all")
    altup.succeed("export", "--checkpoint", "run", "--to", "torchscript", "--fused", "--output", "fused.pt")
    done = check_elsewhere(directory, directory / "fused.pt", ops_library)
    assert done.returncode == 0, done.stderr
    without = check_elsewhere(directory, directory / "fused.pt")
    assert without.returncode != 0
    assert "Unknown builtin op: altup::" in without.stderr


def test_export_to_a_missing_directory_is_refused(trained):
    _, _, altup = trained
    done = altup("export", "--checkpoint", "run", "--to", "torchscript", "--output", "nowhere/model.pt")
    assert done.returncode == 2
    assert "error: nowhere/model.pt: cannot be written" in done.stderr
