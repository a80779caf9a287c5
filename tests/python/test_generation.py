"""Decoding is transformers' decoding: on the same random weights, greedy and beam search give the same ids and scores,
whatever the batch, and sampling draws from the same distribution. And what `altup generate` reads, prints and refuses.
"""
import io
import json
import shutil
import subprocess
import threading

import pytest
from conftest import PROGRAM, Altup

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WORDS = 200  # rows of the embedding; the last ones pad it past pieces and sentinels
LIMIT = 20
SMALL = dict(d_model=48, d_kv=16, d_ff=80, num_heads=3, num_layers=2)
MODELS = {
    "v1_1": dict(feed_forward_proj="gated-gelu", **SMALL),
    "v1_0": dict(feed_forward_proj="relu", **SMALL),
}
TEXTS = [
    "The cow met the fox near the old mill on day 3.",
    "owl",
    "The hare met the crane near the river on day 12. The hare met the owl near the barn on day 1.",
    "fox and fox and fox and fox",
    "",
    "near the hill",
]
# What a run is told, and what transformers is told.
WAYS = {
    "greedy": {},
    "greedy, penalty": dict(repetition_penalty=1.7),
    "greedy, no trigram twice": dict(no_repeat_ngram_size=3),
    "greedy, no token twice": dict(no_repeat_ngram_size=1),
    "2 beams": dict(num_beams=2),
    "4 beams": dict(num_beams=4, num_return_sequences=4),
    "4 beams, short": dict(num_beams=4, num_return_sequences=4, length_penalty=0.6),
    "4 beams, long": dict(num_beams=4, num_return_sequences=2, length_penalty=2.0),
    "2 beams, long, never": dict(num_beams=2, num_return_sequences=2, length_penalty=2.0, early_stopping="never"),
    "4 beams, never": dict(num_beams=4, early_stopping="never"),
    "4 beams, below 0, never": dict(num_beams=4, length_penalty=-1.0, early_stopping="never"),
    "4 beams, early": dict(num_beams=4, num_return_sequences=4, early_stopping=True),
    "2 beams, early, short": dict(num_beams=2, length_penalty=0.6, early_stopping=True),
    "4 beams, length 0": dict(num_beams=4, num_return_sequences=4, length_penalty=0.0),
    "4 beams, early, below 0": dict(num_beams=4, num_return_sequences=4, length_penalty=-1.0, early_stopping=True),
    "3 beams, no token twice": dict(num_beams=3, num_return_sequences=3, no_repeat_ngram_size=1),
    "greedy, 1 token": dict(max_new_tokens=1),
    "4 beams, 1 token": dict(num_beams=4, num_return_sequences=4, max_new_tokens=1),
    "3 beams, no repetitions": dict(
        num_beams=3, num_return_sequences=3, repetition_penalty=1.3, no_repeat_ngram_size=2
    ),
}
NAMES = {"num_beams": "beams", "num_return_sequences": "n-best"}


def random_model(name: str, seed: int):
    """Random weights, norms and biases too, so that every one counts and outputs depend on what was read. The row of eos
    is enlarged: outputs then end."""
    torch.manual_seed(seed)
    config = transformers.T5Config(vocab_size=WORDS, decoder_start_token_id=0, **MODELS[name])
    model = transformers.T5ForConditionalGeneration(config).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "layer_norm" in key:
                parameter.uniform_(0.5, 1.5)
            elif "relative_attention_bias" in key:
                parameter.normal_()
            elif "embed" not in key and "shared" not in key:
                parameter.mul_(3)
        if name == "v1_1":  # transformers 5 ties the head until it has a weight of its own
            model.lm_head.weight = torch.nn.Parameter(2 * torch.randn(WORDS, config.d_model) * config.d_model**-0.5)
            model.config.tie_word_embeddings = False
            model.config.scale_decoder_outputs = False
            model.lm_head.weight[1] *= 1.7
        else:
            model.shared.weight[1] *= 2.5
    return model


