"""`raykd predict` as a user meets it."""

import io
import json
import sys
from pathlib import Path

import pytest
import torch

from raykd.cli import main
from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.models.encoder import tiny_sentence_encoder
from raykd.models.qa import load_tokenizer, tiny_qa_model
from raykd.models.tagging import TagHead, tiny_tag_model

LABELS = ("B-LOC", "I-LOC", "O")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """A folder with a random model of each kind: `qa`, `tagger`, `encoder`."""
    root = tmp_path_factory.mktemp("models")
    build_tokenizer(root)
    tokenizer = load_tokenizer(str(root))
    made = {
        "qa": tiny_qa_model(tokenizer, seed=1),
        "tagger": tiny_tag_model(tokenizer, TagHead(LABELS, kind="softmax"), seed=1),
        "encoder": tiny_sentence_encoder(tokenizer, seed=1, pooling="cls"),
    }
    with torch.no_grad():
        made["tagger"].emissions.bias[:] = torch.tensor([9.0, 0.0, 0.0])
    for name, model in made.items():
        model.save_pretrained(root / name, state_dict=model.state_dict())
        tokenizer.save_pretrained(root / name)
    return root


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAYKD_DATA", raising=False)


@pytest.fixture
def typed(monkeypatch):
    """Gives the commands an input."""

    def give(content: str | bytes) -> None:
        data = content.encode() if isinstance(content, str) else content
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


def said(capsys, *command: object, code: int = 0) -> str:
    assert main([str(each) for each in ("predict", *command)]) == code
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    # The bars of libraries that were loaded before the command could silence them are no lines of ours.
    problems = [line for line in captured.err.splitlines() if line.startswith("raykd: ")]
    return "\n".join(problems) if code else captured.out


CONTEXT = "Ada was born in London. " * 12
QUESTIONS = f"Where was Ada born?\t{CONTEXT}\nWho was born?\tAda was born in [London].\n"


def test_answers_to_a_file_are_shown_in_their_contexts(capsys, models):
    Path("q.tsv").write_text(QUESTIONS)
    shown = said(capsys, models / "qa", "q.tsv", "--n-best", 2)
    rows = json.loads(said(capsys, models / "qa", "q.tsv", "--n-best", 2, "--json"))
    assert [row["question"] for row in rows] == ["Where was Ada born?", "Who was born?"]
    assert [len(row["answers"]) for row in rows] == [2, 2]
    lines = shown.splitlines()
    assert lines[0] == "1: Where was Ada born?" and lines[5] == "2: Who was born?"
    best = rows[0]["answers"][0]
    assert lines[1] == f"  {best['probability']:.3f}  {best['text']}  (score {best['score']:.2f})"
    assert f"[{best['text']}]" in lines[2] and len(lines[2]) < len(CONTEXT)
    assert CONTEXT[best["start"] : best["end"]] == best["text"]


def test_output_goes_to_a_file_where_one_is_named(capsys, models):
    Path("q.tsv").write_text(QUESTIONS)
    shown = said(capsys, models / "qa", "q.tsv")
    assert said(capsys, models / "qa", "q.tsv", "--output", "answers.txt") == ""
    assert Path("answers.txt").read_text() == shown
    assert "cannot be written" in said(capsys, models / "qa", "q.tsv", "--output", "no/answers.txt", code=2)


def test_questions_are_asked_for_one_context_after_another(capsys, models, typed):
    Path("context.txt").write_text("Ada was born in London.")
    typed("Ada was\nborn.\n\nWho?\nWhen?\n\ncontext.txt\nWhere?\n")
    rows = [json.loads(line) for line in said(capsys, models / "qa", "--json").splitlines()]
    assert [row["question"] for row in rows] == ["Who?", "When?", "Where?"]
    contexts = ["Ada was\nborn."] * 2 + ["Ada was born in London."]
    for row, context in zip(rows, contexts, strict=True):
        (answer,) = row["answers"]
        assert context[answer["start"] : answer["end"]] == answer["text"]


@pytest.mark.parametrize("content", ["", "\n", "a context without a question\n\n", b"\xff\xfe\n\nWho?\n"])
def test_an_input_that_ends_early_or_is_no_text_ends_without_an_error(capsys, models, typed, content):
    for model in ("qa", "tagger"):
        typed(content)
        said(capsys, models / model)


def test_labels_of_a_file_are_columns_or_json_with_entities(capsys, models):
    Path("s.txt").write_text("Ada wrote .\nIn London\n")
    expected = "Ada\tB-LOC\nwrote\tB-LOC\n.\tB-LOC\n\nIn\tB-LOC\nLondon\tB-LOC\n\n"
    assert said(capsys, models / "tagger", "s.txt") == expected
    first, _ = json.loads(said(capsys, models / "tagger", "s.txt", "--json"))
    assert first["words"] == ["Ada", "wrote", "."] and first["labels"] == ["B-LOC"] * 3
    assert first["entities"][1] == {"type": "LOC", "first": 1, "last": 1, "text": "wrote"}


def test_sentences_that_are_typed_are_labelled_at_once(capsys, models, typed):
    typed("Ada wrote\n")
    assert said(capsys, models / "tagger") == "Ada\tB-LOC\nwrote\tB-LOC\n\n"
    typed("Ada wrote\nIn London\n\nnot read\n")
    lines = said(capsys, models / "tagger", "--json").splitlines()
    assert [json.loads(line)["words"] for line in lines] == [["Ada", "wrote"], ["In", "London"]]


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (["encoder"], "an encoder, which turns sentences into vectors"),
        (["nothing"], "no such folder"),
        (["qa", "none.tsv"], "none.tsv: no such file"),
        (["qa", "q.csv"], "unknown suffix"),
        (["qa", "--n-best", "0"], "--n-best 0: must be 1 or more"),
        (["tagger", "empty.txt"], "empty.txt: no sentences"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(capsys, models, command, line):
    Path("q.csv").write_text("Who?,Ada")
    Path("empty.txt").write_text("")
    model, *options = command
    (problem,) = said(capsys, f"{models}/./{model}", *options, code=2).splitlines()
    assert line in problem
