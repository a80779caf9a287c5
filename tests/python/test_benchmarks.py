"""Whole benchmarks at once: a mixture in training, the leaderboard's average and submission files in evaluation.

The tasks' own files, prompts and metrics are tested in tests/tasks; here it is how the commands put them together.
"""
import json

import pytest
from conftest import Altup

GLUE = {
    "CoLA": ("", ["a\t1\t\tThe cow met the fox.", "b\t0\t*\tThe met cow fox the."]),
    "SST-2": ("sentence\tlabel", ["a bright hill \t1", "an old barn \t0"]),
    "MRPC": (
        "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        ["1\t1\t2\tThe cow met the owl .\tThe owl met the cow .", "0\t3\t4\tThe owl .\tThe hare ."],
    ),
    "STS-B": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        ["0\tg\tf\t2026\t1\ts\ts\tThe cow.\tThe owl.\t1.2", "1\tg\tf\t2026\t2\ts\ts\tThe fox.\tThe fox.\t5.0"],
    ),
    "QQP": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        ["0\t1\t2\tWho met the cow?\tWho met a cow?\t1", "1\t3\t4\tWho?\tWhere?\t0"],
    ),
    "QNLI": (
        "index\tquestion\tsentence\tlabel",
        ["0\tWho met the fox?\tThe owl met the fox.\tentailment", "1\tWho?\tIt rained.\tnot_entailment"],
    ),
    "RTE": (
        "index\tsentence1\tsentence2\tlabel",
        ["0\tThe cow met the fox.\tThe fox was met.\tentailment", "1\tThe cow.\tThe owl.\tnot_entailment"],
    ),
    "WNLI": (
        "index\tsentence1\tsentence2\tlabel",
        [
            "0\tThe cow met the fox and it ran away.\tThe fox ran away.\t1",
            "1\tThe cow met the fox and it ran away.\tThe cow ran away.\t0",
        ],
    ),
}
MNLI = (
    "index\tsentence1\tsentence2\tgold_label",
    ["0\tThe cow met the fox.\tThe fox met the cow.\tentailment", "1\tThe cow.\tThe owl.\tneutral"],
)
SUBMISSION = "CoLA SST-2 MRPC STS-B QQP MNLI-m MNLI-mm QNLI RTE WNLI".split()
# The labels of the dev files above, as a submission has them.
GOLD = {
    **dict.fromkeys("CoLA SST-2 MRPC QQP WNLI".split(), ["1", "0"]),
    **dict.fromkeys("QNLI RTE".split(), ["entailment", "not_entailment"]),
    **dict.fromkeys("MNLI-m MNLI-mm".split(), ["entailment", "neutral"]),
    "STS-B": ["1.2", "5.0"],
}