class Pair(Altup):
    """A model of transformers, and the same one imported by the program."""

    def __init__(self, directory, name: str, tokenizer):
        super().__init__(directory)
        lines = "".join(f"{text}\n" for text in [*TEXTS, "<extra_id_0>"])
        encoded = self.succeed("tokenizer", "encode", "--model", tokenizer, stdin=lines)
        *self.rows, (last, _) = [json.loads(line) for line in encoded.splitlines()]
        self.words = last + 1  # <extra_id_0> is the last id with a meaning
        # What the comparisons need to say anything: outputs that end at different lengths, and some that are cut.
        for seed in range(1, 40):
            self.theirs = random_model(name, seed)
            if all(self.is_ragged(options) for options in ({}, WAYS["4 beams"])):
                break
        else:
            pytest.fail("no model gives outputs of different lengths")
        self.theirs.save_pretrained(directory / "theirs")
        shutil.copy(tokenizer, directory / "theirs" / "spiece.model")
        self.succeed("import", "--from", "theirs", "--output", "ours")

    def is_ragged(self, options: dict) -> bool:
        best = [outputs[0][0] for outputs in self.expected(**options)]
        lengths = {len(ids) for ids in best}
        return len(lengths) >= 4 and min(lengths) < LIMIT / 2 and any(ids[-1] != 1 for ids in best)

    def expected(self, texts=range(len(TEXTS)), max_new_tokens=LIMIT, **options):
        """[(ids without the leading pad and what is behind eos, score or None)] for each text."""
        rows = [self.rows[i] for i in texts]
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        with torch.no_grad():
            out = self.theirs.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                max_new_tokens=max_new_tokens,
                suppress_tokens=list(range(self.words, WORDS)),
                return_dict_in_generate=True,
                output_scores=True,
                **options,
            )
        sequences = [row[1:] for row in out.sequences.tolist()]
        sequences = [row[: row.index(1) + 1] if 1 in row else row[:max_new_tokens] for row in sequences]
        scores = getattr(out, "sequences_scores", None)
        scores = [None] * len(sequences) if scores is None else scores.tolist()
        n = options.get("num_return_sequences", 1)
        outputs = list(zip(sequences, scores))
        return [outputs[i * n : (i + 1) * n] for i in range(len(rows))]

    def generate(self, *arguments, texts=TEXTS, max_new_tokens=LIMIT, **options) -> list[dict]:
        flags = []
        for name, value in options.items():
            value = str(value).lower() if isinstance(value, bool) else value
            flags += ["--" + NAMES.get(name, name).replace("_", "-"), value]
        lines = "".join(json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(texts))
        common = ("--checkpoint", "ours", "--jsonl", "--precision", "fp32", "--max-new-tokens", max_new_tokens)
        printed = self.succeed("generate", *common, *flags, *arguments, stdin=lines)
        answers = [json.loads(line) for line in printed.splitlines()]
        assert [answer["id"] for answer in answers] == list(range(len(texts)))
        return answers


@pytest.fixture(scope="module", params=MODELS)
def pair(request, tmp_path_factory, tokenizer_model) -> Pair:
    return Pair(tmp_path_factory.mktemp(request.param), request.param, tokenizer_model)


@pytest.fixture(scope="module")
def dense(tmp_path_factory, tokenizer_model) -> Pair:
    return Pair(tmp_path_factory.mktemp("dense"), "v1_1", tokenizer_model)


def outputs_of(answer: dict) -> list[dict]:
    return answer.get("outputs", [answer])


@pytest.mark.parametrize("way", WAYS)
def test_ids_and_scores_are_those_of_transformers(pair, way):
    expected = pair.expected(**WAYS[way])
    found = [outputs_of(answer) for answer in pair.generate(**WAYS[way])]
    assert [[output["tokens"] for output in outputs] for outputs in found] == [
        [ids for ids, _ in outputs] for outputs in expected
    ]
    for ours, theirs in zip(found, expected):
        for output, (ids, score) in zip(ours, theirs):
            assert output["finished"] == (ids[-1] == 1)
            if score is None:
                assert "score" not in output
            else:
                assert output["score"] == pytest.approx(score, rel=1e-4)


