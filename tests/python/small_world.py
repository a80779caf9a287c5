"""A small text, its tokenizer, a run's config and a task, for tests that take the program through all of them."""
import json
import random
import subprocess

from conftest import Altup

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


def make_world(directory) -> World:
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