def table(header: str, rows: list[str]) -> str:
    return "".join(f"{line}\n" for line in ([header] if header else []) + rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A directory for all data, with GLUE below it as scripts/download_data.sh lays it out."""
    root = tmp_path_factory.mktemp("data")
    for name, (header, rows) in GLUE.items():
        (root / "glue" / name).mkdir(parents=True)
        for split in ("train", "dev"):
            (root / "glue" / name / f"{split}.tsv").write_text(table(header, rows))
    (root / "glue" / "MNLI").mkdir()
    for split in ("train", "dev_matched", "dev_mismatched"):
        (root / "glue" / "MNLI" / f"{split}.tsv").write_text(table(*MNLI))
    return root


@pytest.fixture(scope="module")
def world(tmp_path_factory, tokenizer_model) -> Altup:
    directory = tmp_path_factory.mktemp("benchmarks")
    (directory / "run.toml").write_text(
        f"""
model = {{d_model = 32, d_ff = 64, num_heads = 2, num_encoder_layers = 1, num_decoder_layers = 1, vocab_size = 144}}
tokenizer = {{model = "{tokenizer_model}"}}
task = {{names = ["glue"], input_length = 64, target_length = 16}}
train = {{steps = 3, batch_size = 8, precision = "fp32", log_every = 3}}
optimizer = {{name = "adamw", learning_rate = 1e-3, schedule = "constant", warmup_steps = 0}}
"""
    )
    return Altup(directory)


@pytest.fixture(scope="module")
def trained(world, data):
    command = ("finetune", "--config", "run.toml", "--output", "run", "--set", f"task.data={data}", "--threads", 1)
    done = world(*command, "--json", "figures.json")
    assert done.returncode == 0, done.stderr
    return done, json.loads((world.directory / "figures.json").read_text())


def test_a_benchmark_is_trained_on_as_a_mixture(trained):
    """MNLI's file counts once, WNLI is evaluated only; ten evaluations and their average."""
    done, figures = trained
    shares = [line for line in done.stderr.splitlines() if "of the mixture" in line]
    assert len(shares) == 8 and all("2 examples, 12.5 %" in line for line in shares)
    assert not any("wnli" in line or "mismatched" in line for line in shares)
    tasks = [name for name in figures if name.startswith("glue/")]
    assert len(tasks) == 10
    first = {"cola": "matthews_correlation", "mrpc": "f1", "qqp": "f1", "stsb": "pearson"}
    best = [figures[name][first.get(name.removeprefix("glue/"), "accuracy")] or 0.0 for name in tasks]
    assert figures["average"]["score"] == pytest.approx(sum(best) / 10)


def test_gold_predictions_score_a_hundred(world, data):
    folder = world.directory / "gold"
    folder.mkdir()
    for name in SUBMISSION:
        rows = [f"{i}\t{label}" for i, label in enumerate(GOLD[name])]
        (folder / f"{name}.tsv").write_text(table("index\tprediction", rows))
    scored = json.loads(world.succeed("score", "--task", "glue", "--data", data, "--predictions", "gold"))
    assert [result["task"].removeprefix("glue/") for result in scored["tasks"]] == (
        "cola sst2 mrpc stsb qqp mnli mnli_mismatched qnli rte wnli".split()
    )
    for result in scored["tasks"]:
        assert result["examples"] == 2
        assert all(value == pytest.approx(100) for value in result["metrics"].values()), result
    assert scored["averages"] == {"glue": pytest.approx(100)}


def test_evaluate_writes_what_score_reads(world, data, trained):
    """The submission's files have the leaderboard's names, and scoring them gives the model's own figures."""
    command = ("--checkpoint", "run", "--task", "glue", "--data", data, "--predictions", "submission")
    evaluated = json.loads(world.succeed("evaluate", *command, "--answers", "answers"))
    written = sorted(path.name for path in (world.directory / "submission").iterdir())
    assert written == sorted(f"{name}.tsv" for name in SUBMISSION)
    assert (world.directory / "answers" / "MNLI-mm.tsv.answers.jsonl").is_file()
    scored = json.loads(world.succeed("score", "--task", "glue", "--data", data, "--predictions", "submission"))
    for ours, theirs in zip(evaluated["tasks"], scored["tasks"], strict=True):
        assert ours["metrics"] == theirs["metrics"]
        assert {"truncated_outputs", "truncated_share", "truncated_inputs"} <= set(ours)
    assert evaluated["averages"] == scored["averages"]
    assert set(evaluated["averages"]) == {"glue"}


def test_evaluate_cuts_where_the_fine_tuning_did(world, data):
    """A task that the checkpoint was fine-tuned on is asked with its lengths, another one with the task's own."""
    lengths = ("task.names=glue/sst2", "task.input_length=8", "task.target_length=2", "train.steps=1")
    short = ("finetune", "--config", "run.toml", "--output", "short", "--set", f"task.data={data}", *lengths)
    world.succeed(*short, "--threads", 1)
    evaluate = ("evaluate", "--checkpoint", "short", "--data", data, "--task")
    asked = (("glue/sst2",), ("glue/rte",), ("glue/sst2", "--input-length", 64))
    assert [json.loads(world.succeed(*evaluate, *task))["truncated_inputs"] for task in asked] == [2, 0, 0]


def test_a_benchmark_short_of_a_task_has_no_average(world, data):
    tasks = ("glue/cola", "glue/rte")
    scored = json.loads(world.succeed("score", "--task", *tasks, "--data", data, "--predictions", "gold"))
    assert len(scored["tasks"]) == 2 and scored["averages"] == {}


def test_labels_that_are_missing_are_told(world, trained):
    """A file of which some rows have a label gives predictions, no metrics, and a word about that."""
    (world.directory / "part.jsonl").write_text(
        '{"idx": 0, "premise": "The cow.", "hypothesis": "A cow.", "label": "entailment"}\n'
        '{"idx": 1, "premise": "The owl.", "hypothesis": "A cow."}\n'
    )
    task = ("--task", "superglue/rte", "--data", "part.jsonl", "--split", "test", "--predictions", "part.out")
    done = world("evaluate", "--checkpoint", "run", *task)
    assert done.returncode == 0, done.stderr
    assert "superglue/rte: 1 of 2 examples have no label, so there are no metrics" in done.stderr
    assert json.loads(done.stdout)["metrics"] == {}
    done = world("score", *task)
    assert done.returncode == 2
    assert 'part.jsonl: the test split of superglue/rte has no label to score with for example "1"' in done.stderr


def test_mistakes_are_told_before_the_work(world, data, trained):
    evaluate = ("evaluate", "--checkpoint", "run", "--data", data, "--task")
    done = world(*evaluate, "glue", "glue/rte")
    assert done.returncode == 2 and 'task "glue/rte" is there twice' in done.stderr
    done = world(*evaluate, "glue/rte", "superglue/cb")
    assert done.returncode == 2 and "CB/val.jsonl: is not there" in done.stderr
    (world.directory / "file").write_text("")
    done = world(*evaluate, "glue", "--predictions", "file")
    assert done.returncode == 2 and "file: is a file; expected a folder" in done.stderr
    (world.directory / "taken" / "RTE.tsv").mkdir(parents=True)
    done = world(*evaluate, "glue", "--predictions", "taken")
    assert done.returncode == 2 and "taken/RTE.tsv: cannot be written; expected a file" in done.stderr
    assert [path.name for path in (world.directory / "taken").iterdir()] == ["RTE.tsv"]
    done = world(*evaluate, "glue/rte", "--predictions", "same.tsv", "--answers", "./same.tsv")
    assert done.returncode == 2 and "./same.tsv: would be written twice" in done.stderr
    assert not (world.directory / "same.tsv").exists()


def test_a_task_from_a_toml_file_stands_beside_the_config_that_names_it(world, tokenizer_model):
    """Named from the config's own directory; trained on, evaluated and scored like a built-in one."""
    folder = world.directory / "mine"
    folder.mkdir()
    (folder / "task.toml").write_text(
        """
[task]
name = "animals"
format = "tsv"
train = "train.tsv"
dev = "train.tsv"
prompt = "which animal: {text}"
target = "{label}"
metrics = ["accuracy"]
[task.labels]
0 = "cow"
1 = "owl"
"""
    )
    (folder / "train.tsv").write_text(table("text\tlabel", ["The cow met the fox.\t0", "The owl ran.\t1"]))
    (folder / "run.toml").write_text(
        'extends = "../run.toml"\n[task]\nnames = ["task.toml"]\ndata = "."\n[train]\nsteps = 1\n'
    )
    mine = ("finetune", "--config", "mine/run.toml", "--set", f"task.data={folder}", "--output", "mine/run")
    world.succeed(*mine, "--threads", 1)
    evaluated = json.loads(
        world.succeed("evaluate", "--checkpoint", "mine/run", "--task", "mine/task.toml", "--data", folder)
    )
    assert evaluated["task"] == "animals" and set(evaluated["metrics"]) == {"accuracy"}