@pytest.mark.parametrize("way", ["greedy", "4 beams, short", "sample"])
def test_batches_change_nothing(pair, way):
    options = WAYS.get(way, {})
    flags = ("--sample", "--seed", 3, "--top-k", 20) if way == "sample" else ()
    alone = pair.generate(*flags, "--batch-size", 1, **options)
    for size in (2, 6):
        together = pair.generate(*flags, "--batch-size", size, **options)
        for one, other in zip(alone, together):
            for a, b in zip(outputs_of(one), outputs_of(other), strict=True):
                score = pytest.approx(a.get("score", 0), abs=1e-4)  # matrix products of other sizes round otherwise
                assert b | {"score": score} == a | {"score": b.get("score", 0)}


def test_sampling_draws_from_the_distribution_of_transformers(dense):
    """First tokens of 3,000 draws beside the probabilities that transformers computes for them."""
    draws, text = 3000, 2
    filters = dict(temperature=1.5, top_k=12, top_p=0.8)
    flags = ("--sample", "--seed", 1, "--batch-size", 100)
    found = dense.generate(*flags, max_new_tokens=1, texts=[TEXTS[text]] * draws, **filters)
    counts = torch.zeros(WORDS)
    for answer in found:
        counts[answer["tokens"][0]] += 1
    with torch.no_grad():
        ids = torch.tensor([dense.rows[text]])
        scores = dense.theirs(input_ids=ids, decoder_input_ids=torch.zeros(1, 1, dtype=torch.long)).logits[:, -1]
        scores[:, dense.words :] = -torch.inf
        scores = transformers.TemperatureLogitsWarper(filters["temperature"])(None, scores)
        scores = transformers.TopKLogitsWarper(filters["top_k"])(None, scores)
        probabilities = transformers.TopPLogitsWarper(filters["top_p"])(None, scores).softmax(-1)[0]
    possible = probabilities > 0
    assert 4 <= possible.sum() < filters["top_k"]
    assert counts[~possible].sum() == 0
    # Chi-squared with at most 11 degrees of freedom is above 40 once in 30,000 seeds; this seed is fixed.
    expected = draws * probabilities[possible]
    assert ((counts[possible] - expected) ** 2 / expected).sum() < 40


def test_samples_go_by_seed_and_line(dense):
    flags = ("--sample", "--temperature", 2)
    once = dense.generate(*flags, "--seed", 1)
    assert dense.generate(*flags, "--seed", 1) == once
    assert dense.generate(*flags, "--seed", 2) != once
    same_text = dense.generate(*flags, "--seed", 1, texts=[TEXTS[0]] * 5)
    assert len({tuple(answer["tokens"]) for answer in same_text}) == 5


def test_plain_lines_and_figures(dense):
    """A line for a line; with n-best as many, best first. The share that the limit cut stands beside the counts."""
    text = "".join(f"{line}\n" for line in TEXTS)
    common = ("generate", "--checkpoint", "ours", "--precision", "fp32", "--max-new-tokens", LIMIT)
    done = dense(*common, "--json", "figures.json", stdin=text)
    answers = dense.generate()
    assert done.stdout.split("\n")[:-1] == [answer["text"] for answer in answers]
    figures = json.loads((dense.directory / "figures.json").read_text())
    cut = sum(not answer["finished"] for answer in answers)
    assert 0 < cut < len(TEXTS)
    assert figures["truncated_outputs"] == cut
    assert figures["truncated_share"] == pytest.approx(cut / len(TEXTS))
    assert figures["generated_tokens"] == sum(len(answer["tokens"]) for answer in answers)
    assert f"{cut} of {len(TEXTS)} outputs ({100 * cut / len(TEXTS):.1f} %) were cut at {LIMIT} tokens" in done.stderr

    beams = dense.generate(num_beams=3, num_return_sequences=2)
    printed = dense.succeed(*common, "--beams", 3, "--n-best", 2, stdin=text).split("\n")[:-1]
    assert printed == [output["text"] for answer in beams for output in answer["outputs"]]


