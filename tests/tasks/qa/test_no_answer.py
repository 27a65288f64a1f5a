"""Questions that may have no answer: from files to scores, thresholds and predictions."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from support.inline_sweep import run_inline
from support.tiny_sweeps import point, sweep

from raykd.data import smallworld
from raykd.data.examples import Answer, QAExample
from raykd.predict import Predictor, evaluate
from raykd.results.journal import Journal
from raykd.tasks.qa.answers import null_margins, score_predictions, spans_of
from raykd.tasks.qa.config import QaScored
from raykd.tasks.qa.learning import QaLearning
from raykd.tasks.qa.no_answer import Choice, best_threshold
from raykd.tasks.qa.scoring import QuestionScore
from raykd.tasks.qa.sets import DevSet, dev_set

SOURCE = {"source": {"path": "x.json"}, "languages": ["en"]}


def right(margin: float, *, has_answer: bool = True, f1: float = 100.0) -> Choice:
    return Choice(margin, QuestionScore(f1, f1, has_answer))


def wrong(margin: float) -> Choice:
    """A question without an answer, to which one was given."""
    return right(margin, has_answer=False, f1=0.0)


def test_the_threshold_lies_between_those_who_should_be_answered_and_the_others():
    assert best_threshold([[right(-3.0), right(-1.0), wrong(1.0), wrong(4.0)]]) == 0.0
    assert best_threshold([[right(-3.0), wrong(-1.0)]]) == -2.0
    # All are answered, or none is.
    assert best_threshold([[right(2.0), right(5.0)]]) == 6.0
    assert best_threshold([[wrong(2.0), wrong(5.0)]]) == 1.0
    # Who has no span is out of it.
    assert best_threshold([[right(math.inf), wrong(math.inf)]]) == 0.0


def test_equal_margins_are_answered_together():
    # Answering both of the two gains nothing; answering one of them cannot be had.
    assert best_threshold([[right(1.0), wrong(1.0), right(-1.0), wrong(3.0)]]) == 0.0


def test_cells_weigh_the_same_in_the_choice_of_a_threshold():
    large, small = [wrong(-1.0)] * 3 + [wrong(0.0)], [right(-1.0)]
    assert best_threshold([large, small]) == -0.5  # a gain of 1 against 3/4; by questions it would be 1 against 3


@pytest.fixture
def scored(wordpiece):
    """A question with an answer in the second of two windows, and one without."""
    context = " ".join("abcdefghijklmnopqrstuvwx")
    examples = [
        QAExample("q1", "what", context, (Answer("t u", 38),), "en", "en"),
        QAExample("q2", "what", "x y z", (), "en", "en"),
    ]
    return dev_set({("en", "en"): examples}, wordpiece, max_length=16, stride=0, max_question_length=8)


def logits(scored, *, nulls: list[float], best: list[tuple[int, float]]) -> tuple[SimpleNamespace, dict]:
    batch = scored.features.collate(np.arange(len(scored.features)))
    start = torch.full(batch["input_ids"].shape, -9.0)
    end = start.clone()
    for row, (null, (at, value)) in enumerate(zip(nulls, best, strict=True)):
        start[row, 0], end[row, 0] = null, 0.0
        start[row, at], end[row, at] = value, 0.0
    return SimpleNamespace(start_logits=start, end_logits=end), batch


def test_the_window_that_is_least_sure_that_there_is_none_counts(scored):
    outputs, batch = logits(scored, nulls=[8.0, 1.0, 3.0], best=[(4, -2.0), (11, 4.0), (4, 2.0)])
    predictions = spans_of(outputs, batch, np.arange(3), max_answer_tokens=5, unanswerable=True)
    assert null_margins(scored.features, predictions) == {0: 1.0 - 4.0, 1: 3.0 - 2.0}
    assert [each[:4] for each in predictions] == spans_of(outputs, batch, np.arange(3), max_answer_tokens=5)


def test_the_selection_set_chooses_a_threshold_and_a_test_set_takes_it(scored):
    section = QaScored(**SOURCE, unanswerable=True)
    outputs, batch = logits(scored, nulls=[8.0, 1.0, 3.0], best=[(4, -2.0), (11, 4.0), (4, 2.0)])
    learning = QaLearning()
    chosen = learning.score(learning.predict(outputs, batch, np.arange(3), section), scored, section).scores
    assert chosen.chosen == {"null_threshold": -1.0}
    cell = chosen.cells["en-en"]
    # `u` in place of `t u`: precision 1, recall 1/2.
    assert (cell["has_answer_f1"], cell["no_answer_f1"], cell["f1"]) == pytest.approx((200 / 3, 100.0, 250 / 3))
    assert (cell["num_with_answer"], cell["num_without_answer"], cell["num_questions"]) == (1, 1, 2)
    # On a set with other margins the threshold would be another one; it is not asked.
    other, batch = logits(scored, nulls=[8.0, 6.0, 3.0], best=[(4, -2.0), (11, 4.0), (4, 2.0)])
    settled = learning.settled(section, chosen)
    found = learning.score(learning.predict(other, batch, np.arange(3), settled), scored, settled).scores
    assert found.chosen == {"null_threshold": -1.0}
    assert (found.cells["en-en"]["has_answer_f1"], found.cells["en-en"]["no_answer_f1"]) == (0.0, 100.0)
    assert learning.settled(QaScored(**SOURCE), chosen) == QaScored(**SOURCE)
    own = QaScored(**SOURCE, unanswerable=True, null_threshold=2.0)
    assert learning.settled(own, chosen) == own


def test_without_the_option_scores_are_as_they_were(scored):
    outputs, batch = logits(scored, nulls=[8.0, 1.0, 3.0], best=[(4, -2.0), (11, 4.0), (4, 2.0)])
    only = DevSet({("en", "en"): [0]}, scored.examples, scored.features)
    section = QaScored(**SOURCE)
    predictions = spans_of(outputs, batch, np.arange(3), max_answer_tokens=30)[:2]
    found = score_predictions(predictions, only, section).scores
    assert found.chosen == {} and not any("answer" in name for name in [*found.columns, *found.cells["en-en"]])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"selection": {"null_threshold": 1.0}}, "null_threshold needs unanswerable: true"),
        (
            {"tests": {"two": {**SOURCE, "unanswerable": True}}},
            "tests.two.unanswerable: the selection set has no thresh",
        ),
    ],
)
def test_a_threshold_that_comes_from_nowhere_is_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        point(**changes)


def test_a_base_score_on_a_test_set_depends_on_the_set_that_chose_its_threshold():
    tests = {"tests": {"two": {**SOURCE, "unanswerable": True}}}
    one, other = (point(**tests, selection={"unanswerable": True, "seed": seed}) for seed in (0, 1))
    assert one.test_scores("two") != other.test_scores("two")
    plain = [point(tests={"two": SOURCE}, selection={"seed": seed}).test_scores("two") for seed in (0, 1)]
    assert plain[0] == plain[1]


def squad_2_files(folder: Path) -> None:
    """Parallel questions in two languages, every third of them about another text."""
    for split, count in (("train", 12), ("dev", 12)):
        items = list(smallworld.parallel_items(split, count, languages=("en", "es")).values())
        for language in ("en", "es"):
            paragraphs = []
            for number, item in enumerate(items):
                example = item[language]
                gold = [{"text": each.text, "answer_start": each.start} for each in example.answers]
                qa = {"id": example.id, "question": example.question, "answers": gold, "is_impossible": False}
                if number % 3 == 0:
                    qa |= {"answers": [], "is_impossible": True}
                paragraphs.append({"context": example.context, "qas": [qa]})
            content = {"version": "v2.0", "data": [{"title": "t", "paragraphs": paragraphs}]}
            (folder / f"{split}.{language}.json").write_text(json.dumps(content), encoding="utf-8")


def test_a_lineage_carries_its_threshold_to_test_sets_predictions_and_evaluations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    squad_2_files(tmp_path)
    scored = {
        "source": {"path": str(tmp_path / "dev.{language}.json")},
        "languages": ["en", "es"],
        "unanswerable": True,
    }
    keys = sweep(
        data={
            "train": {"path": str(tmp_path / "train.{language}.json")},
            "languages": ["en", "es"],
            "no_answer": "cls",
        },
        selection={**scored, "source": {"path": scored["source"]["path"], "share": [0, 0.5]}, "max_items": None},
        tests={"rest": {**scored, "source": {"path": scored["source"]["path"], "share": [0.5, 1.0]}}},
    )
    keys["selection"]["source"].pop("builtin", None)
    keys["selection"]["source"].pop("num_items", None)
    keys["data"]["train"] = {"path": str(tmp_path / "train.{language}.json")}
    run_inline(keys, tmp_path / "runs")
    journal = Journal.at(tmp_path / "runs")
    (name,) = journal.points.ids()
    result, tested = journal.points.result(name), journal.tests.of(name)["rest"]
    threshold = result.scores.chosen["null_threshold"]
    assert tested.scores.chosen == {"null_threshold": threshold}
    assert {"has_answer_f1", "no_answer_f1"} <= result.scores.cells["en-es"].keys() | tested.scores.cells[
        "en-es"
    ].keys()
    (base,) = journal.sweep.base_scores()
    (base_test,) = journal.tests.of_bases()
    assert base_test.scores.chosen == base.final.chosen != {}

    model = str(tmp_path / "runs/artifacts" / result.artifact)
    predictor = Predictor.load(model)
    assert (predictor.reading.unanswerable, predictor.reading.null_threshold) == (True, threshold)
    data = str(tmp_path / "dev.{language}.json")
    lines: list[str] = []
    found = evaluate(model, data=data, languages=("en", "es"), n_best=5, say=lines.append)
    assert found.scores.chosen == {"null_threshold": threshold} and f"{threshold:g}" in lines[0]
    said = predictor.answers([(row["question"], context_of(row)) for row in found.rows], n_best=5)
    assert [answers[0].text for answers in said] == [row["answers"][0]["text"] for row in found.rows]
    answers = [found.answers[f"{row['question_language']}-{row['context_language']}"][row["id"]] for row in found.rows]
    assert answers == [row["answers"][0]["text"] for row in found.rows]
    for extreme, given in ((-99.0, 0), (99.0, len(answers))):
        forced = evaluate(model, data=data, languages=("en", "es"), null_threshold=extreme)
        assert sum(bool(text) for cell in forced.answers.values() for text in cell.values()) == given


def context_of(row: dict) -> str:
    items = smallworld.parallel_items("dev", 12, languages=("en", "es"))
    return items[row["id"]][row["context_language"]].context
