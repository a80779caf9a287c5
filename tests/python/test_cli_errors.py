"""What the program says to a mistake that its user can mend: exit code 2 and one line on stderr,
`error: FILE:LINE: what, and what was expected`, and never a stack trace or an abort.

Mistakes come in three kinds: in a config, on the command line, and in the data.
"""
import gzip
import json
import signal
import subprocess

import pytest
from conftest import PROGRAM

# Long enough that a batch has to read past every broken line below.
GOOD_TEXT = "The cow met the fox near the old mill on day 7."


@pytest.fixture
def refused(altup):
    """Runs the program and returns the one line that it must refuse with, without its "error: "."""

    def run(*arguments, stdin: str = "") -> str:
        done = altup(*arguments, "--log-level", "error", stdin=stdin)
        died_of = signal.Signals(-done.returncode).name if done.returncode < 0 else None
        assert died_of is None, f"died of {died_of}: {done.stderr}"
        assert done.returncode == 2, f"exited with {done.returncode}: {done.stderr}"
        assert done.stderr.startswith("error: "), done.stderr
        assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n"), done.stderr
        return done.stderr.removeprefix("error: ").rstrip("\n")

    return run


@pytest.fixture
def write(tmp_path):
    """Writes a file (gzipped where its name says so) and returns its path."""

    def to(name: str, content: str | bytes):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return path

    return to


# --- configs ----------------------------------------------------------------------------------------------------------

# name: (a config with one mistake, the line it is on, words that the answer must hold)
BAD_CONFIGS = {
    "unknown key names the nearest": (
        '[model]\nsize = "tiny"\n\n[train]\nstesp = 10\n',
        5,
        ["stesp", "steps"],
    ),
    "unknown key of the model": ('[model]\nd_modle = 64\n', 2, ["d_modle", "d_model"]),
    "unknown section names the nearest": ("[trian]\nsteps = 10\n", 1, ["trian", "train"]),
    "key outside of any section": ("steps = 10\n", 1, ["steps"]),
    "text where a whole number is expected": ('[train]\nsteps = "many"\n', 2, ["steps", "integer"]),
    "fraction where a whole number is expected": ("[train]\nsteps = 1.5\n", 2, ["steps", "integer"]),
    "number where text is expected": ("[model]\nsize = 3\n", 2, ["size"]),
    "number where a flag is expected": ("[model]\ntie_embeddings = 1\n", 2, ["tie_embeddings", "true"]),
    "text where a list is expected": ('[data]\ntrain = 7\n', 2, ["train", "list"]),
    "list of the wrong things": ("[data]\ntrain = [1, 2]\n", 2, ["train"]),
    "whole number too small": ("[train]\n# none\nsteps = 0\n", 3, ["steps", "1"]),
    "whole number too large for 64 bits": ("[train]\nsteps = 99999999999999999999\n", 2, []),
    "fraction out of range": ("[data]\nnoise_density = 1.5\n", 2, ["noise_density"]),
    "not a number": ("[optimizer]\nlearning_rate = nan\n", 2, ["learning_rate"]),
    "unknown choice lists the known ones": (
        '[altup]\nvariant = "recycle"\n',
        2,
        ["recycle", "recycled", "altup", "sum"],
    ),
    "unknown size": ('[model]\nsize = "giant"\n', 2, ["giant", "tiny", "xl"]),
    "value left out": ("[train]\nsteps = \n", 2, []),
    "bracket left open": ('[train]\nsteps = 10\n[data\ntrain = ["a"]\n', 3, []),
    "key given twice": ("[train]\nsteps = 10\nsteps = 20\n", 3, ["steps"]),
    "text that does not end": ('[model]\nsize = "tiny\n', 2, []),
    "base config that is not there": ('[train]\nsteps = 10\n', None, ["nowhere.toml"]),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_mistake_in_a_config_is_named_with_its_line(refused, write, name):
    text, line, words = BAD_CONFIGS[name]
    if line is None:  # the mistake is in the first line, put before the text
        text, line = 'extends = ["nowhere.toml"]\n' + text, 1
    config = write("run.toml", text)
    said = refused("info", "--config", config)
    assert said.startswith(f"{config}:{line}: "), said
    for word in words:
        assert word in said.removeprefix(str(config)), said


def test_mistake_in_a_base_config_is_named_in_the_base(refused, write):
    base = write("base.toml", "[train]\nsteps = 10\nsave_evrey = 5\n")
    config = write("run.toml", 'extends = ["base.toml"]\n[train]\nsteps = 20\n')
    said = refused("info", "--config", config)
    assert said.startswith(f"{base}:3: ") and "save_every" in said, said


def test_circle_of_configs_is_refused(refused, write):
    write("a.toml", 'extends = ["b.toml"]\n')
    b = write("b.toml", 'extends = ["a.toml"]\n')
    assert refused("info", "--config", b).split(":")[0].endswith(".toml")


@pytest.mark.parametrize("command", ["pretrain", "finetune", "preview", "info"])
def test_missing_config_is_named(refused, tmp_path, command):
    output = ["--output", tmp_path / "run"] if command in ("pretrain", "finetune") else []
    said = refused(command, "--config", tmp_path / "nowhere.toml", *output)
    assert str(tmp_path / "nowhere.toml") in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "override, words",
    [
        ("train.stesp=10", ["train.stesp", "steps"]),
        ("train.steps=many", ["steps"]),
        ("train.steps=-1", ["steps"]),
        ("train.steps", ["train.steps"]),
        ("steps=10", ["steps"]),
        ("altup.variant=recycle", ["recycled"]),
    ],
)
def test_mistake_in_set_is_named(refused, write, override, words):
    config = write("run.toml", '[model]\nsize = "tiny"\n')
    said = refused("info", "--config", config, "--set", override)
    assert override in said and all(word in said for word in words), said