def test_json_lines_keep_any_id_and_need_none(dense):
    lines = '{"text": "owl", "id": {"a": [1, "x"]}}\n\n{"id": null, "text": "fox"}\n{"text": "cow", "more": 1}\n'
    printed = dense.succeed("generate", "--checkpoint", "ours", "--jsonl", "--max-new-tokens", 2, stdin=lines)
    answers = [json.loads(line) for line in printed.splitlines()]
    assert [answer.get("id", "none") for answer in answers] == [{"a": [1, "x"]}, None, "none"]
    assert list(answers[2]) == ["text", "tokens", "finished"]


@pytest.mark.parametrize(
    "line, what",
    [
        ("owl", "broken JSON at byte 1 of the line; expected one object a line"),
        ('{"text": "owl', "broken JSON at byte 14 of the line; expected one object a line"),
        ('{"text": "\\ud800"}', "broken JSON at byte 17 of the line; expected one object a line"),
        ('{"text": "owl", "id": 1e999}', "holds a number too large for a double; expected one object a line"),
        ('["owl"]', "is no JSON object; expected an object"),
        ("3", "is no JSON object; expected an object"),
        ("{}", 'has no "text"; expected an object'),
        ('{"text": 3}', '"text" is 3; expected an object'),
    ],
)
def test_mistake_in_json_lines_is_named_with_its_line(dense, line, what):
    (dense.directory / "in.jsonl").write_text('{"text": "owl"}\n' + line + "\n")
    for arguments, name in ((("--input", "in.jsonl"), "in.jsonl:2:"), ((), "standard input:2:")):
        done = dense(
            "generate", "--checkpoint", "ours", "--jsonl", *arguments, stdin=(dense.directory / "in.jsonl").read_text()
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {name} {what}") and done.stderr.count("\n") == 1


def test_byte_that_is_no_utf8_in_json_lines_is_named(dense):
    (dense.directory / "in.jsonl").write_bytes(b'{"text": "\xff"}\n')
    done = dense("generate", "--checkpoint", "ours", "--jsonl", "--input", "in.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: in.jsonl:1: byte 11 is not valid UTF-8; expected text in UTF-8\n"


def test_long_input_is_answered_window_by_window(dense):
    """64 batches are printed while the program waits for the next line, and samples are those of one window."""
    texts = [TEXTS[i % len(TEXTS)] for i in range(70)]
    common = ("--checkpoint", "ours", "--precision", "fp32", "--max-new-tokens", "3", "--sample", "--seed", "2")
    arguments = [str(PROGRAM), "generate", *common, "--batch-size", "1", "--json", "windows.json"]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=dense.directory)
    with subprocess.Popen(arguments, **pipes) as program:
        watchdog = threading.Timer(60, program.kill)
        watchdog.start()
        program.stdin.write("".join(f"{text}\n" for text in texts[:64]))
        program.stdin.flush()
        printed = "".join(program.stdout.readline() for _ in range(64))
        assert program.poll() is None and printed.count("\n") == 64
        printed += program.communicate("".join(f"{text}\n" for text in texts[64:]))[0]
        watchdog.cancel()
    lines = "".join(f"{text}\n" for text in texts)
    assert printed == dense.succeed("generate", *common, "--batch-size", 70, "--json", "whole.json", stdin=lines)
    windows, whole = (json.loads((dense.directory / name).read_text()) for name in ("windows.json", "whole.json"))
    assert windows == whole and whole["outputs"] == 70


@pytest.mark.parametrize(
    "arguments, what",
    [
        ("--beams 2 --n-best 3", "n_best is 3; expected 1 to the number of beams, 2"),
        ("--beams 2 --sample", "sample is set and beams is 2"),
        ("--top-k 5", "expected sample to be set"),
        ("--length-penalty 0.6", "length_penalty is 0.6; it needs beams"),
        ("--beams 2 --early-stopping maybe", "maybe not in {false,true,never}"),
        ("--beams 2 --stream", "--stream: beam search"),
        ("--jsonl --stream", "expected one of them"),
        ("--sample --top-p 0", "top_p is 0"),
        ("--sample --temperature 1e-38", "temperature is 1e-38; expected 1e-06 to 1e+30"),
        ("--repetition-penalty 1e39", "repetition_penalty is 1e+39; expected 1e-30 to 1e+30"),
        ("--beams 2 --length-penalty 20", "length_penalty is 20; expected one with which"),
        ("--precision fp8", '"auto", "fp32", "bf16"'),
    ],
)
def test_options_that_contradict_each_other_are_refused(dense, arguments, what):
    done = dense("generate", "--checkpoint", "ours", *arguments.split(), stdin="owl\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and what in done.stderr and done.stderr.count("\n") == 1


def byte_tokenizer() -> bytes:
    """With byte pieces, so that one character can take several tokens."""
    sentencepiece = pytest.importorskip("sentencepiece")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS[:1] * 50 + TEXTS[2:3] * 50),
        model_writer=model,
        vocab_size=290,
        hard_vocab_limit=False,
        byte_fallback=True,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return model.getvalue()


def test_stream_is_the_text_in_whole_characters(altup, tmp_path):
    """A model that prefers the bytes of one character and a word, whatever it reads."""
    sentencepiece = pytest.importorskip("sentencepiece")
    tokenizer = byte_tokenizer()
    pieces = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
    config = transformers.T5Config(vocab_size=512, decoder_start_token_id=0, **MODELS["v1_1"])
    model = transformers.T5ForConditionalGeneration(config).eval()
    word = next(i for i in range(len(pieces)) if len(pieces.id_to_piece(i)) > 1 and pieces.id_to_piece(i)[0] == "\u2581")
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(torch.zeros(512, config.d_model))
        for token in (word, *map(pieces.piece_to_id, ("<0xE2>", "<0x82>", "<0xAC>"))):
            model.lm_head.weight[token, 0] = 1.0
        model.shared.weight[:, 0] = 1000.0  # the first feature is positive for every token, and all that the head sees
        model.decoder.final_layer_norm.weight[1:] = 0.0
        model.config.tie_word_embeddings = False
        model.config.scale_decoder_outputs = False
    model.save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "spiece.model").write_bytes(tokenizer)
    altup.succeed("import", "--from", "theirs", "--output", "ours")
    lines = "".join(f"{text}\n" for text in TEXTS)
    common = ("generate", "--checkpoint", "ours", "--precision", "fp32", "--max-new-tokens", 60)
    for flags in ((), ("--sample", "--seed", 4), ("--sample", "--top-k", 4, "--seed", 4)):
        whole = altup.succeed(*common, "--batch-size", 1, *flags, stdin=lines)
        streamed = altup.succeed(*common, "--stream", *flags, "--json", "figures.json", stdin=lines)
        assert streamed == whole
        assert json.loads((tmp_path / "figures.json").read_text())["outputs"] == len(TEXTS)
    assert "\u20ac" in whole and "\ufffd" in whole and " " + pieces.id_to_piece(word)[1:] in whole


@pytest.mark.parametrize("beams, precision", [(1, "fp32"), (3, "fp32"), (3, "bf16"), (1, "int8")])
def test_bench_decodes_in_every_precision(dense, beams, precision):
    sizes = ("--batch-size", 2, "--input-length", 9, "--max-new-tokens", 7, "--steps", 2, "--precision", precision)
    printed = dense.succeed("bench", "generate", "--checkpoint", "ours", "--beams", beams, *sizes)
    figures = json.loads(printed)
    assert (figures["batch"], figures["beams"], figures["precision"]) == (2, beams, precision)
    assert figures["tokens"] == 2 * 7
    assert figures["tokens_per_second"] == pytest.approx(14 / figures["seconds"])
    assert ("ratio" in figures) == (beams == 1)


def test_int8_answers_every_line(dense):
    common = ("generate", "--checkpoint", "ours", "--precision", "int8", "--max-new-tokens", 3)
    assert dense.succeed(*common, stdin="owl\n\n").count("\n") == 2
