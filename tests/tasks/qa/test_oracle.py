"""What the best of the first answers would reach."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.data.examples import Answer, QAExample
from raykd.tasks.qa.answers import score_predictions, spans_of
from raykd.tasks.qa.config import QaScored
from raykd.tasks.qa.decode import best_spans, top_k_spans
from raykd.tasks.qa.learning import QaLearning
from raykd.tasks.qa.oracle import oracle_scores
from raykd.tasks.qa.sets import dev_set


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 8), st.integers(1, 4), st.integers(1, 40))
def test_the_scores_of_the_k_best_are_those_of_a_sorted_list(data, length, most, k):
    logits = st.lists(st.integers(-3, 3), min_size=length, max_size=length)
    start, end = (torch.tensor(data.draw(logits)).float() for _ in range(2))
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=length, max_size=length)))
    expected = best_spans(
        start, end, offsets=torch.zeros(length, 2), context_mask=mask, n_best=k, max_answer_tokens=most
    )
    options = {"context_mask": mask[None], "k": k, "max_answer_tokens": most}
    found = [part[0].tolist() for part in top_k_spans(start[None], end[None], **options)]
    kept = [each for each in zip(*found, strict=True) if each[0] > -torch.inf]
    assert [score for score, _, _ in kept] == [span.score for span in expected]
    assert all(score == start[first] + end[last] and 0 <= last - first < most for score, first, last in kept)
    assert len({each[1:] for each in kept}) == len(kept)


@pytest.fixture
def scored(wordpiece):
    """An English question about a text of two windows, the same in German, and one without an answer."""
    context = " ".join("abcdefghijklmnopqrstuvwx")
    answer = (Answer("t u", 38),)
    cells = {
        ("en", "en"): [
            QAExample("q1", "what", context, answer, "en", "en"),
            QAExample("q2", "?", "x y", (), "en", "en"),
        ],
        ("de", "en"): [QAExample("q1", "what", context, answer, "de", "en")],
    }
    return dev_set(cells, wordpiece, max_length=16, stride=0, max_question_length=8)


def test_the_oracle_takes_the_best_of_different_answers_over_all_windows(scored):
    # Windows 0 and 1 are of the English question, 2 of that without an answer, 3 and 4 of the German one. A window's
    # context begins at token 3, so 11 of the second one is `u` and 10 is `t`.
    spans = [(0, 5.0, 3, 3), (0, 4.0, 3, 3), (1, 4.5, 11, 11), (1, 1.0, 10, 11), (2, 9.0, 3, 3), (4, 1.0, 10, 11)]
    found = oracle_scores(spans, scored, k=3, normalization="squad")
    # First `a` (an article, which is nothing), then `u`, half of `t u`, then all of it.
    assert found == {
        "en": {"top_1": 0.0, "top_2": pytest.approx(200 / 3), "top_3": 100.0},
        "de": {"top_1": 100.0, "top_2": 100.0, "top_3": 100.0},
    }
    assert oracle_scores([], scored, k=1, normalization="squad") == {"en": {"top_1": 0.0}, "de": {"top_1": 0.0}}


@pytest.mark.parametrize("unanswerable", [False, True])
def test_the_oracle_changes_no_score(scored, unanswerable):
    cells = {("de", "en"): scored.cells["de", "en"]} if not unanswerable else scored.cells
    scored = type(scored)(cells, scored.examples, scored.features)
    torch.manual_seed(4)
    batch = scored.features.collate(np.arange(len(scored.features)))
    outputs = SimpleNamespace(
        start_logits=torch.randn(batch["input_ids"].shape), end_logits=torch.randn(batch["input_ids"].shape)
    )
    keys = {"source": {"path": "x"}, "languages": ["en", "de"], "unanswerable": unanswerable, "normalization": "squad"}
    plain, asked = QaScored(**keys), QaScored(**keys, oracle_k=4)
    learning, rows = QaLearning(), np.arange(len(scored.features))
    one, other = (
        learning.score(learning.predict(outputs, batch, rows, section), scored, section) for section in (plain, asked)
    )
    assert one.scores.probes == {} and one.outcomes == other.outcomes
    assert (one.scores.values, one.scores.cells) == (other.scores.values, other.scores.cells)
    probe = other.scores.probes["oracle_f1"]
    assert all(list(each.values()) == sorted(each.values()) and len(each) == 4 for each in probe.values())
    if not unanswerable:
        assert probe["de"]["top_1"] == pytest.approx(one.scores.cells["de-en"]["f1"])
    best = spans_of(outputs, batch, rows, max_answer_tokens=30)
    assert score_predictions(best, scored, plain).scores == one.scores if not unanswerable else True
