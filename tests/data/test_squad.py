import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.data.examples import Answer, QAExample
from raykd.data.sources import SourceRef
from raykd.data.squad import from_hub_rows, read_cells, read_flat, read_parallel, read_squad
from raykd.errors import DataError

MLQA = SourceRef(path="mlqa/dev-context-{context}-question-{question}.json")
XQUAD = SourceRef(path="xquad/xquad.{language}.json")
CONTEXT = "the cat sat on the mat"
UNLABELLED = (
    "none of {} questions has an answer: published without labels, it can neither be trained nor scored on; "
    "`raykd predict MODEL FILE` answers it"
)
NO_ANSWER = (
    "id b: no answer; every question needs one, unless data.no_answer: cls (training) or unanswerable: true "
    "(selection, tests) says otherwise"
)


def qa(qid="a", text="cat", start=4, question="who?"):
    return {"id": qid, "question": question, "answers": [{"text": text, "answer_start": start}]}


def document(*qas, context=CONTEXT):
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(qas)}]}]}


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(path):
    return read_squad(path, question_language="de", context_language="en")


def problems_of(path):
    with pytest.raises(DataError) as caught:
        read(path)
    assert all(line.startswith(f"{path}: ") for line in caught.value.problems if not line.startswith("and "))
    return [line.removeprefix(f"{path}: ") for line in caught.value.problems]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "file.json"


@pytest.fixture
def nothing_elsewhere(tmp_path, monkeypatch):
    """Files that are not in `tmp_path` are nowhere."""
    monkeypatch.delenv("RAYKD_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def test_a_question_is_read_with_all_its_answers(file):
    write(file, document({**qa(), "answers": [*qa()["answers"], {"text": "the", "answer_start": 15}], "src": "x"}))
    assert read(file) == [QAExample("a", "who?", CONTEXT, (Answer("cat", 4), Answer("the", 15)), "de", "en")]


def test_offsets_count_characters_and_not_bytes_or_utf_16_units(file):
    write(file, document(qa(text="猫", start=2), context="𝄞 猫"))
    assert read(file)[0].answers == (Answer("猫", 2),)


def test_a_byte_order_mark_is_no_error(file):
    write(file, "\ufeff" + json.dumps(document(qa())))
    assert len(read(file)) == 1


def test_broken_json_is_named_with_line_and_column(file):
    write(file, '{"data": [\n  {"paragraphs" []}]}')
    assert problems_of(file) == ["line 2, column 17: not JSON: Expecting ':' delimiter"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b'{"data": ' + b"[" * 100_000, b"9" * 10_000])
def test_what_cannot_be_decoded_is_a_data_error(file, content):
    file.write_bytes(content)
    assert len(problems_of(file)) == 1


