"""What info, bench and --profile say of a run: counted or timed a second time wherever another way leads there."""
import json
import time

import pytest
from conftest import ROOT
from small_world import INPUT, ROWS, TARGET, lines_of, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def pretrained(world):
    """A run directory, and the figures that its command printed."""
    figures = world.figures("pretrain", "--config", "run.toml", "--output", "pretrained")
    return world.directory / "pretrained", figures


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
    assert in_a_step > 0 and {"altup::attention_backward", "altup::update", "altup::linear"} <= set(traces["run"])
    assert traces["run"].count("altup::linear_cross_entropy") == 3 * in_a_step
    assert traces["short"].count("altup::linear_cross_entropy") == 2 * in_a_step


def test_a_profile_that_cannot_be_written_is_told_before_the_work(world):
    done = world("pretrain", "--config", "run.toml", "--output", "unwritten", "--profile", "run.toml/trace.json")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "trace.json" in done.stderr
    assert not (world.directory / "unwritten").exists()
