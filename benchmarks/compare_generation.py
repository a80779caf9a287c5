#!/usr/bin/env python3
"""Times generation beside Hugging Face's and CTranslate2's, in turn, on the same weights, and prints the ratios.

T5 1.1 with random weights and an untied head of 32,128 pieces, written as a Hugging Face checkpoint, which CTranslate2
converts and `altup import` reads. All get batches of random ids and always make --max-new-tokens tokens; loading and a first
call are not timed. Peers are processes that stay and answer in turn; ours starts anew each round. The figures are medians
over the rounds.

    python3 -m venv peers && peers/bin/pip install torch transformers sentencepiece protobuf ctranslate2
    benchmarks/compare_generation.py --peer-python peers/bin/python --tokenizer spiece.model

--tokenizer is a SentencePiece model of 32,000 pieces. With --json FILE the single timings are kept, too.
"""
import argparse
import json
import os
import shutil
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
PEERS = ("hf-fp32", "hf-bf16", "ct2-float32", "ct2-int8")
OURS = ("fp32", "bf16", "int8")


# --- in the peers' Python ----------------------------------------------------------------------


def make_checkpoint(options: argparse.Namespace) -> None:
    """DIR/hf for all, DIR/ct2 for CTranslate2, which quantises it on loading."""
    import ctranslate2
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    shape = dict(d_kv=64, feed_forward_proj="gated-gelu", tie_word_embeddings=False, **SIZES[options.size])
    config = T5Config(vocab_size=32128, decoder_start_token_id=0, **shape)
    model = T5ForConditionalGeneration(config)
    # Some releases tie the head whatever the config says.
    head = torch.randn_like(model.shared.weight) * config.d_model**-0.5
    model.lm_head.weight = torch.nn.Parameter(head)
    model.config.tie_word_embeddings = False
    folder = Path(options.folder) / "hf"
    model.save_pretrained(folder)
    shutil.copy(options.tokenizer, folder / "spiece.model")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 100}))
    converter = ctranslate2.converters.TransformersConverter(str(folder))
    converter.convert(str(Path(options.folder) / "ct2"), quantization="float32")


def peer_call(options: argparse.Namespace):
    """A function that generates once."""
    import torch

    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    ids = torch.randint(3, 32000, (options.batch, options.input_length))
    program, kind = options.as_peer.split("-")
    if program == "hf":
        from transformers import T5ForConditionalGeneration

        model = T5ForConditionalGeneration.from_pretrained(Path(options.folder) / "hf").eval()
        model = model.bfloat16() if kind == "bf16" else model
        length = {"max_new_tokens": options.max_new_tokens, "min_new_tokens": options.max_new_tokens}
        how = {"attention_mask": torch.ones_like(ids), "do_sample": False, "num_beams": options.beams}

        def call() -> None:
            with torch.inference_mode():
                model.generate(input_ids=ids, **how, **length)

        return call
    import ctranslate2
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(Path(options.folder) / "hf")
    texts = [tokenizer.convert_ids_to_tokens(row) for row in ids.tolist()]
    folder = str(Path(options.folder) / "ct2")
    translator = ctranslate2.Translator(folder, compute_type=kind, inter_threads=1, intra_threads=options.threads)
    length = {"max_decoding_length": options.max_new_tokens, "min_decoding_length": options.max_new_tokens}
    return lambda: translator.translate_batch(texts, beam_size=options.beams, **length)


def serve_peer(options: argparse.Namespace) -> None:
    """Answers each line of the input with the seconds of one call."""
    call = peer_call(options)
    call()
    print("ready", flush=True)
    for _ in sys.stdin:
        started = time.perf_counter()
        call()
        print(time.perf_counter() - started, flush=True)


# --- in ours -----------------------------------------------------------------------------------


def environment(options: argparse.Namespace) -> dict:
    variables = dict(os.environ, OMP_NUM_THREADS=str(options.threads))
    if options.preload:
        variables["LD_PRELOAD"] = options.preload
    return variables


