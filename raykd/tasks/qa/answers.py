"""Answers of windows, and their scores in the G-XLT matrix."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.data.examples import QAExample
from raykd.tasks.outcomes import Outcomes, Scored, Scores, record_outcomes
from raykd.tasks.qa.decode import best_spans, top_spans
from raykd.tasks.qa.features import QAFeatures
from raykd.tasks.qa.scoring import CellScore, QuestionScore, score_cell, score_questions, summarize
from raykd.tasks.qa.sets import DevSet

Prediction = tuple[int, float, int, int]
"""Window, score, first and last token of its best span."""

COLUMNS = {
    "xlt_f1": "XLT F1",
    "gxlt_f1": "G-XLT F1",
    "gxlt_off_diagonal_f1": "off-diagonal F1",
    "xlt_exact_match": "XLT EM",
    "gxlt_exact_match": "G-XLT EM",
}


def score_predictions(predictions: Iterable[Prediction], dev: DevSet, *, normalization: str) -> Scored:
    """`COLUMNS` and the G-XLT matrix, in percent; F1 of every question."""
    answers = best_answers(dev.features, dev.examples, predictions)
    questions = score_answers(dev.cells, answers, dev.examples, normalization=normalization)
    return Scored(scores_of(questions), _outcomes(questions))


def scores_of(questions: Mapping[tuple[str, str], Mapping[str, QuestionScore]]) -> Scores:
    """`COLUMNS` and the G-XLT matrix of the scores of all questions, by cell and id."""
    cells = {cell: score_cell(of_cell.values()) for cell, of_cell in questions.items()}
    return Scores(main="gxlt_f1", columns=COLUMNS, values=summarize(cells), cells=cells_to_json(cells), is_matrix=True)


def _outcomes(questions: Mapping[tuple[str, str], Mapping[str, QuestionScore]]) -> Outcomes:
    """F1 of every question; a parallel question is one item in all cells."""
    names = {cell: "-".join(cell) for cell in questions}
    return record_outcomes(
        {names[cell]: (list(of_cell), [each.f1 for each in of_cell.values()]) for cell, of_cell in questions.items()},
        statistic="mean",
        unit="question",
        scores={
            "gxlt_f1": list(names.values()),
            "xlt_f1": [names[cell] for cell in names if cell[0] == cell[1]],
            "gxlt_off_diagonal_f1": [names[cell] for cell in names if cell[0] != cell[1]],
        },
    )


def collect_ranked(
    ranked: dict[int, dict[str, float]],
    outputs: Any,
    batch: dict[str, Tensor],
    indices: np.ndarray,
    *,
    dev: DevSet,
    n_best: int,
    max_answer_tokens: int,
) -> None:
    """Add the best spans of a batch of windows: example number -> answer -> score, the best one of equal answers."""
    for row, window in enumerate(indices.tolist()):
        first, past = dev.features.bounds[window : window + 2]
        length, number = past - first, int(dev.features.example[window])
        spans = best_spans(
            outputs.start_logits[row, :length].cpu(),
            outputs.end_logits[row, :length].cpu(),
            offsets=torch.from_numpy(dev.features.chars[first:past]),
            context_mask=batch["context_mask"][row, :length].cpu(),
            word_edges=batch["word_edges"][row, :length].cpu() if "word_edges" in batch else None,
            n_best=n_best,
            max_answer_tokens=max_answer_tokens,
        )
        answers = ranked.setdefault(number, {})
        for span in spans:
            text = dev.examples[number].context[span.start_char : span.end_char].strip()
            answers[text] = max(span.score, answers.get(text, span.score))


def answer_rows(dev: DevSet, ranked: dict[int, dict[str, float]], *, n_best: int) -> list[dict[str, Any]]:
    """What `collect_ranked` collected, a row for each question of each cell."""
    return [
        {
            "id": dev.examples[number].id,
            "question_language": dev.examples[number].question_language,
            "context_language": dev.examples[number].context_language,
            "question": dev.examples[number].question,
            "answers": [
                {"text": text, "score": score}
                for text, score in sorted(answers.items(), key=lambda pair: (-pair[1], pair[0]))[:n_best]
            ],
        }
        for number, answers in sorted(ranked.items())
    ]


def best_answers(
    features: QAFeatures, examples: Sequence[QAExample], spans: Iterable[tuple[int, float, int, int]]
) -> dict[int, str]:
    """Example number -> the answer of its best window.

    Args:
        spans: (window, score, first token, last token), any order.
    """
    best: dict[int, tuple[float, int, int, int]] = {}
    for window, score, first, last in spans:
        number = int(features.example[window])
        if number not in best or (score, -window) > (best[number][0], -best[number][1]):
            best[number] = (score, window, first, last)
    answers = {}
    for number, (_, window, first, last) in best.items():
        start = features.chars[features.bounds[window] + first, 0]
        end = features.chars[features.bounds[window] + last, 1]
        answers[number] = examples[number].context[start:end].strip()
    return answers


def spans_of(
    outputs: Any, batch: dict[str, Tensor], indices: np.ndarray, *, max_answer_tokens: int
) -> list[tuple[int, float, int, int]]:
    """The best span of every window of a batch, as `best_answers` takes it."""
    scores, first, last = top_spans(
        outputs.start_logits,
        outputs.end_logits,
        context_mask=batch["context_mask"],
        word_edges=batch.get("word_edges"),
        max_answer_tokens=max_answer_tokens,
    )
    return list(zip(indices.tolist(), scores.tolist(), first.tolist(), last.tolist(), strict=True))


def score_answers(
    cells: dict[tuple[str, str], list[int]],
    answers: dict[int, str],
    examples: Sequence[QAExample],
    *,
    normalization: str,
) -> dict[tuple[str, str], dict[str, QuestionScore]]:
    """Exact match and F1 of every question of every cell, by its id, in percent.

    Args:
        cells: cell -> example numbers.
        answers: example number -> prediction; none counts as an empty answer.
        normalization: `mlqa`, by the rules of the context's language, or `squad`, English for all.
    """
    scores = {}
    for (question, context), numbers in cells.items():
        golds = {examples[number].id: [answer.text for answer in examples[number].answers] for number in numbers}
        predictions = {examples[number].id: answers.get(number, "") for number in numbers}
        language = context if normalization == "mlqa" else "en"
        scores[question, context] = score_questions(predictions, golds, language=language, style=normalization)
    return scores


def cells_to_json(scores: dict[tuple[str, str], CellScore]) -> dict[str, dict[str, float]]:
    """Cell scores as a result holds them: "question-context" -> numbers in percent."""
    return {
        f"{question}-{context}": {"f1": cell.f1, "exact_match": cell.exact_match, "num_questions": cell.num_questions}
        for (question, context), cell in scores.items()
    }
