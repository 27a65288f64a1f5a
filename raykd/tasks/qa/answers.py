"""Answers of windows, and their scores in the G-XLT matrix."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.data.examples import QAExample
from raykd.tasks.outcomes import Outcomes, Scored, Scores, record_outcomes
from raykd.tasks.qa.config import QaScored
from raykd.tasks.qa.decode import best_spans, top_k_spans, top_spans
from raykd.tasks.qa.features import QAFeatures
from raykd.tasks.qa.no_answer import THRESHOLD, Choice, best_threshold, settled
from raykd.tasks.qa.oracle import ORACLE, oracle_scores
from raykd.tasks.qa.scoring import CellScore, QuestionScore, by_answer, score_cell, score_questions, summarize
from raykd.tasks.qa.sets import DevSet

Prediction = tuple[int, float, int, int] | tuple[int, float, int, int, float]
"""Window, score, first and last token of its best span; where there may be no answer, also the score of none."""

COLUMNS = {
    "xlt_f1": "XLT F1",
    "gxlt_f1": "G-XLT F1",
    "gxlt_off_diagonal_f1": "off-diagonal F1",
    "xlt_exact_match": "XLT EM",
    "gxlt_exact_match": "G-XLT EM",
}


ANSWER_COLUMNS = {
    "has_answer_f1": "HasAns F1",
    "has_answer_exact_match": "HasAns EM",
    "no_answer_f1": "NoAns F1",
}
"""Of sets with questions that have no answer: means over cells, as the SQuAD 2.0 evaluation calls them. Without an
answer F1 and exact match are the same."""


def score_predictions(predictions: Iterable[Prediction], dev: DevSet, section: QaScored) -> Scored:
    """`COLUMNS` and the G-XLT matrix, in percent; F1 of every question.

    Where there may be no answer, by the threshold of the section, or else by the one that is best here.
    """
    predictions = list(predictions)
    probes = {}
    if section.oracle_k:
        spans = (each[:4] for each in predictions)
        found = oracle_scores(spans, dev, k=section.oracle_k, normalization=section.normalization)
        probes = {ORACLE: found} if found else {}
    answers = best_answers(dev.features, dev.examples, predictions)
    if not section.unanswerable:
        questions = score_answers(dev.cells, answers, dev.examples, normalization=section.normalization)
        return Scored(replace(scores_of(questions), probes=probes), _outcomes(questions))
    margins = null_margins(dev.features, predictions)
    choices = choices_of(dev.cells, answers, margins, dev.examples, normalization=section.normalization)
    threshold = section.null_threshold
    if threshold is None:
        threshold = best_threshold([list(of_cell.values()) for of_cell in choices.values()])
    questions = {cell: settled(of_cell, threshold) for cell, of_cell in choices.items()}
    return Scored(replace(scores_of(questions, threshold=threshold), probes=probes), _outcomes(questions))


def scores_of(
    questions: Mapping[tuple[str, str], Mapping[str, QuestionScore]], *, threshold: float | None = None
) -> Scores:
    """`COLUMNS` and the G-XLT matrix of the scores of all questions, by cell and id.

    Cells of one language alone are not G-XLT: they have the columns of XLT only.

    Args:
        threshold: by which no answer was given; adds `ANSWER_COLUMNS`. None: every question has an answer.
    """
    cells = {cell: score_cell(of_cell.values()) for cell, of_cell in questions.items()}
    main, columns, values, numbers = "gxlt_f1", COLUMNS, summarize(cells), cells_to_json(cells)
    if not _goes_across(cells):
        main, columns = "xlt_f1", {name: heading for name, heading in COLUMNS.items() if name.startswith("xlt_")}
    if threshold is not None:
        kinds = {name: by_answer(questions[cell].values()) for name, cell in zip(numbers, questions, strict=True)}
        numbers = {name: {**of_cell, **kinds[name]} for name, of_cell in numbers.items()}
        columns = {**columns, **ANSWER_COLUMNS}
        for name in ANSWER_COLUMNS:
            found = [of_cell[name] for of_cell in kinds.values() if name in of_cell]
            values[name] = fmean(found) if found else None
    return Scores(
        main=main,
        columns=columns,
        values=values,
        cells=numbers,
        is_matrix=True,
        chosen={} if threshold is None else {THRESHOLD: threshold},
    )


def null_margins(features: QAFeatures, predictions: Iterable[Prediction]) -> dict[int, float]:
    """Example number -> how far the score of no answer is above that of its best span.

    Args:
        predictions: with the score of no answer; the lowest of an example's windows counts, since those that the answer
            is not in say that there is none.
    """
    predictions = list(predictions)
    spans: dict[int, float] = {}
    for window, score, *_ in predictions:
        number = int(features.example[window])
        spans[number] = max(score, spans.get(number, -math.inf))
    return {number: null - spans[number] for number, null in _nulls(features, predictions).items()}


def _nulls(features: QAFeatures, predictions: Iterable[Prediction]) -> dict[int, float]:
    """Example number -> the lowest score of no answer of its windows."""
    nulls: dict[int, float] = {}
    for window, *_, null in predictions:
        number = int(features.example[window])
        nulls[number] = min(null, nulls.get(number, math.inf))
    return nulls


def choices_of(
    cells: Mapping[tuple[str, str], Sequence[int]],
    answers: Mapping[int, str],
    margins: Mapping[int, float],
    examples: Sequence[QAExample],
    *,
    normalization: str,
) -> dict[tuple[str, str], dict[str, Choice]]:
    """What every question of every cell, by its id, scores with its best span, and when it is withheld.

    Args:
        margins: example number -> see `null_margins`; an example without one has no answer.
    """
    answered = score_answers(cells, answers, examples, normalization=normalization, unanswerable=True)
    return {
        cell: {
            examples[number].id: Choice(margins.get(number, math.inf), answered[cell][examples[number].id])
            for number in numbers
        }
        for cell, numbers in cells.items()
    }


def _goes_across(cells: Iterable[tuple[str, str]]) -> bool:
    """Whether a question is asked in another language than its context's anywhere."""
    return any(question != context for question, context in cells)


