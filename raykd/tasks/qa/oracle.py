"""What a model knows beside its first answer: the F1 of the best of its k best answers, by question language."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean

from raykd.tasks.qa.scoring import f1
from raykd.tasks.qa.sets import DevSet

ORACLE = "oracle_f1"
"""Among the probes of `Scores`: question language -> `top_1`, `top_2`, ... -> mean F1 in percent."""


def oracle_scores(
    spans: Iterable[tuple[int, float, int, int]], scored: DevSet, *, k: int, normalization: str
) -> dict[str, dict[str, float]]:
    """Mean over cells of each question language, each cell the mean over its questions that have an answer.

    Args:
        spans: (window, score, first token, last token): the best of each window, at least k where there are so many.
        k: different answers that count. The first one is that which is scored elsewhere, unless there are equal ones.
        normalization: `mlqa` or `squad`, as in scoring.
    """
    answers = _ranked(spans, scored)
    cells: dict[str, list[list[float]]] = defaultdict(list)
    for (question, context), numbers in scored.cells.items():
        language = context if normalization == "mlqa" else "en"
        curves = []
        for number in numbers:
            golds = [answer.text for answer in scored.examples[number].answers]
            if golds:
                best, curve = 0.0, []
                for said in [*answers.get(number, ())[:k], *[""] * k][:k]:
                    best = max(best, *(f1(said, gold, language=language, style=normalization) for gold in golds))
                    curve.append(best)
                curves.append(curve)
        if curves:
            cells[question].append([100 * fmean(values) for values in zip(*curves, strict=True)])
    return {
        language: {f"top_{rank}": fmean(values) for rank, values in enumerate(zip(*found, strict=True), start=1)}
        for language, found in cells.items()
    }


def _ranked(spans: Iterable[tuple[int, float, int, int]], scored: DevSet) -> Mapping[int, list[str]]:
    """Example number -> its different answers, best first."""
    features = scored.features
    best: dict[int, dict[str, float]] = {}
    for window, score, first, last in spans:
        number, start = int(features.example[window]), features.bounds[window]
        if score > float("-inf"):
            text = scored.examples[number].context[features.chars[start + first, 0] : features.chars[start + last, 1]]
            answers = best.setdefault(number, {})
            answers[text.strip()] = max(score, answers.get(text.strip(), score))
    return {number: sorted(answers, key=lambda text: -answers[text]) for number, answers in best.items()}