def test_a_file_that_is_not_there_is_a_data_error(file):
    assert problems_of(file)[0].startswith("cannot be read")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([], "expected an object, got []"),
        ({}, "data: missing"),
        ({"data": {}}, "data: expected a list, got {}"),
        ({"data": []}, "no questions"),
        ({"data": [{"title": "t"}]}, "data[0].paragraphs: missing"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, "data[0].paragraphs[0].context: missing"),
        ({"data": [{"paragraphs": [{"context": "c"}]}]}, "data[0].paragraphs[0].qas: missing"),
        (document("a"), "data[0].paragraphs[0].qas[0]: expected an object, got 'a'"),
        (document({**qa(), "id": 7}), "data[0].paragraphs[0].qas[0].id: expected a string, got 7"),
        (document({"id": "a", "answers": qa()["answers"]}), "id a.question: missing"),
        (document({"id": "a", "question": "?"}), UNLABELLED.format(1)),
        (document(qa(start="4")), "id a.answers[0].answer_start: expected a whole number, got '4'"),
        (document(qa(start=True)), "id a.answers[0].answer_start: expected a whole number, got True"),
        (document({**qa(), "answers": []}), UNLABELLED.format(1)),
        (document(*[{"id": each, "question": "?", "answers": []} for each in "abc"]), UNLABELLED.format(3)),
        (document(qa(), {"id": "b", "question": "?"}), NO_ANSWER),
        (document(qa(), {"id": "b", "question": "?", "answers": [], "is_impossible": True}), NO_ANSWER),
        (document(qa(text="", start=0)), "id a.answers[0]: the answer is empty"),
        (document(qa(text=" ", start=3)), "id a.answers[0]: the answer is empty"),
        (document(qa(question="\ud800")), "id a.question: holds half a surrogate pair: '\\ud800'"),
        (
            document(qa(), qa()),
            "data[0].paragraphs[0].qas[1]: id a occurs twice with the same question and context; remove one of them",
        ),
        (document(qa(start=5)), "id a: answer 'cat' is not at offset 5 ('at '); it is at 4"),
        (document(qa(text="the", start=1)), "id a: answer 'the' is not at offset 1 ('he '); it is at 0, 15"),
        (
            document(qa(text="dog", start=4)),
            "id a: answer 'dog' is not at offset 4 ('cat'); the context does not contain it",
        ),
        (
            document(qa(text="mat", start=-3)),
            "id a: answer 'mat' is not at offset -3 (outside the context); it is at 19",
        ),
        (
            document(qa(text="mat", start=99)),
            "id a: answer 'mat' is not at offset 99 (outside the context); it is at 19",
        ),
    ],
)
def test_a_damaged_file_is_explained(file, content, problem):
    assert problems_of(write(file, content)) == [problem]


def impossible(qid="b", **others):
    return {"id": qid, "question": "why?", "answers": [], "is_impossible": True, **others}


def test_questions_without_an_answer_are_read_where_they_are_wanted(file):
    def read_some(*qas):
        path = write(file, document(*qas))
        return read_squad(path, question_language="en", context_language="en", answers="some")

    plausible = {"plausible_answers": [{"text": "mat", "answer_start": 19}]}
    found = read_some(qa(), impossible(), impossible("c", **plausible), {"id": "d", "question": "?", "answers": []})
    assert [len(each.answers) for each in found] == [1, 0, 0, 0]
    assert [len(each.answers) for each in read_some(impossible())] == [0]
    with pytest.raises(DataError, match="is_impossible, and there are answers"):
        read_some(impossible(answers=qa()["answers"]))
    with pytest.raises(DataError, match="none of 1 questions has an answer: published without labels"):
        read_some({"id": "a", "question": "?", "answers": []})


def test_an_id_that_names_different_questions_names_each_of_them(file):
    other = {"title": "u", "paragraphs": [{"context": "a cat", "qas": [qa(start=2), qa(start=2, question="where?")]}]}
    content = document(qa(), qa("b"))
    content["data"].append(other)
    found = read(write(file, content))
    assert [(each.id, each.question, each.context) for each in found] == [
        ("a", "who?", CONTEXT),
        ("b", "who?", CONTEXT),
        ("a#2", "who?", "a cat"),
        ("a#3", "where?", "a cat"),
    ]
    content["data"].append(other)
    lines = problems_of(write(file, content))
    assert lines == [
        f"data[2].paragraphs[0].qas[{number}]: id a occurs twice with the same question and context; remove one of them"
        for number in range(2)
    ]


def test_repeated_ids_of_parallel_files_stay_parallel(tmp_path):
    for language in ("en", "de"):
        content = document(qa(start=3), context=f"{language} cat")
        content["data"] += document(qa(start=8), context=f"another {language} cat".replace("another ", "other "))[
            "data"
        ]
        content["data"][1]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 9
        write(tmp_path / f"xquad/xquad.{language}.json", content)
    items = read_parallel(XQUAD, languages=["en", "de"], folder=tmp_path)
    assert {name: [each.context for each in item.values()] for name, item in items.items()} == {
        "a": ["en cat", "de cat"],
        "a#2": ["other en cat", "other de cat"],
    }


