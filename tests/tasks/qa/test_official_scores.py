"""Scores are those of the published evaluations: on published data, and on any text."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import official_scores as official

from raykd.data.examples import Answer, QAExample
from raykd.data.squad import read_squad
from raykd.tasks.qa.answers import choices_of, score_answers, scores_of
from raykd.tasks.qa.no_answer import best_threshold, settled

EXACT = {"abs": 1e-9, "rel": 0}
XQUAD = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")
MLQA = ("en", "es", "de", "ar", "hi", "vi", "zh")
SPICE = (
    "The ",
    " — «",
    "¿",
    "।",
    "$",
    "٪",
    "ال",
    " the",
    "北京",
    "\u00a0",
    "'s",
    "的",
    "DER ",
    "những ",
    "\u200d",
    "!",
)


def prediction(context: str, gold: str, draw: random.Random) -> str:
    """A wrong, half right, decorated or empty answer."""
    start = draw.randrange(len(context))
    words = gold.split()
    return draw.choice(
        [
            gold,
            context[start : start + draw.randrange(1, 60)],
            " ".join(words[: draw.randint(0, len(words))]) + draw.choice(SPICE),
            draw.choice(SPICE) + gold.upper() + draw.choice(SPICE),
            gold + " " + gold,
            "",
        ]
    )


def made_up(document: dict, seed: str) -> dict[str, str]:
    draw, found = random.Random(seed), {}
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for qa in paragraph["qas"]:
                gold = qa["answers"][0]["text"] if qa["answers"] else "the"
                found[qa["id"]] = prediction(paragraph["context"], gold, draw)
    return found


def ours(path: Path, predictions: dict[str, str], *, language: str, normalization: str) -> dict[str, float]:
    examples = read_squad(path, question_language="en", context_language=language)
    cells = {("en", language): list(range(len(examples)))}
    answers = {number: predictions[example.id] for number, example in enumerate(examples)}
    (cell,) = scores_of(score_answers(cells, answers, examples, normalization=normalization)).cells.values()
    return {metric: cell[metric] for metric in ("exact_match", "f1")}


def published(real_data: Path, name: str) -> tuple[Path, dict]:
    path = real_data / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path, json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", XQUAD)
def test_xquad_is_scored_as_by_the_squad_1_evaluation(real_data, language):
    path, document = published(real_data, f"xquad/xquad.{language}.json")
    predictions = made_up(document, language)
    found = ours(path, predictions, language=language, normalization="squad")
    assert found == pytest.approx(official.squad_1(document, predictions), **EXACT)
    assert 10 < found["exact_match"] < found["f1"] < 90


@pytest.mark.parametrize("language", MLQA)
def test_mlqa_is_scored_as_by_its_evaluation_in_the_language_of_the_context(real_data, language):
    asked = MLQA[(MLQA.index(language) + 3) % len(MLQA)]
    path, document = published(real_data, f"mlqa/dev-context-{language}-question-{asked}.json")
    predictions = made_up(document, language)
    found = ours(path, predictions, language=language, normalization="mlqa")
    assert found == pytest.approx(official.mlqa(document, predictions, language), **EXACT)
    assert 10 < found["exact_match"] < found["f1"] < 90


ALPHABETS = st.sampled_from(
    ["aehnt ,.'-", "derinms Ä«»", "unalos ¿ñ", "الكتب ،؟", "làcủanhữgiế ", "北京是AB1 《》", "हिन्दी। ", "กรุงเทพ ๑"]
)
TEXTS = st.text(max_size=25) | ALPHABETS.flatmap(lambda letters: st.text(alphabet=letters, max_size=25))


def document_of(answers: dict[str, list[str]]) -> dict:
    """A file whose contexts are of no interest."""
    qas = [
        {"id": name, "question": "?", "answers": [{"text": text, "answer_start": 0} for text in texts]}
        for name, texts in answers.items()
    ]
    return {"data": [{"paragraphs": [{"context": "", "qas": qas}]}]}


def examples_of(answers: dict[str, list[str]], language: str) -> list:
    return [
        QAExample(name, "?", "", tuple(Answer(text, 0) for text in texts), language, language)
        for name, texts in answers.items()
    ]


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3), st.sampled_from(MLQA), st.booleans())
def test_any_text_is_scored_as_by_the_evaluations(said, golds, language, by_mlqa):
    document, examples = document_of({"q": golds}), examples_of({"q": golds}, language)
    normalization = "mlqa" if by_mlqa else "squad"
    questions = score_answers({(language, language): [0]}, {0: said}, examples, normalization=normalization)
    found = questions[language, language]["q"]
    expected = official.mlqa(document, {"q": said}, language) if by_mlqa else official.squad_1(document, {"q": said})
    assert {"exact_match": found.exact_match, "f1": found.f1} == pytest.approx(expected, **EXACT)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abcdefgh"),
        st.tuples(st.lists(TEXTS, max_size=2), TEXTS, st.integers(-4, 4)),
        min_size=1,
    ),
    st.floats(-5, 5),
)
def test_questions_without_an_answer_are_scored_as_by_the_squad_2_evaluation(made, threshold):
    answers = {name: golds for name, (golds, _, _) in made.items()}
    predictions = {name: said for name, (_, said, _) in made.items()}
    margins = {name: float(margin) for name, (_, _, margin) in made.items()}
    document, examples = document_of(answers), examples_of(answers, "en")
    numbered, raw = list(range(len(examples))), official.squad_2_raw(document, predictions)
    choices = choices_of(
        {("en", "en"): numbered},
        {number: predictions[example.id] for number, example in enumerate(examples)},
        {number: margins[example.id] for number, example in enumerate(examples)},
        examples,
        normalization="squad",
    )["en", "en"]
    for at in (threshold, float(round(threshold))):
        scores = scores_of({("en", "en"): settled(choices, at)}, threshold=at)
        cell, expected = scores.cells["en-en"], official.squad_2(raw, margins, at)
        names = {"exact": "exact_match", "f1": "f1", "HasAns_exact": "has_answer_exact_match"}
        names |= {"HasAns_f1": "has_answer_f1", "NoAns_exact": "no_answer_exact_match", "NoAns_f1": "no_answer_f1"}
        assert {name: cell[names[name]] for name in expected} == pytest.approx(expected, **EXACT)
        assert [names[name] in cell for name in names] == [name in expected for name in names]
        assert scores.chosen == {"null_threshold": at}
    best = best_threshold([list(choices.values())])
    reached = official.squad_2(raw, margins, best)["f1"]
    assert reached == pytest.approx(official.squad_2_best_f1(raw, margins), **EXACT)


def test_a_published_file_with_some_answers_taken_out_is_scored_as_by_the_squad_2_evaluation(real_data, tmp_path):
    _, document = published(real_data, "xquad/xquad.en.json")
    draw = random.Random(2)
    for qa in official.questions(document):
        if draw.random() < 0.4:
            qa |= {"answers": [], "is_impossible": True}
    path = tmp_path / "squad2.json"
    path.write_text(json.dumps(document))
    examples = read_squad(path, question_language="en", context_language="en", answers="some")
    predictions = made_up(document, "two")
    # Better than chance, with ties.
    margins = {each.id: round(draw.gauss(-1 if each.answers else 1, 2), 1) for each in examples}
    choices = choices_of(
        {("en", "en"): range(len(examples))},
        {number: predictions[each.id] for number, each in enumerate(examples)},
        {number: margins[each.id] for number, each in enumerate(examples)},
        examples,
        normalization="squad",
    )
    threshold = best_threshold([list(cell.values()) for cell in choices.values()])
    scores = scores_of({cell: settled(each, threshold) for cell, each in choices.items()}, threshold=threshold)
    raw = official.squad_2_raw(document, predictions)
    expected = official.squad_2(raw, margins, threshold)
    assert scores.values["gxlt_f1"] == pytest.approx(expected["f1"], **EXACT)
    assert scores.values["has_answer_f1"] == pytest.approx(expected["HasAns_f1"], **EXACT)
    assert scores.values["no_answer_f1"] == pytest.approx(expected["NoAns_f1"], **EXACT)
    assert expected["f1"] == pytest.approx(official.squad_2_best_f1(raw, margins), **EXACT)
    assert expected["f1"] > max(official.squad_2(raw, margins, each)["f1"] for each in (-99, 99))