def _outcomes(questions: Mapping[tuple[str, str], Mapping[str, QuestionScore]]) -> Outcomes:
    """F1 of every question; a parallel question is one item in all cells."""
    names = {cell: "-".join(cell) for cell in questions}
    return record_outcomes(
        {names[cell]: (list(of_cell), [each.f1 for each in of_cell.values()]) for cell, of_cell in questions.items()},
        statistic="mean",
        unit="question",
        scores={
            **({"gxlt_f1": list(names.values())} if _goes_across(names) else {}),
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


def add_nulls(
    ranked: dict[int, dict[str, float]], features: QAFeatures, predictions: Iterable[Prediction], *, threshold: float
) -> None:
    """Add to what `collect_ranked` collected that there is no answer, so that it is first where it is to be given."""
    nulls = _nulls(features, predictions)
    for number, answers in ranked.items():
        answers[""] = nulls[number] - threshold


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


def best_answers(features: QAFeatures, examples: Sequence[QAExample], spans: Iterable[Prediction]) -> dict[int, str]:
    """Example number -> the answer of its best window; the spans are in any order."""
    best: dict[int, tuple[float, int, int, int]] = {}
    for window, score, first, last, *_ in spans:
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
    outputs: Any,
    batch: dict[str, Tensor],
    indices: np.ndarray,
    *,
    max_answer_tokens: int,
    unanswerable: bool = False,
    more: int = 0,
) -> list[Prediction]:
    """The best span of every window of a batch; `unanswerable` adds the score of no answer, `more` so many of the best
    spans behind it.
    """
    scores, first, last = top_spans(
        outputs.start_logits,
        outputs.end_logits,
        context_mask=batch["context_mask"],
        word_edges=batch.get("word_edges"),
        max_answer_tokens=max_answer_tokens,
    )
    windows, parts = torch.from_numpy(indices), [scores, first, last]
    if unanswerable:
        parts.append(outputs.start_logits[:, 0].float() + outputs.end_logits[:, 0].float())
    if more:
        found = top_k_spans(
            outputs.start_logits,
            outputs.end_logits,
            context_mask=batch["context_mask"],
            k=more,
            word_edges=batch.get("word_edges"),
            max_answer_tokens=max_answer_tokens,
        )
        count = found[0].shape[1]
        # The first of a window stays first: of equal scores it is the one that is answered with.
        wide = [*found, *(part[:, None].expand(-1, count) for part in parts[3:])]
        parts = [torch.cat([part[:, None], each], dim=1).flatten() for part, each in zip(parts, wide, strict=True)]
        windows = windows.repeat_interleave(count + 1)
    return list(zip(windows.tolist(), *(part.tolist() for part in parts), strict=True))


def score_answers(
    cells: Mapping[tuple[str, str], Sequence[int]],
    answers: Mapping[int, str],
    examples: Sequence[QAExample],
    *,
    normalization: str,
    unanswerable: bool = False,
) -> dict[tuple[str, str], dict[str, QuestionScore]]:
    """Exact match and F1 of every question of every cell, by its id, in percent.

    Args:
        cells: cell -> example numbers.
        answers: example number -> prediction; none counts as an empty answer.
        normalization: `mlqa`, by the rules of the context's language, or `squad`, English for all.
        unanswerable: a question may have no gold answer, see `score_questions`.
    """
    scores = {}
    for (question, context), numbers in cells.items():
        golds = {examples[number].id: [answer.text for answer in examples[number].answers] for number in numbers}
        predictions = {examples[number].id: answers.get(number, "") for number in numbers}
        language = context if normalization == "mlqa" else "en"
        scores[question, context] = score_questions(
            predictions, golds, language=language, style=normalization, unanswerable=unanswerable
        )
    return scores


def cells_to_json(scores: Mapping[tuple[str, str], CellScore]) -> dict[str, dict[str, float]]:
    """Cell scores as a result holds them: "question-context" -> numbers in percent."""
    return {
        f"{question}-{context}": {"f1": cell.f1, "exact_match": cell.exact_match, "num_questions": cell.num_questions}
        for (question, context), cell in scores.items()
    }