class Peer:
    def __init__(self, options: argparse.Namespace, name: str, batch: int, beams: int):
        command = [options.peer_python, __file__, "--as-peer", name, "--folder", options.folder]
        command += ["--batch", batch, "--beams", beams, "--threads", options.threads]
        command += ["--input-length", options.input_length, "--max-new-tokens", options.max_new_tokens]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        self.process = subprocess.Popen([*map(str, command)], env=environment(options), **pipes)
        self.name = name
        self.answer()

    def answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the peer {self.name} failed; run {__file__} --as-peer {self.name} to see why")
        return line

    def seconds(self) -> float:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self.answer())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def our_seconds(options: argparse.Namespace, precision: str, batch: int, beams: int) -> float:
    command = [ROOT / "build" / "altup", "bench", "generate", "--checkpoint", Path(options.folder) / "ours"]
    command += ["--batch-size", batch, "--beams", beams, "--input-length", options.input_length, "--no-uncached"]
    command += ["--max-new-tokens", options.max_new_tokens, "--precision", precision]
    command += ["--threads", options.threads, "--steps", 1]
    done = subprocess.run([*map(str, command)], env=environment(options), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"build/altup failed: {done.stderr.strip()}")
    return json.loads(done.stdout)["seconds"]


def prepare(options: argparse.Namespace) -> None:
    if (Path(options.folder) / "ours").is_dir():
        return
    command = [options.peer_python, __file__, "--make", "--folder", options.folder, "--size", options.size]
    subprocess.run([*command, "--tokenizer", options.tokenizer], check=True)
    command = [ROOT / "build" / "altup", "import", "--from", Path(options.folder) / "hf", "--output", Path(options.folder) / "ours"]
    subprocess.run([*map(str, command)], check=True)


def compare(options: argparse.Namespace) -> dict:
    """Seconds by setting and contestant, a list of rounds each."""
    found = {}
    for setting in options.settings:
        batch, beams = map(int, setting.split("x"))
        peers = [Peer(options, name, batch, beams) for name in options.peers]
        contestants = {f"ours {it}": lambda it=it: our_seconds(options, it, batch, beams) for it in options.precision}
        contestants.update({peer.name: peer.seconds for peer in peers})
        timings = found[setting] = {name: [] for name in contestants}
        for number in range(1, options.rounds + 1):
            for name, seconds in contestants.items():
                timings[name].append(seconds())
                print(f"{setting}, round {number}: {name}: {timings[name][-1]:.3f} s", file=sys.stderr)
        for peer in peers:
            peer.close()
    return found


def table(found: dict, new_tokens: int) -> str:
    lines = ["| batch, beams | contestant | tokens/s | ours over it, best precision |", "|---|---|---|---|"]
    for setting, timings in found.items():
        batch, beams = map(int, setting.split("x"))
        medians = {name: statistics.median(seconds) for name, seconds in timings.items()}
        best = min((name for name in medians if name.startswith("ours")), key=medians.get)
        for name, seconds in timings.items():
            ratio = statistics.median(it / mine for it, mine in zip(seconds, timings[best]))
            rate = batch * new_tokens / medians[name]
            lines.append(f"| {batch}, {beams} | {name} | {rate:,.0f} | {'' if name == best else f'{ratio:.2f}'} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable, help="a Python with the peers")
    parser.add_argument("--tokenizer", default="", help="SentencePiece model of 32,000 pieces")
    parser.add_argument("--folder", default="", help="where the checkpoints go, or are (default: a temporary folder)")
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--settings", nargs="+", default=["1x1", "8x1", "8x4"], help="batch x beams")
    parser.add_argument("--precision", nargs="+", choices=OURS, default=OURS, help="of ours")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument("--input-length", type=int, default=128)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--preload", default="", help="LD_PRELOAD of all contestants: an allocator")
    parser.add_argument("--json", default="", help="where the single timings go")
    for name, kind in (("as-peer", str), ("batch", int), ("beams", int)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        return make_checkpoint(options)
    if options.as_peer:
        return serve_peer(options)
    if not (ROOT / "build" / "altup").is_file():
        sys.exit("build/altup is missing: run scripts/build.sh first")
    with tempfile.TemporaryDirectory() as folder:
        options.folder = options.folder or folder
        if not options.tokenizer and not (Path(options.folder) / "ours").is_dir():
            sys.exit("--tokenizer is missing: a SentencePiece model of 32,000 pieces")
        prepare(options)
        found = compare(options)
    print(table(found, options.max_new_tokens))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
