"""Mixtures of experts as users meet them: trained, answered with in every precision, widened, fine-tuned and counted."""
import json

import pytest
from conftest import Altup

RUN = """
model = {d_model = 32, d_ff = 64, num_heads = 2, num_encoder_layers = 2, num_decoder_layers = 2, vocab_size = 144}
tokenizer = {model = "spiece.model"}
data = {train = ["train.txt"], validation = ["train.txt"], input_length = 24, target_length = 0}
train = {steps = 20, batch_size = 8, precision = "fp32", log_every = 1, evaluate_every = 20, save_every = 20}
optimizer = {learning_rate = 0.03, schedule = "constant", warmup_steps = 0}
runtime = {threads = 1}
"""
KINDS = {
    "switch": '\n[moe]\nexperts = 4\nrouter = "switch"\n',
    "batch_prioritised": '\n[moe]\nexperts = 4\nrouter = "switch"\nbatch_prioritised = true\n',
    "expert_choice": '\n[moe]\nexperts = 4\nrouter = "expert_choice"\n',
}
INPUTS = "The cow met the fox.\nthe old mill\n\nThe owl near the river on day 3.\n"
STATISTICS = {"router_load_balance_loss", "router_z_loss", "router_entropy", "router_dropped", "router_max_load",
              "router_min_load"}  # fmt: skip


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory, tokenizer_model) -> Altup:
    """A directory with a trained model in runs/mixed."""
    altup = Altup(tmp_path_factory.mktemp(request.param))
    (altup.directory / "spiece.model").write_bytes(tokenizer_model.read_bytes())
    text = (tokenizer_model.parent.parent / "text.txt").read_text()
    (altup.directory / "train.txt").write_text(text * 4)
    (altup.directory / "run.toml").write_text(RUN + KINDS[request.param])
    altup.succeed("pretrain", "--config", "run.toml", "--output", "runs/mixed")
    return altup


def records(altup: Altup, run: str, split: str) -> list[dict]:
    lines = (altup.directory / "runs" / run / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["split"] == split]


def answers(altup: Altup, checkpoint: str, *options) -> str:
    """Sampled, as the likeliest outputs of a model that has learned so little are all the same."""
    common = ("generate", "--checkpoint", checkpoint, "--max-new-tokens", 12, "--threads", 1, "--sample", "--seed", 4)
    return altup.succeed(*common, *options, stdin=INPUTS)


def test_training_tells_how_tokens_were_routed(trained: Altup):
    train, validation = records(trained, "mixed", "train"), records(trained, "mixed", "validation")
    for record in train:
        assert STATISTICS <= set(record)
        assert 0 <= record["router_dropped"] <= 100
        assert 0 <= record["router_min_load"] <= 1.25 and 1 <= record["router_max_load"] <= 4
        assert record["router_load_balance_loss"] > 0.5 and record["router_z_loss"] > 0
        assert 0 < record["router_entropy"] <= 1.3863 + 1e-3, "at most ln 4"
    assert not STATISTICS & set(validation[-1])
    assert train[-1]["loss"] < 0.8 * train[0]["loss"]


def test_the_reference_kernels_train_the_same_model(trained: Altup):
    trained.succeed("pretrain", "--config", "run.toml", "--output", "runs/slow", "--set", "runtime.kernels=reference",
                    "train.steps=3", "train.evaluate_every=0")  # fmt: skip
    for slow, fast in zip(records(trained, "slow", "train"), records(trained, "mixed", "train")):
        assert slow["loss"] == pytest.approx(fast["loss"], rel=1e-4)
        assert slow["gradient_norm"] == pytest.approx(fast["gradient_norm"], rel=1e-3)


def test_every_precision_answers_and_an_answer_is_its_inputs_own(trained: Altup):
    together = answers(trained, "runs/mixed", "--precision", "fp32", "--batch-size", 4)
    assert together.count("\n") == 4 and len(set(together.splitlines())) > 2
    assert answers(trained, "runs/mixed", "--precision", "fp32", "--batch-size", 1) == together
    for precision in ("bf16", "int8"):
        assert answers(trained, "runs/mixed", "--precision", precision).count("\n") == 4


def test_blocks_can_be_added_and_experts_cannot(trained: Altup):
    convert = ("convert", "--checkpoint", "runs/mixed", "--altup", "altup", "--blocks", 2)
    trained.succeed(*convert, "--output", "wider")
    assert answers(trained, "wider", "--precision", "fp32") == answers(trained, "runs/mixed", "--precision", "fp32")
    done = trained(*convert, "--set", "moe.experts=8", "--output", "other")
    assert done.returncode == 2 and "a conversion changes [altup] only" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    done = trained("export", "--checkpoint", "runs/mixed", "--to", "huggingface", "--output", "theirs")
    assert done.returncode == 2 and "moe.experts is 4" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_fine_tuning_without_padding_is_that_with_it(trained: Altup):
    rows = [("a dull film ", 0), ("a charming , gentle and warm film of an old mill ", 1), ("cold ", 0),
            ("so warm and bright ", 1)] * 4  # fmt: skip
    folder = trained.directory / "glue" / "SST-2"
    folder.mkdir(parents=True, exist_ok=True)
    table = "sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows)
    for split in ("train", "dev"):
        (folder / f"{split}.tsv").write_text(table)
    (trained.directory / "tune.toml").write_text("""
task = {names = ["glue/sst2"], data = "glue"}
train = {init_from = "runs/mixed", steps = 4, batch_size = 8, micro_batch_size = 4, log_every = 1, precision = "fp32"}
moe = {jitter = 0.1, capacity_factor = 0.75}
optimizer = {learning_rate = 0.003, schedule = "constant", warmup_steps = 0}
runtime = {threads = 1}
""")
    for padding in ("none", "longest", "maximum"):
        trained.succeed("finetune", "--config", "tune.toml", "--set", f"train.padding={padding}", "--output", f"runs/{padding}")
    unpadded = records(trained, "none", "train")
    assert len(unpadded) == 4 and STATISTICS <= set(unpadded[0])
    assert unpadded[0]["router_dropped"] > 0
    for padding in ("longest", "maximum"):
        for record, same in zip(records(trained, padding, "train"), unpadded):
            for name in ("loss", "gradient_norm", *STATISTICS):
                assert record[name] == pytest.approx(same[name], rel=2e-3, abs=1e-4), (padding, name)


def test_info_counts_experts_and_what_a_token_passes_through(trained: Altup):
    counts = json.loads(trained.succeed("info", "--checkpoint", "runs/mixed", "--json", "-"))["parameters"]
    dense = json.loads(trained.succeed("info", "--config", "run.toml", "--set", "moe.experts=0", "--json", "-"))
    dense, feed_forward, router = dense["parameters"]["total"], 3 * 32 * 64, 4 * 32
    assert counts["experts"] == 2 * 4 * feed_forward
    assert counts["total"] == dense + 2 * (3 * feed_forward + router)
    chosen = trained.directory.name.startswith("expert_choice")  # then 1.25 experts in the encoder's mixture
    assert counts["active"] == dense + 2 * router + (feed_forward // 4 if chosen else 0)
