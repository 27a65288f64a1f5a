"""Exact match and F1 of extractive QA, per cell and over the matrix of cells. Needs no torch."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from raykd.errors import DataError

ARTICLES = {
    "ar": re.compile(r"ال"),
    "de": re.compile(r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "en": re.compile(r"\b(?:a|an|the)\b"),
    "es": re.compile(r"\b(?:un|una|unos|unas|el|la|los|las)\b"),
    "vi": re.compile(r"\b(?:của|là|cái|chiếc|những)\b"),
}
"""What the MLQA evaluation takes for an article. The Arabic one has no word boundary, so it also splits words."""

CJK_CHARACTER_OR_RUN = re.compile(r"[\u4e00-\u9fa5]|[^\u4e00-\u9fa5\s]+")


@dataclass(frozen=True, slots=True)
class CellScore:
    """Scores of one cell, both in percent, 0 to 100: means over its questions."""

    exact_match: float
    f1: float
    num_questions: int


def exact_match(prediction: str, gold: str, *, language: str, style: str) -> float:
    """1.0 if the two texts are equal once normalised, else 0.0.

    Args:
        prediction: the answer of the model.
        gold: one gold answer.
        language: code of the language the answers are written in, that of the context, such as "de". A language
            without a rule of its own has no articles and is split at white space.
        style: how to normalise, a key of `STYLES`.
            "squad": the SQuAD v1.1 evaluation (Rajpurkar et al. 2016, arXiv:1606.05250), English for every language.
            "mlqa": the MLQA evaluation v1 (Lewis et al. 2020, arXiv:1910.07475).
            "char": every character but punctuation and white space is a token, for scripts without spaces.

    Raises:
        ValueError: if the style is unknown.
    """
    tokens = _tokenizer(style)
    return float(tokens(prediction, language) == tokens(gold, language))


def f1(prediction: str, gold: str, *, language: str, style: str) -> float:
    """Harmonic mean of precision and recall over the two bags of tokens, in [0, 1]; 0 where nothing is shared.

    Arguments and errors are those of `exact_match`. Two texts without any token score 0, as in both evaluations.
    """
    tokens = _tokenizer(style)
    predicted, wanted = tokens(prediction, language), tokens(gold, language)
    return _f1_of(predicted, wanted)


def f1_or_none(prediction: str, gold: str, *, language: str, style: str) -> float:
    """The same as the SQuAD 2.0 evaluation has it: no answer is what has no token, and equals nothing else."""
    tokens = _tokenizer(style)
    predicted, wanted = tokens(prediction, language), tokens(gold, language)
    return _f1_of(predicted, wanted) if predicted and wanted else float(predicted == wanted)


def _f1_of(predicted: Sequence[str], wanted: Sequence[str]) -> float:
    num_shared = (Counter(predicted) & Counter(wanted)).total()
    return 2 * num_shared / (len(predicted) + len(wanted)) if num_shared else 0.0


@dataclass(frozen=True, slots=True)
class QuestionScore:
    """Scores of one question, both in percent, and whether it has an answer."""

    exact_match: float
    f1: float
    has_answer: bool = True


def score_cell(questions: Collection[QuestionScore]) -> CellScore:
    """The means over the questions of one cell, at least one."""
    exact_matches, f1s = [question.exact_match for question in questions], [question.f1 for question in questions]
    return CellScore(exact_match=fmean(exact_matches), f1=fmean(f1s), num_questions=len(questions))


def score_questions(
    predictions: Mapping[str, str],
    golds: Mapping[str, Sequence[str]],
    *,
    language: str,
    style: str,
    unanswerable: bool = False,
) -> dict[str, QuestionScore]:
    """Scores the questions of one cell, each against the gold answer that suits it best.

    Args:
        predictions: question id -> answer. Ids that are not in `golds` are ignored.
        golds: question id -> its gold answers, at least one.
        language: the cell's context language, in which the answers are written.
        style: a key of `STYLES`, see `exact_match`.
        unanswerable: by the rules of SQuAD 2.0 (Rajpurkar et al. 2018, arXiv:1806.03822): a question may have no gold
            answer, and an empty prediction says so; gold answers without a token are left out, unless all are.

    Raises:
        DataError: if there is no question, or a question has no prediction or no gold answer; names every such id.
        ValueError: if the style is unknown.
    """
    problems = [f"{id_}: no prediction; every question needs one" for id_ in golds if id_ not in predictions]
    if not unanswerable:
        problems += [f"{id_}: no gold answer; every question needs one" for id_, texts in golds.items() if not texts]
    if not golds:
        problems.append("no questions to score; a cell needs at least one")
    if problems:
        raise DataError(problems)

    tokens = _tokenizer(style)

    def wanted(id_: str) -> Sequence[str]:
        return [text for text in golds[id_] if tokens(text, language)] or [""] if unanswerable else golds[id_]

    def percent(metric: Callable[..., float], id_: str) -> float:
        return 100 * max(metric(predictions[id_], text, language=language, style=style) for text in wanted(id_))

    by_tokens = f1_or_none if unanswerable else f1
    return {id_: QuestionScore(percent(exact_match, id_), percent(by_tokens, id_), bool(golds[id_])) for id_ in golds}


def by_answer(questions: Collection[QuestionScore]) -> dict[str, float | int]:
    """Means over the questions of a cell that have an answer, and over those that have none, in percent.

    Returns:
        "has_answer_f1", "has_answer_exact_match" and "num_with_answer", and the same of "no_answer" and
        "num_without_answer"; no mean where there is no such question.
    """
    found: dict[str, float | int] = {}
    for name, count, has in (("has_answer", "num_with_answer", True), ("no_answer", "num_without_answer", False)):
        those = [each for each in questions if each.has_answer is has]
        found[count] = len(those)
        if those:
            cell = score_cell(those)
            found |= {f"{name}_f1": cell.f1, f"{name}_exact_match": cell.exact_match}
    return found


def summarize(cells: Mapping[tuple[str, str], CellScore]) -> dict[str, float | None]:
    """The matrix of cells in six numbers, in percent; every cell weighs the same, whatever its size.

    Args:
        cells: (question language, context language) -> score.

    Returns:
        "xlt_f1", "gxlt_f1", "gxlt_off_diagonal_f1" and the same ending in "_exact_match". xlt: the mean over cells
        whose two languages agree. gxlt: over all cells, those included (arXiv:2309.17134). gxlt_off_diagonal: over the
        others. None where there is no such cell; gxlt also where there are none but those of one language (TyDiQA).
    """
    across = [score for (question, context), score in cells.items() if question != context]
    groups = {
        "xlt": [score for (question, context), score in cells.items() if question == context],
        "gxlt": list(cells.values()) if across else [],
        "gxlt_off_diagonal": across,
    }
    summary: dict[str, float | None] = {}
    for name, scores in groups.items():
        summary[f"{name}_f1"] = fmean(score.f1 for score in scores) if scores else None
        summary[f"{name}_exact_match"] = fmean(score.exact_match for score in scores) if scores else None
    return summary


def _squad_tokens(text: str, language: str) -> list[str]:
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return ARTICLES["en"].sub(" ", kept).split()


def _mlqa_tokens(text: str, language: str) -> list[str]:
    kept = _without_punctuation(text.lower())
    if language in ARTICLES:
        kept = ARTICLES[language].sub(" ", kept)
    return CJK_CHARACTER_OR_RUN.findall(kept) if language == "zh" else kept.split()


def _char_tokens(text: str, language: str) -> list[str]:
    return [character for character in _without_punctuation(text.lower()) if not character.isspace()]


STYLES: dict[str, Callable[[str, str], list[str]]] = {
    "squad": _squad_tokens,
    "mlqa": _mlqa_tokens,
    "char": _char_tokens,
}


def _tokenizer(style: str) -> Callable[[str, str], list[str]]:
    if style not in STYLES:
        raise ValueError(f"style: got {style!r}; it must be one of {', '.join(STYLES)}")
    return STYLES[style]


def _without_punctuation(text: str) -> str:
    # The ASCII set matters besides the Unicode category: $ + < = > ^ ` | ~ are symbols there.
    return "".join(
        character
        for character in text
        if character not in string.punctuation and not unicodedata.category(character).startswith("P")
    )