# --- command line -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["pretrian"], "perhaps pretrain"),
        (["fly"], "one of demo"),
        (["info", "--confgi", "run.toml"], "--confgi"),
        (["pretrain", "--output", "run"], "--config"),
        (["generate"], "--checkpoint"),
        (["info", "--threads", "many"], "--threads"),
        (["info", "--checkpoint", "nowhere"], "nowhere"),
        (["info", "--config", "run.toml", "--bandwidth", "5"], "--bandwidth with --gflops"),
        (["info", "--config", "run.toml", "--gflops", "5", "--measure"], "--measure or --gflops, not both"),
        (["bench", "step", "--config", "a.toml", "--beside", "b.toml", "--no-reference"], "excludes --beside"),
        (["generate", "--checkpoint", "nowhere"], "nowhere"),
        (["export", "--checkpoint", "nowhere", "--to", "torchscript", "--output", "model.pt"], "nowhere"),
        (["export", "--checkpoint", "nowhere", "--to", "huggingface", "--fused", "--output", "hf"], "--to torchscript"),
        (["score", "--task", "glue/sst", "--data", ".", "--predictions", "p.tsv"], "glue/sst2"),
        (["score", "--task", "glue/sst2", "--data", "nowhere", "--predictions", "p.tsv"], "nowhere"),
        (["import", "--from", "nowhere", "--output", "model"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["tokenizer", "train", "--input", "nowhere.txt", "--vocab-size", "60", "--output", "t"], "nowhere.txt"),
        (["tokenizer", "encode", "--model", "nowhere.model"], "nowhere.model"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistake_on_the_command_line_is_named(refused, arguments, word):
    assert word in refused(*arguments)


def test_two_models_in_one_process_compute_in_the_same_way(refused, write):
    fused = write("fused.toml", '[model]\nsize = "tiny"\n')
    reference = write("reference.toml", '[model]\nsize = "tiny"\n[runtime]\nkernels = "reference"\n')
    assert "--beside: its [runtime] differs" in refused("bench", "step", "--config", fused, "--beside", reference)


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["generate", "--beams", "0"], "value 0; expected a whole number from 1 to 2147483647"),
        (["generate", "--top-k", "-1"], "value -1; expected a whole number from 0 to 2147483647"),
        (["generate", "--batch-size", "many"], "value many; expected a whole number from 1 to 2147483647"),
        (["generate", "--n-best", "1.5"], "value 1.5; expected a whole number from 1 to 2147483647"),
        (["generate", "--max-new-tokens", "9" * 20], f"value {'9' * 20}; expected a whole number from 1 to 2147483647"),
        (["generate", "--input-length", "1"], "value 1; expected a whole number from 2 to 1048576"),
        (["evaluate", "--max-examples", "9" * 20], f"value {'9' * 20}; expected a whole number from 0 to 2147483647"),
        (["bench", "ops", "--steps", "9" * 20], f"value {'9' * 20}; expected a whole number from 1 to 2147483647"),
        (["info", "--seed", "9" * 20], f"value {'9' * 20}; expected a whole number from 0 to {2**63 - 1}"),
        (["info", "--threads", "5000"], "value 5000; expected a whole number from 0 to 4096"),
        (["generate", "--temperature", "0"], "value 0; expected a number above 0"),
        (["generate", "--temperature", "nan"], "value nan; expected a number above 0"),
        (["generate", "--repetition-penalty", "1e-400"], "value 1e-400; expected a number above 0"),
        (["export", "--max-shard-size", "0"], "value 0; expected a number above 0"),
        (["info", "--gflops", "0"], "value 0; expected a number above 0"),
        (["info", "--memory", "80 apples"], "value 80 apples; expected a size such as 80GiB"),
        (["info", "--memory", "0GiB"], "value 0GiB; expected a size such as 80GiB"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_number_out_of_range_is_named_with_its_range(refused, arguments, said):
    assert refused(*arguments) == f"{arguments[-2]}: {said}; see altup --help"


def test_no_command_is_refused(altup):
    done = altup()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_wrong_log_level_lists_the_levels(altup, write):
    config = write("run.toml", '[model]\nsize = "tiny"\n')
    done = altup("info", "--config", config, "--log-level", "loud")
    assert done.returncode == 2
    assert "loud" in done.stderr and "warning" in done.stderr


# --- data: text and JSON lines ------------------------------------------------------------------------------------------


@pytest.fixture
def preview(refused, write, tokenizer_model):
    """The answer to a preview of a corpus of that name and content."""

    def run(name: str, content: str | bytes) -> tuple[str, str]:
        corpus = write(name, content)
        return str(corpus), preview_of(corpus)

    def preview_of(corpus) -> str:
        config = write(
            "run.toml",
            f'[model]\nsize = "tiny"\n[tokenizer]\nmodel = "{tokenizer_model}"\n'
            f'[data]\ntrain = ["{corpus}"]\ninput_length = 32\ntarget_length = 0\n[train]\nbatch_size = 2\n',
        )
        return refused("preview", "--config", config, "--batches", 1)

    run.of = preview_of
    return run


def json_lines(*lines) -> str:
    """Good documents as JSON lines; what is text already stays as it is."""
    return "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)


GOOD = {"text": GOOD_TEXT}
BAD_JSON_LINES = {
    "cut off": '{"text": "The cow met',
    "no JSON": "The cow met the fox",
    "without text": '{"title": "The cow"}',
    "text is a number": '{"text": 7}',
    "a list": '["The cow"]',
}


@pytest.mark.parametrize("bad", BAD_JSON_LINES.values(), ids=BAD_JSON_LINES.keys())
@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
def test_broken_json_line_is_named(preview, name, bad):
    corpus, said = preview(name, json_lines(GOOD, GOOD, bad, GOOD))
    assert said.startswith(f"{corpus}:3: "), said


def test_text_that_is_not_utf8_is_named(preview):
    corpus, said = preview("corpus.txt", GOOD_TEXT.encode() + b"\n\nThe cow met the \xff\xfe fox\n")
    assert said.startswith(f"{corpus}:3: ") and "UTF-8" in said, said


def test_gzip_that_is_cut_off_is_named(preview, tmp_path):
    corpus = tmp_path / "corpus.txt.gz"
    corpus.write_bytes(gzip.compress("\n\n".join(f"{GOOD_TEXT} {i}" for i in range(500)).encode())[:-200])
    assert preview.of(corpus).startswith(str(corpus))


def test_file_that_is_no_gzip_is_named(preview, tmp_path):
    # Named .gz and neither gzip nor text: plain text in a .gz may be taken as it is.
    corpus = tmp_path / "corpus.txt.gz"
    corpus.write_bytes(b"\x1f\x8b\x08\x00" + b"\xff" * 60)
    assert preview.of(corpus).startswith(str(corpus))


def test_corpus_without_text_is_refused(preview):
    _, said = preview("corpus.txt", "\n\n  \n")
    assert "training data" in said and "0 tokens" in said, said


def test_missing_corpus_is_named(preview, tmp_path):
    assert "nowhere" in preview.of(tmp_path / "nowhere" / "*.txt")


def test_file_that_is_no_tokenizer_is_named(refused, write):
    model = write("spiece.model", "this is no SentencePiece model")
    assert refused("tokenizer", "encode", "--model", model, stdin="a cow\n").startswith(str(model))


def test_text_too_small_for_the_vocabulary_is_refused(refused, write, tmp_path):
    text = write("text.txt", GOOD_TEXT + "\n")
    said = refused(
        "tokenizer", "train", "--input", text, "--vocab-size", 30000, "--output", tmp_path / "tokenizer"
    )
    assert "30000" in said, said


@pytest.mark.parametrize("line", ["[5, 6", "[1.5]", "[3000000000]", '["5"]', "5", "{}"])
def test_broken_line_of_ids_is_named(refused, tokenizer_model, line):
    said = refused("tokenizer", "decode", "--model", tokenizer_model, stdin=f"[5, 6, 1]\n{line}\n")
    assert ":2: " in said, said


def test_line_of_no_utf8_is_named(tokenizer_model):
    command = [PROGRAM, "tokenizer", "encode", "--model", tokenizer_model]
    done = subprocess.run(command, input=b"cow\ncaf\xe9\n", capture_output=True)
    assert done.returncode == 2
    assert b"standard input:2: byte 4 is not valid UTF-8" in done.stderr


# --- data: tasks --------------------------------------------------------------------------------------------------------

SST2_HEADER = "sentence\tlabel\n"
SST2_GOOD = "a charming journey\t1\n"


def score(refused, task: str, data, predictions) -> str:
    return refused("score", "--task", task, "--data", data, "--split", "dev", "--predictions", predictions)


@pytest.mark.parametrize(
    "rows, line",
    [
        (SST2_HEADER + SST2_GOOD + "a column short\n", 3),
        (SST2_HEADER + "one\ttoo\tmany\n", 2),
        (SST2_HEADER + SST2_GOOD + SST2_GOOD + "unknown label\t7\n", 4),
        (SST2_HEADER + "label is a word\tgood\n", 2),
        ("text\tclass\n" + SST2_GOOD, 1),
    ],
    ids=["short row", "long row", "unknown label", "word for a label", "wrong header"],
)
def test_broken_tsv_row_is_named(refused, write, rows, line):
    data = write("SST-2/dev.tsv", rows)
    predictions = write("predictions.tsv", "index\tprediction\n0\t1\n")
    said = score(refused, "glue/sst2", data.parent.parent, predictions)
    assert said.startswith(f"{data}:{line}: "), said


@pytest.mark.parametrize(
    "rows",
    [
        "index\tprediction\n0\t1\n",
        "index\tprediction\n0\t1\n1\t0\n1\t0\n",
        "index\tprediction\n0\t1\n5\t0\n",
        "index\tprediction\n0\t1\n1\n",
        "index\tprediction\n0\t1\n1\tperhaps\n",
        "",
    ],
    ids=["missing", "twice", "unknown index", "short row", "unknown label", "empty file"],
)
def test_wrong_prediction_file_is_named(refused, write, rows):
    data = write("SST-2/dev.tsv", SST2_HEADER + SST2_GOOD + "unflinchingly bleak\t0\n")
    predictions = write("predictions.tsv", rows)
    assert score(refused, "glue/sst2", data.parent.parent, predictions).startswith(str(predictions))


@pytest.mark.parametrize(
    "content",
    ['{"data": [', '{"version": "1.1"}', '{"data": [{"title": "Cows", "paragraphs": [{"qas": []}]}]}', "[]", ""],
    ids=["cut off", "without data", "without context", "a list", "empty file"],
)
def test_broken_squad_file_is_named(refused, write, content):
    data = write("dev-v1.1.json", content)
    predictions = write("predictions.json", "{}")
    assert score(refused, "squad", data, predictions).startswith(str(data))


def test_broken_squad_predictions_are_named(refused, write):
    question = {"id": "q0", "question": "Who met the fox?", "answers": [{"text": "The cow", "answer_start": 0}]}
    article = {"title": "Cows", "paragraphs": [{"context": GOOD_TEXT, "qas": [question]}]}
    data = write("dev-v1.1.json", json.dumps({"version": "1.1", "data": [article]}))
    for broken in ('{"q0": "The cow"', '{"q0": 7}', "{}", '["The cow"]'):
        predictions = write("predictions.json", broken)
        assert score(refused, "squad", data, predictions).startswith(str(predictions)), broken


def test_missing_checkpoint_to_evaluate_is_named(refused, write):
    data = write("SST-2/dev.tsv", SST2_HEADER + SST2_GOOD)
    said = refused("evaluate", "--checkpoint", "nowhere", "--task", "glue/sst2", "--data", data)
    assert said.startswith("nowhere"), said


def test_broken_checkpoint_is_named(refused, tmp_path, write):
    checkpoint = tmp_path / "checkpoint"
    write("checkpoint/model.safetensors", b"\xff" * 64)
    write("checkpoint/config.toml", "[model]\n")
    assert str(checkpoint) in refused("generate", "--checkpoint", checkpoint, stdin="a cow\n")


def test_broken_huggingface_checkpoint_is_named(refused, write, tmp_path):
    config = write("hf/config.json", '{"d_model": 64,\n')
    write("hf/model.safetensors", b"\x00" * 8)
    assert refused("import", "--from", config.parent, "--output", tmp_path / "model").startswith(str(config))
