"""Scores of a tagging model by language, and what became of every sentence."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean

import numpy as np

from raykd.tasks.outcomes import Outcomes, Scored, Scores, record_outcomes
from raykd.tasks.tagging.features import rejoin
from raykd.tasks.tagging.scoring import TagCounts, count
from raykd.tasks.tagging.scoring import score as score_counts
from raykd.tasks.tagging.sets import TagDevSet

Prediction = tuple[int, list[int]]
"""Window, and the label of each of its words."""


def score_predictions(predictions: Iterable[Prediction], dev: TagDevSet) -> Scored:
    """Chunk F1, or accuracy where every word has a tag of its own, in percent: the mean over the trained languages,
    over the others, and each language alone; and the counts of every sentence."""
    found = rejoin(dev.features, [tags for _, tags in sorted(predictions)])
    counts: dict[str, list[tuple[str, TagCounts]]] = {}
    for number, tags in found.items():
        sentence = dev.sentences[number]
        counted = count(sentence.tags, tags, scheme=dev.scheme)
        counts.setdefault(sentence.language, []).append((sentence.id, counted))
    counts = {language: counts[language] for language in dev.features.languages if language in counts}
    cells = {
        language: {**asdict(score_counts(each for _, each in members)), "num_sentences": len(members)}
        for language, members in counts.items()
    }
    metric = "accuracy" if dev.scheme == "none" else "f1"
    return Scored(summary(cells, metric, trained=dev.trained), _outcomes(counts, metric, trained=dev.trained))


_TEACHER = "teacher of "
_OTHERS = "others"


def combine(scored: Mapping[str | None, Scored], chosen: Scores | None = None) -> Scored:
    """The scores of several teachers: each language by its own, a zero-shot one by the best there.

    Args:
        chosen: of a test set: the scores on the selection set. It chose the teacher of each zero-shot language, or the
            teacher that is best over all languages for those that it does not hold.
    """
    if None in scored:
        return scored[None]
    example, teachers = next(iter(scored.values())).scores, list(scored.values())
    metric, before = example.metric, chosen.chosen if chosen is not None else None

    def best(score: Callable[[Scores], float]) -> int:
        return max(range(len(teachers)), key=lambda number: score(teachers[number].scores))

    def number_of(language: str) -> int:
        if before is not None:
            return int(before.get(f"{_TEACHER}{language}", before.get(f"{_TEACHER}{_OTHERS}", 0)))
        return best(lambda scores: scores.cells[language][metric])

    zero_shot = {language: number_of(language) for language in example.cells if language not in scored}

    def teacher_of(language: str) -> Scored:
        return scored[language] if language in scored else teachers[zero_shot[language]]

    trained = tuple(language for language in scored if language is not None)
    taken = {language: teacher_of(language) for language in example.cells}
    scores = summary(
        {language: each.scores.cells[language] for language, each in taken.items()}, metric, trained=trained
    )
    if before is None:
        overall = best(lambda scores: fmean(cell[metric] for cell in scores.cells.values()))
        names = {f"{_TEACHER}{language}": float(number) for language, number in zero_shot.items()}
        scores = replace(scores, chosen={**names, f"{_TEACHER}{_OTHERS}": float(overall)})
    # All teachers were scored on the same sentences: only the values differ.
    outcomes = replace(
        next(iter(scored.values())).outcomes,
        scores=_groups(taken, metric, trained=trained),
        cells={language: each.outcomes.cells[language] for language, each in taken.items()},
    )
    return Scored(scores, outcomes)


def _groups(languages: Iterable[str], metric: str, *, trained: Sequence[str]) -> dict[str, list[str]]:
    """Score -> the languages that it is the mean of."""
    languages = list(languages)
    return {
        metric: [name for name in languages if name in trained],
        f"zero_shot_{metric}": [name for name in languages if name not in trained],
    }


def _outcomes(
    counts: Mapping[str, Sequence[tuple[str, TagCounts]]], metric: str, *, trained: Sequence[str]
) -> Outcomes:
    """Counts of every sentence, by its id. Accuracy is the F1 of words that all have a tag, in gold and prediction."""

    def value(of: TagCounts) -> list[int]:
        return [of.hit, of.predicted, of.gold] if metric == "f1" else [of.words_hit, of.words, of.words]

    return record_outcomes(
        {
            language: ([name for name, _ in members], [value(each) for _, each in members])
            for language, members in counts.items()
        },
        statistic="f1",
        unit="sentence",
        scores=_groups(counts, metric, trained=trained),
    )


def summary(cells: Mapping[str, Mapping[str, int | float]], metric: str, *, trained: Sequence[str]) -> Scores:
    """Scores of cells by language."""
    word = {"f1": "F1", "accuracy": "accuracy"}[metric]
    groups = _groups(cells, metric, trained=trained)
    means = {
        score: float(np.mean([cells[name][metric] for name in languages])) if languages else None
        for score, languages in groups.items()
    }
    columns = {score: word if score == metric else f"zero-shot {word}" for score in groups if groups[score]}
    columns |= {f"{metric}_{name}": name if name in trained else f"{name} (zero-shot)" for name in cells}
    each = {f"{metric}_{name}": cell[metric] for name, cell in cells.items()}
    main = metric if groups[metric] else f"zero_shot_{metric}"
    return Scores(main=main, metric=metric, columns=columns, values={**means, **each}, cells=cells)
