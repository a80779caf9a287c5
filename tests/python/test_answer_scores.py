"""`altup score` on question answering against the definitions written out in Python, the language of the official
scorers, whose figures it has to have to the last digit: the normalisers, the best of all answers, answers that are
missing or belong to no question. And a user's own task from its TOML file through the program."""
import json
import random
import re
import string
from collections import Counter

import pytest
from conftest import ROOT, Altup

ARTICLES = re.compile(r"\b(?:a|an|the)\b")
PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))
SPACED = dict.fromkeys(map(ord, string.punctuation + "‘’´`"), " ")


def words(text: str, task: str) -> list[str]:
    """The normalised text's words: SQuAD drops punctuation, TriviaQA makes spaces of it."""
    table = SPACED if task == "triviaqa" else PUNCTUATION
    return ARTICLES.sub(" ", text.lower().translate(table)).split()


def word_f1(said: list[str], right: list[str]) -> float:
    common = (Counter(said) & Counter(right)).total()
    if common == 0:
        return 0.0
    precision, recall = common / len(said), common / len(right)
    return (2 * precision * recall) / (precision + recall)


def expected(task: str, answers: dict[str, list[str]], said: dict[str, str]) -> dict[str, float]:
    exact = f1 = 0.0
    for question, right in answers.items():
        if question in said:
            mine = words(said[question], task)
            exact += max(mine == words(answer, task) for answer in right)
            f1 += max(word_f1(mine, words(answer, task)) for answer in right)
    return {"exact_match": 100.0 * exact / len(answers), "f1": 100.0 * f1 / len(answers)}


def squad_file(answers: dict[str, list[str]]) -> dict:
    questions = [{"id": id, "question": "Q?", "answers": [{"text": text} for text in texts]}
                 for id, texts in answers.items()]
    return {"version": "1.1", "data": [{"paragraphs": [{"context": "c", "qas": questions}]}]}


def triviaqa_file(answers: dict[str, list[str]]) -> dict:
    data = [{"QuestionId": id, "Question": "Q?",
             "Answer": {"Value": texts[0], "NormalizedAliases": texts[:2], "HumanAnswers": texts[2:]}}
            for id, texts in answers.items()]
    return {"Data": data, "Domain": "unfiltered", "VerifiedEval": False, "Version": 1.0}


def random_text(rng: random.Random) -> str:
    pieces = ["a", "An", "THE", "army", "Ullbridge", "1990", "½", "ÉCOLE", "ΟΔΟΣ", "Σ", "İzmir", "Straße", "ДОМ", "中"]
    joints = [" ", " ", " ", "\u00a0", ".", "_", "-", "–", "’", "´", "'", ", ", "  \t"]
    return "".join(rng.choice(pieces) + rng.choice(joints) for _ in range(rng.randint(0, 4)))


@pytest.mark.parametrize("task, layout", [("squad", squad_file), ("triviaqa", triviaqa_file)])
def test_figures_are_the_official_ones(altup: Altup, task, layout):
    rng = random.Random(7)
    answers = {f"q{i}": [random_text(rng) for _ in range(rng.randint(1, 4))] for i in range(2000)}
    said = {id: rng.choice(texts + [random_text(rng)]) for id, texts in answers.items() if rng.random() < 0.9}
    said |= {f"unknown{i}": "x" for i in range(3)}
    (altup.directory / "data.json").write_text(json.dumps(layout(answers)))
    (altup.directory / "said.json").write_text(json.dumps(said))
    done = altup("score", "--task", task, "--data", "data.json", "--predictions", "said.json", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"] == expected(task, answers, said)
    assert f"no prediction for {2000 - len(said) + 3} of 2,000 examples" in done.stderr
    assert "left out 3 predictions" in done.stderr
    assert done.stderr.count(" W ") == 2


def test_an_own_task_is_scored_through_its_file(altup: Altup):
    toml = ROOT / "configs" / "tasks" / "example.toml"
    (altup.directory / "dev.tsv").write_text("id\tlabel\ttext\nx\t1\tWin!\ny\t0\tHi\nz\t0\tHo\n")
    (altup.directory / "p.jsonl").write_text("".join(
        json.dumps({"id": id, "prediction": said}) + "\n" for id, said in (("z", 1), ("x", "1"), ("y", "0"))))
    result = json.loads(altup.succeed("score", "--task", toml, "--data", ".", "--predictions", "p.jsonl"))
    # spam: one right, one that is ham: F1 2 / (2 + 1)
    assert result["task"] == "spam" and result["examples"] == 3
    assert result["metrics"] == pytest.approx({"accuracy": 200 / 3, "f1": 200 / 3})
    (altup.directory / "mine.toml").write_text(toml.read_text().replace("{text}", "{txt}"))
    done = altup("score", "--task", "mine.toml", "--data", ".", "--predictions", "p.jsonl")
    assert done.returncode == 2
    assert done.stderr.startswith('error: ./dev.tsv:1: the header has no column "txt", which task.prompt (mine.toml:')
    assert done.stderr.rstrip().endswith("names; expected perhaps text")
