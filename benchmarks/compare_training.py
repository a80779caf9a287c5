#!/usr/bin/env python3
"""Times a training step of T5 beside Hugging Face's, in turn, and prints the ratios.

Both sides: random weights, Adafactor, no dropout, an untied head of 32,128 pieces, the same shapes and threads, denormals
flushed. Every round starts each contestant as a process of its own, so that what else the machine does meets all alike;
the figures are medians over the rounds. --preload hands one allocator to all of them.

    python3 -m venv peers && peers/bin/pip install torch transformers
    benchmarks/compare_training.py --peer-python peers/bin/python --compile --preload libtcmalloc_minimal.so.4

--products adds what the step's projections and head alone cost as plain products of LibTorch's library on operands of the
same shapes, forward and backward: the rate that a step could reach at best if all of it were such products.

With --json FILE the single timings are kept, too.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZES = {  # of T5 1.1
    "small": {"d_model": 512, "d_ff": 1024, "num_layers": 8, "num_heads": 6},
    "base": {"d_model": 768, "d_ff": 2048, "num_layers": 12, "num_heads": 12},
}


def run_peer(options: argparse.Namespace) -> dict:
    """One contestant of Hugging Face's, in this process."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=32128,
        d_kv=64,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        **SIZES[options.size],
    )
    model = T5ForConditionalGeneration(config).train()
    # Some releases tie the head whatever the config says.
    head = torch.randn(config.vocab_size, config.d_model) * config.d_model**-0.5
    model.lm_head.weight = torch.nn.Parameter(head)
    model.config.tie_word_embeddings = False
    optimizer = torch.optim.Adafactor(model.parameters(), lr=1e-2)
    called = torch.compile(model) if options.compile else model
    inputs = torch.randint(3, 32000, (options.batch, options.input_length))
    targets = torch.randint(3, 32000, (options.batch, options.target_length))

    def step() -> float:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision[0] == "bf16"):
            loss = called(input_ids=inputs, labels=targets, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        return time.perf_counter() - started

    step(), step()
    seconds = [step() for _ in range(options.steps)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": statistics.median(seconds), "memory": peak, "parameters": sum(p.numel() for p in model.parameters())}


def run_products(options: argparse.Namespace) -> dict:
    """All projections of a step and its head, forward and backward, as products without anything between them."""
    import torch

    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    size = SIZES[options.size]
    width, hidden, inner = size["d_model"], size["d_ff"], 64 * size["num_heads"]
    inputs, targets = options.batch * options.input_length, options.batch * options.target_length
    layers = size["num_layers"]
    products = []  # rows, columns, depth, how often
    for rows in (inputs, targets):
        products += [(rows, inner, width, 3 * layers), (rows, width, inner, layers)]
        products += [(rows, hidden, width, 2 * layers), (rows, width, hidden, layers)]
    products += [(targets, inner, width, layers), (targets, width, inner, layers)]
    products += [(inputs, inner, width, 2 * layers), (targets, 32128, width, 1)]
    dtype = torch.bfloat16 if options.precision[0] == "bf16" else torch.float32
    sets = [[torch.randn(shape, dtype=dtype) for shape in ((m, k), (n, k), (m, n))] for m, n, k, _ in products]

    def step() -> float:
        seconds = 0.0
        for (_, _, _, count), (x, weight, gradient) in zip(products, sets):
            started = time.perf_counter()
            for _ in range(count):
                torch.mm(x, weight.t())
                torch.mm(gradient, weight)
                torch.mm(gradient.t(), x)
            seconds += time.perf_counter() - started
        return seconds

    step()
    seconds = statistics.median(step() for _ in range(options.steps))
    gflops = 6e-9 * sum(m * n * k * count for m, n, k, count in products)
    return {"seconds": seconds, "memory": 0.0, "gflops_per_second": gflops / seconds}


def environment(options: argparse.Namespace) -> dict:
    variables = dict(os.environ, OMP_NUM_THREADS=str(options.threads))
    if options.preload:
        variables["LD_PRELOAD"] = options.preload
    return variables


def peer(options: argparse.Namespace, precision: str, *flags: str) -> dict:
    command = [options.peer_python, __file__, "--as-peer", "--size", options.size, "--precision", precision, *flags]
    for name in ("batch", "input_length", "target_length", "threads", "steps"):
        command += ["--" + name.replace("_", "-"), str(getattr(options, name))]
    done = subprocess.run(command, env=environment(options), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"the peer failed: {(done.stderr.strip() or 'without a word').splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def ours(options: argparse.Namespace, precision: str, variant: str | None) -> dict:
    configs = [ROOT / "configs" / "models" / f"t5_{options.size}.toml"]
    configs += [ROOT / "configs" / "altup" / f"{variant}.toml"] if variant else []
    sizes = f"data.input_length={options.input_length} data.target_length={options.target_length}"
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [ROOT / "build" / "altup", "bench", "step", "--no-reference", "--config", *configs]
        command += ["--set", f"train.precision={precision}", f"train.batch_size={options.batch}", *sizes.split()]
        command += ["--threads", options.threads, "--steps", options.steps, "--json", file.name]
        done = subprocess.run([*map(str, command)], env=environment(options), capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"build/altup failed: {done.stderr.strip()}")
        figures = json.load(open(file.name))
    return {
        "seconds": figures["seconds_per_step"],
        "memory": figures["peak_memory_mib"],
        "parameters": figures["parameters"],
        "gflops_per_second": figures["gflops_per_second"],
    }


def compare(options: argparse.Namespace) -> dict:
    """Timings by (precision, contestant), a list of rounds each."""
    contestants = {"ours": lambda precision: ours(options, precision, None)}
    for variant in options.variants:
        contestants[f"ours, {variant}"] = lambda precision, variant=variant: ours(options, precision, variant)
    contestants["eager"] = lambda precision: peer(options, precision)
    if options.compile:
        contestants["compiled"] = lambda precision: peer(options, precision, "--compile")
    if options.products:
        contestants["products"] = lambda precision: peer(options, precision, "--products")
    found = {}
    for number in range(1, options.rounds + 1):
        for precision in options.precision:
            for name, run in contestants.items():
                result = run(precision)
                found.setdefault(f"{precision} {name}", []).append(result)
                print(f"round {number}: {precision} {name}: {result['seconds']:.3f} s", file=sys.stderr)
    return found


def table(found: dict) -> str:
    lines = ["| precision, contestant | s per step | over ours | peak memory, MiB | ours over it |", "|---|---|---|---|---|"]
    for key, rounds in found.items():
        if key.endswith(" products"):
            continue
        own = found[key.split()[0] + " ours"]
        over = statistics.median(it["seconds"] / mine["seconds"] for it, mine in zip(rounds, own))
        memory = statistics.median(it["memory"] for it in rounds)
        saved = statistics.median(mine["memory"] / it["memory"] for it, mine in zip(rounds, own))
        seconds = statistics.median(it["seconds"] for it in rounds)
        lines.append(f"| {key} | {seconds:.3f} | {over:.2f} | {memory:,.0f} | {saved:.2f} |")
    for key, rounds in found.items():
        if not key.endswith(" products"):
            continue
        own = found[key.split()[0] + " ours"]
        rate = statistics.median(it["gflops_per_second"] for it in rounds)
        share = statistics.median(mine["gflops_per_second"] / it["gflops_per_second"] for it, mine in zip(rounds, own))
        lines.append(f"\n{key} alone: {rate:.0f} GFLOP/s; a whole step of ours reaches {share:.2f} of that rate.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with torch and transformers")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    parser.add_argument("--variants", nargs="*", default=[], help="configs/altup/NAME.toml, timed beside the dense model")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--input-length", type=int, default=512)
    parser.add_argument("--target-length", type=int, default=114)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="steps of a round, after those that warm up")
    parser.add_argument("--compile", action="store_true", help="torch.compile beside eager execution")
    parser.add_argument("--products", action="store_true", help="the step's products alone, as the library makes them")
    parser.add_argument("--preload", default="", help="LD_PRELOAD of all contestants: an allocator")
    parser.add_argument("--json", default="", help="where the single timings go")
    parser.add_argument("--as-peer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_peer:
        print(json.dumps(run_products(options) if options.products else run_peer(options)))
        return
    if not (ROOT / "build" / "altup").is_file():
        sys.exit("build/altup is missing: run scripts/build.sh first")
    found = compare(options)
    print(table(found))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