def test_all_problems_come_at_once_but_no_more_than_ten_lines(file):
    write(file, document(*[qa(qid=str(number), start=5) for number in range(13)]))
    problems = problems_of(file)
    assert [line.split(":")[0] for line in problems[:-1]] == [f"id {number}" for number in range(10)]
    assert problems[-1] == "and 3 more"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 30) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "paragraphs", "context", "qas", "id", "question", "answers", "text", "answer_start"]
            ),
            inner,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_wild_json_is_read_or_refused_with_a_data_error(tmp_path_factory, value):
    wild = [value, document(value), document({**qa(), "answers": value}), document(qa(text=value)), {"data": [value]}]
    for content in wild:
        try:
            examples = read(write(tmp_path_factory.getbasetemp() / "wild.json", content))
        except DataError as error:
            assert error.problems
        else:
            assert all(e.answers and e.context.startswith(a.text, a.start) for e in examples for a in e.answers)


@given(st.text(min_size=1), st.data())
def test_every_span_of_any_context_survives_the_file(tmp_path_factory, context, data):
    start = data.draw(st.integers(0, len(context) - 1))
    text = context[start : data.draw(st.integers(start + 1, len(context)))]
    path = write(tmp_path_factory.getbasetemp() / "span.json", document(qa(text=text, start=start), context=context))
    if text.strip():
        assert read(path)[0].answers == (Answer(text, start),)
    else:
        assert problems_of(path) == ["id a.answers[0]: the answer is empty"]


def rows_of(*rows):
    return from_hub_rows(rows, question_language="de", context_language="en", source="hub x")


ROW = {"id": "a", "question": "who?", "context": CONTEXT, "answers": {"text": ["cat"], "answer_start": [4]}}


def test_hub_rows_give_the_same_examples_as_the_file(file):
    assert rows_of(ROW) == read(write(file, document(qa())))


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({**ROW, "answers": {"text": ["cat"], "answer_start": [5]}}, "hub x: id a: answer 'cat' is not at offset 5"),
        ({**ROW, "answers": {"text": ["cat"], "answer_start": []}}, "hub x: row 0: 1 answer texts, 0 offsets"),
        ({**ROW, "answers": {"text": ["cat"]}}, "hub x: row 0.answers.answer_start: missing"),
        ({**ROW, "answers": {"text": [], "answer_start": []}}, f"hub x: {UNLABELLED.format(1)}"),
        ({"id": "a"}, "hub x: row 0: lacks question, context, answers"),
        ({key: value for key, value in ROW.items() if key != "context"}, "hub x: row 0: lacks context"),
    ],
)
def test_a_damaged_row_is_explained(row, problem):
    with pytest.raises(DataError) as caught:
        rows_of(row)
    assert caught.value.problems[0].startswith(problem)


def parallel(folder, **ids_by_language):
    for language, ids in ids_by_language.items():
        context = f"{language} cat"
        write(
            folder / f"xquad/xquad.{language}.json",
            document(*[qa(qid, start=3, question=f"{language} {qid}") for qid in ids], context=context),
        )


def test_parallel_items_hold_every_language(tmp_path):
    parallel(tmp_path, en="ab", de="ba")
    items = read_parallel(XQUAD, languages=["en", "de"], folder=tmp_path)
    assert list(items) == ["a", "b"] and list(items["a"]) == ["en", "de"]
    assert items["b"]["de"] == QAExample("b", "de b", "de cat", (Answer("cat", 3),), "de", "de")


def test_missing_parallel_ids_are_named_for_each_language(tmp_path):
    parallel(tmp_path, en="abcdef", de="abz")
    with pytest.raises(DataError) as caught:
        read_parallel(XQUAD, languages=["en", "de"], folder=tmp_path)
    assert caught.value.problems == (
        "xquad/xquad.en.json: language en lacks 1 of 7 parallel ids: z",
        "xquad/xquad.de.json: language de lacks 4 of 7 parallel ids: c, d, e, ...",
    )


