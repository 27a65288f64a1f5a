"""Scores of a tagging model by language, and what became of every sentence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace

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


def combine(scored: Mapping[str | None, Scored]) -> Scored:
    """The scores of several teachers: each language by its own, a zero-shot one by the best there."""
    if None in scored:
        return scored[None]
    example = next(iter(scored.values())).scores
    metric = example.metric

    def teacher_of(language: str) -> Scored:
        if language in scored:
            return scored[language]
        return max(scored.values(), key=lambda each: each.scores.cells[language][metric])

    trained = tuple(language for language in scored if language is not None)
    chosen = {language: teacher_of(language) for language in example.cells}
    scores = summary(
        {language: each.scores.cells[language] for language, each in chosen.items()}, metric, trained=trained
    )
    # All teachers were scored on the same sentences: only the values differ.
    outcomes = replace(
        next(iter(scored.values())).outcomes,
        scores=_groups(chosen, metric, trained=trained),
        cells={language: each.outcomes.cells[language] for language, each in chosen.items()},
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
