"""Files of questions and sentences: every form, and what is wrong with them."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raykd.errors import DataError
from raykd.tasks.qa.files import Question, read_questions
from raykd.tasks.tagging.files import read_sentences


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(read, path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    assert all(line.startswith(str(path)) for line in caught.value.problems)
    return "\n".join(caught.value.problems)


ASKED = [Question("1", "Who?", "Ada wrote."), Question("2", "Where?", "In London.")]


def squad(*answers: dict) -> str:
    qas = [{"id": each.id, "question": each.question, **extra} for each, extra in zip(ASKED, answers, strict=True)]
    paragraphs = [{"context": each.context, "qas": [qa]} for each, qa in zip(ASKED, qas, strict=True)]
    return json.dumps({"data": [{"title": "t", "paragraphs": paragraphs}]})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", squad({}, {"answers": []})),
        ("a.json", squad({"answers": [{"text": "not there", "answer_start": 7}]}, {})),
        ("a.jsonl", "".join(json.dumps({"question": q.question, "context": q.context}) + "\n" for q in ASKED)),
        ("a.tsv", "Who?\tAda wrote.\nWhere?\tIn London.\n"),
        ("a.tsv", "id\tcontext\tquestion\n1\tAda wrote.\tWho?\n\n2\tIn London.\tWhere?\n"),
    ],
)
def test_questions_are_read_from_every_form_with_or_without_answers(tmp_path, name, text):
    assert read_questions(write(tmp_path, name, text)) == ASKED


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "line 1, column"),
        ("a.json", '{"data": []}', "no questions"),
        ("a.jsonl", "", "no questions"),
        ("a.jsonl", '{"question": "Who?"}', "line 1: needs texts `question` and `context`, got"),
        ("a.jsonl", '{"question": "Who?", "context": 3}\n[1]', "line 2: needs texts"),
        ("a.jsonl", '{"question": "Who?", "context": "\\ud800"}', "line 1: needs texts"),
        ("a.jsonl", '{"question": "Who?", "context": " "}', "question 1: the context is empty"),
        ("a.jsonl", "no", "line 1: not JSON"),
        ("a.tsv", "Who?", "line 1: need a question, a tab and a context"),
        ("a.tsv", b"\xff", "not UTF-8"),
        ("a.csv", "Who?,Ada", "questions are read from .json (SQuAD), .jsonl or .tsv"),
        ("missing/a.tsv", None, "cannot be read"),
    ],
)
def test_a_bad_file_of_questions_says_where_what_and_what_to_do(tmp_path, name, text, said):
    path = tmp_path / name if text is None else write(tmp_path, name, text)
    assert said in problems(read_questions, path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "Ada  wrote .\n\nIn London\n"),
        ("a", "Ada wrote .\r\nIn London"),
        ("a.conll", "Ada B-PER\nwrote O\n. O\n\nIn O\nLondon B-LOC\n"),
        ("a.tsv", "Ada\nwrote\n.\n\nIn\nLondon\n"),
        (
            "a.conllu",
            "# text = Ada wrote .\n"
            + "\n".join(f"{at}\t{word}" + "\t_" * 8 for at, word in enumerate(["Ada", "wrote", "."], 1))
            + "\n\n"
            + "\n".join(f"{at}\t{word}" + "\t_" * 8 for at, word in enumerate(["In", "London"], 1)),
        ),
    ],
)
def test_sentences_are_read_from_lines_and_from_columns(tmp_path, name, text):
    assert read_sentences(write(tmp_path, name, text)) == [("Ada", "wrote", "."), ("In", "London")]


@pytest.mark.parametrize(("name", "text"), [("a.txt", " \n"), ("a.conll", ""), ("a.txt", b"\xff"), ("a.tsv", b"\xff")])
def test_a_bad_file_of_sentences_is_named(tmp_path, name, text):
    problems(read_sentences, write(tmp_path, name, text))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=1000)
@given(
    name=st.sampled_from(["a.json", "a.jsonl", "a.tsv", "a.txt", "a.conll"]),
    content=st.binary() | st.text(alphabet='{}[]":,\t\n abO1#-').map(str.encode),
)
def test_whatever_bytes_a_file_holds_it_is_read_or_refused(tmp_path, name, content):
    path = write(tmp_path, name, content)
    for read in (read_questions, read_sentences):
        try:
            assert read(path)
        except DataError as error:
            assert error.problems