def test_missing_languages_and_damaged_files_are_named_together(tmp_path, nothing_elsewhere):
    parallel(tmp_path, en="a")
    write(tmp_path / "xquad/xquad.de.json", "{")
    with pytest.raises(DataError) as caught:
        read_parallel(XQUAD, languages=["en", "de", "es", "vi"], folder=tmp_path)
    damaged, *missing = caught.value.problems
    assert "xquad.de.json: line 1, column 2" in damaged
    assert missing[0].startswith("xquad/xquad.es.json: not found; tried ")
    assert missing[1] == "not found in the same places: xquad/xquad.vi.json"


def test_parallel_data_needs_a_language_in_its_name(tmp_path):
    with pytest.raises(DataError, match=r"x\.json: parallel data needs \{language\}"):
        read_parallel(SourceRef(path="x.json"), languages=["en"], folder=tmp_path)


def test_cells_of_parallel_data_ask_in_one_language_and_answer_in_the_other(tmp_path):
    parallel(tmp_path, en="ab", de="ab")
    cells = read_cells(XQUAD, question_languages=["en", "de"], context_languages=["de"], folder=tmp_path)
    assert list(cells) == [("en", "de"), ("de", "de")]
    assert cells["en", "de"][0] == QAExample("a", "en a", "de cat", (Answer("cat", 3),), "en", "de")


def test_cells_with_a_file_each_take_the_languages_from_the_name(tmp_path):
    write(tmp_path / "mlqa/dev-context-en-question-de.json", document(qa()))
    cells = read_cells(MLQA, question_languages=["de"], context_languages=["en"], folder=tmp_path)
    assert cells == {("de", "en"): [QAExample("a", "who?", CONTEXT, (Answer("cat", 4),), "de", "en")]}


def test_missing_cells_are_named_together(tmp_path, nothing_elsewhere):
    with pytest.raises(DataError) as caught:
        read_cells(MLQA, question_languages=["en", "de"], context_languages=["en", "de"], folder=tmp_path)
    first, others = caught.value.problems
    assert first.startswith("mlqa/dev-context-en-question-en.json: not found; tried ")
    assert others.startswith("not found in the same places: ")
    assert others.count(".json") == 3


def test_a_sample_of_cells_takes_the_same_items_and_smaller_ones_are_inside(tmp_path):
    ids = [f"q{number}" for number in range(40)]
    parallel(tmp_path, en=ids, de=ids[::-1])

    def sample(**kwargs):
        cells = read_cells(
            XQUAD, question_languages=["en", "de"], context_languages=["en", "de"], folder=tmp_path, **kwargs
        )
        return [{example.id for example in cell} for cell in cells.values()]

    ten = sample(max_items=10, seed=1)
    assert len(ten[0]) == 10 and all(cell == ten[0] for cell in ten)
    assert sample(max_items=5, seed=1)[0] < ten[0] != sample(max_items=10, seed=2)[0]
    assert sample(max_items=99) == sample() == [set(ids)] * 4


def test_flat_data_is_read_in_file_order(tmp_path):
    ids = [f"q{number}" for number in range(40)]
    parallel(tmp_path, en=ids)
    everything = read_flat(XQUAD, language="en", folder=tmp_path)
    some = read_flat(XQUAD, language="en", folder=tmp_path, max_items=10, seed=1)
    assert [example.id for example in everything] == ids
    assert len(some) == 10 and some == [example for example in everything if example in some]


def test_every_published_file_is_read_without_a_complaint(real_data):
    sizes = {}
    for path in sorted(real_data.glob("xquad/*.json")) + sorted(real_data.glob("squad/*.json")):
        sizes[path.name] = len(read(path))
    assert sizes.pop("train-v1.1.subset.json") == 8149 and sizes.pop("dev-v1.1.minus_xquad.json") == 9380
    assert len(sizes) == 12 and set(sizes.values()) == {1190}


def test_the_49_cells_of_mlqa_have_their_published_sizes(real_data):
    languages = ["en", "es", "de", "ar", "vi", "hi", "zh"]
    cells = read_cells(MLQA, question_languages=languages, context_languages=languages, folder=real_data)
    sizes = [len(cells[language, language]) for language in languages]
    assert len(cells) == 49 and sizes == [1148, 500, 512, 517, 511, 507, 504]
