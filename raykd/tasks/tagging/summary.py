"""Scores of a tagging model by language, and what became of every sentence."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

import numpy as np

from raykd.tasks.outcomes import Outcomes, Scored, Scores, record_outcomes
from raykd.tasks.tagging.config import OTHERS
from raykd.tasks.tagging.features import rejoin
from raykd.tasks.tagging.scoring import TagCounts, count
from raykd.tasks.tagging.scoring import score as score_counts
from raykd.tasks.tagging.sets import TagDevSet


@dataclass(frozen=True)
class Kinds:
    """Languages by what students are trained on: labels, items without labels alone, and, the others, nothing."""

    trained: Sequence[str]
    without_labels: Sequence[str] = ()

    def heading(self, language: str) -> str:
        """What a language is called where its score stands alone."""
        if language in self.trained:
            return language
        return f"{language} (unlabelled)" if language in self.without_labels else f"{language} (zero-shot)"


Prediction = tuple[int, list[int]]
"""Window, and the label of each of its words."""


def score_predictions(predictions: Iterable[Prediction], dev: TagDevSet) -> Scored:
    """Chunk F1, or accuracy where every word has a tag of its own, in percent: the mean over the languages of labels,
    over those that are trained on without labels, over the others, and each language alone; and the counts of every
    sentence."""
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
    kinds = Kinds(dev.trained, dev.without_labels)
    return Scored(summary(cells, metric, kinds), _outcomes(counts, metric, kinds))


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

    own = {language: scored.get(language, scored.get(OTHERS)) for language in example.cells}
    zero_shot = {language: number_of(language) for language, teacher in own.items() if teacher is None}

    def teacher_of(language: str) -> Scored:
        return own[language] or teachers[zero_shot[language]]

    # All teachers were scored on the same set, whose groups are those of the students.
    groups = next(iter(scored.values())).outcomes.scores
    kinds = Kinds(groups[metric], groups.get(f"unlabelled_{metric}", ()))
    taken = {language: teacher_of(language) for language in example.cells}
    scores = summary({language: each.scores.cells[language] for language, each in taken.items()}, metric, kinds)
    if before is None:
        overall = best(lambda scores: fmean(cell[metric] for cell in scores.cells.values()))
        names = {f"{_TEACHER}{language}": float(number) for language, number in zero_shot.items()}
        scores = replace(scores, chosen={**names, f"{_TEACHER}{_OTHERS}": float(overall)})
    # All teachers were scored on the same sentences: only the values differ.
    outcomes = replace(
        next(iter(scored.values())).outcomes,
        scores=_groups(taken, metric, kinds),
        cells={language: each.outcomes.cells[language] for language, each in taken.items()},
    )
    return Scored(scores, outcomes)


def _groups(languages: Iterable[str], metric: str, kinds: Kinds) -> dict[str, list[str]]:
    """Score -> the languages that it is the mean of."""
    languages = list(languages)
    known = {*kinds.trained, *kinds.without_labels}
    unlabelled = [name for name in languages if name in kinds.without_labels]
    return {
        metric: [name for name in languages if name in kinds.trained],
        **({f"unlabelled_{metric}": unlabelled} if unlabelled else {}),
        f"zero_shot_{metric}": [name for name in languages if name not in known],
    }


def _outcomes(counts: Mapping[str, Sequence[tuple[str, TagCounts]]], metric: str, kinds: Kinds) -> Outcomes:
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
        scores=_groups(counts, metric, kinds),
    )


def summary(cells: Mapping[str, Mapping[str, int | float]], metric: str, kinds: Kinds) -> Scores:
    """Scores of cells by language."""
    word = {"f1": "F1", "accuracy": "accuracy"}[metric]
    groups = _groups(cells, metric, kinds)
    means = {
        score: float(np.mean([cells[name][metric] for name in languages])) if languages else None
        for score, languages in groups.items()
    }
    words = {"unlabelled": f"unlabelled {word}", "zero_shot": f"zero-shot {word}"}
    columns = {score: words.get(score.removesuffix(f"_{metric}"), word) for score in groups if groups[score]}
    columns |= {f"{metric}_{name}": kinds.heading(name) for name in cells}
    each = {f"{metric}_{name}": cell[metric] for name, cell in cells.items()}
    main = metric if groups[metric] else f"zero_shot_{metric}"
    return Scores(main=main, metric=metric, columns=columns, values={**means, **each}, cells=cells)
