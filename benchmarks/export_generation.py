#!/usr/bin/env python3
"""Greedy generation by an exported TorchScript file beside the program's own, on the same weights.

Runs of the two are interleaved, so that a machine that is busy now and then slows both; the medians count. The file runs
in a Python that has nothing but torch, the program as `altup bench generate`; both ignore the time of loading and run once
before they are timed. Prints a table, and exits with 1 where the file is slower by more than --limit.

    benchmarks/export_generation.py [--checkpoint DIR] [--program build/altup] [--fused build/libaltup_ops.so]

With --fused the file is that of `altup export --fused`. Without --checkpoint it makes one: T5 1.1 small with random weights and the vocabulary of --tokenizer.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Run apart: one process for each batch size, which answers each line of its input with the seconds of one call.
WORKER = """
import sys, time, torch
path, batch, length, new, threads = sys.argv[1], *map(int, sys.argv[2:6])
for library in sys.argv[6:]:
    torch.ops.load_library(library)
torch.set_num_threads(threads)
torch.set_flush_denormal(True)
model = torch.jit.load(path)
torch.manual_seed(0)
ids = torch.randint(3, 32000, (batch, length))
mask = torch.ones_like(ids)
with torch.inference_mode():
    for _ in range(3):  # the profiling runs of TorchScript, and the first optimised one
        model.generate(ids, mask, new)
    for line in sys.stdin:
        start = time.perf_counter()
        produced = model.generate(ids, mask, new)
        seconds = time.perf_counter() - start
        print(seconds, produced.size(1), flush=True)
"""


def make_checkpoint(program: str, directory: Path, tokenizer: str) -> Path:
    """One optimiser step at a rate of 0: the program's own random start."""
    text = directory / "text.txt"
    text.write_text("\n\n".join(f"Sentence number {i} of a text that nobody reads." for i in range(2000)))
    run = directory / "run"
    command = [program, "pretrain", "--config", str(ROOT / "configs/models/t5_small.toml"), "--output", str(run)]
    settings = dict(
        {"tokenizer.model": tokenizer, "data.train": [str(text)], "data.validation": [str(text)]},
        **{"train.steps": 1, "train.batch_size": 1, "train.precision": "fp32", "optimizer.learning_rate": 1e-9},
        **{"data.input_length": 64, "data.target_length": 0},
    )
    sets = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    subprocess.run([*command, "--set", *sets, "--log-level", "error"], check=True)
    return run


def program_seconds(options, batch: int) -> float:
    sizes = ("--batch-size", batch, "--input-length", options.input_length, "--max-new-tokens", options.max_new_tokens)
    command = [options.program, "bench", "generate", "--checkpoint", options.checkpoint, *sizes]
    command += ["--precision", "fp32", "--no-uncached", "--steps", 1, "--threads", options.threads]
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["seconds"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--checkpoint", help="run or checkpoint directory (default: random T5 small)")
    parser.add_argument("--tokenizer", help="SentencePiece model of 32,000 pieces, where no checkpoint is given")
    parser.add_argument("--program", default=str(ROOT / "build/altup"))
    parser.add_argument("--python", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--fused", metavar="LIBRARY", help="export with --fused, and load this library of operators")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--input-length", type=int, default=128)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=1.2, help="seconds of the file / of the program, at most")
    options = parser.parse_args()
    if not options.checkpoint and not options.tokenizer:
        parser.error("--checkpoint or --tokenizer is needed")

    slow = False
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        options.checkpoint = options.checkpoint or make_checkpoint(options.program, directory, options.tokenizer)
        exported = directory / "model.pt"
        export = ("export", "--checkpoint", options.checkpoint, "--to", "torchscript", "--output", exported)
        fused = ("--fused",) if options.fused else ()
        library = (options.fused,) if options.fused else ()
        subprocess.run([options.program, *map(str, export), *fused], check=True)
        print("| batch | program, s | exported, s | exported / program | tokens/s, exported |\n|---|---|---|---|---|")
        for batch in options.batches:
            sizes = (batch, options.input_length, options.max_new_tokens, options.threads)
            worker = subprocess.Popen(
                [options.python, "-W", "ignore", "-c", WORKER, str(exported), *map(str, sizes), *library],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            ours, theirs = [], []
            for _ in range(options.repeats):
                ours.append(program_seconds(options, batch))
                worker.stdin.write("\n")
                worker.stdin.flush()
                seconds, produced = worker.stdout.readline().split()
                assert int(produced) == options.max_new_tokens, "eos came early: choose another checkpoint"
                theirs.append(float(seconds))
            worker.stdin.close()
            worker.wait()
            a, b = statistics.median(ours), statistics.median(theirs)
            print(f"| {batch} | {a:.3f} | {b:.3f} | {b / a:.2f} | {batch * options.max_new_tokens / b:,.0f} |", flush=True)
            slow = slow or b > options.limit * a
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
