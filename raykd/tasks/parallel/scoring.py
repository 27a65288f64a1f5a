"""How sentence encoders are scored: retrieval of translations, zero-shot classification, and whether they collapse."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from raykd.data.examples import LabelledPair
from raykd.objectives.multilevel import sentence_health
from raykd.tasks.outcomes import Outcomes, Scored, Scores, record_outcomes
from raykd.tasks.parallel.data import PairItems, ZeroShotItems
from raykd.tasks.parallel.retrieval import retrieval_scores, retrieve
from raykd.tasks.parallel.sentences import SentenceFeatures, sentence_features
from raykd.tasks.parallel.zero_shot import classification_scores, classify

Prediction = tuple[int, np.ndarray]
"""Row of a sentence, and its vector [H], float32."""
LabelledRows = tuple[list[int], list[int], list[str]]
"""Rows of the first sentences, of the second ones, and labels."""


@dataclass(frozen=True)
class SentenceDevSet:
    """What an encoder is scored on: different sentences, and which of them belong together.

    Attributes:
        rows: the sentences of `features`, as rows of `texts`.
        pairs: language -> rows of the English sentences and of their translations.
        probes: name -> rows to fit a probe on, and rows by language to score it on.
        pivot: the language of training pairs; probes are zero-shot in all others.
        trained: the languages that students are trained on; retrieval in the others is zero-shot.
    """

    texts: tuple[str, ...]
    rows: np.ndarray
    features: SentenceFeatures
    pairs: Mapping[str, tuple[list[int], list[int]]]
    probes: Mapping[str, tuple[LabelledRows, Mapping[str, LabelledRows]]]
    pivot: str
    trained: tuple[str, ...]

    def first(self, count: int) -> "SentenceDevSet":
        """The first `count` pairs of every language, and no probes."""
        pairs = {language: (english[:count], other[:count]) for language, (english, other) in self.pairs.items()}
        needed = {row for sides in pairs.values() for side in sides for row in side}
        places = np.flatnonzero(np.isin(self.rows, sorted(needed)))
        features = self.features.take(places)
        return replace(self, rows=self.rows[places], features=features, pairs=pairs, probes={})


def sentence_dev_set(
    items: PairItems,
    probes: Mapping[str, ZeroShotItems],
    tokenizer: Any,
    *,
    max_length: int,
    pivot: str,
    trained: Sequence[str],
) -> SentenceDevSet:
    """All different sentences of pairs and probes as features, each read once."""
    places: dict[str, int] = {}

    def place(text: str) -> int:
        return places.setdefault(text, len(places))

    def labelled(pairs: Sequence[LabelledPair]) -> LabelledRows:
        first, second = ([place(getattr(pair, side)) for pair in pairs] for side in ("first", "second"))
        return first, second, [pair.label for pair in pairs]

    pairs = {
        language: ([place(pair.english) for pair in members], [place(pair.other) for pair in members])
        for language, members in items.pairs.items()
    }
    probed = {
        name: (labelled(each.train), {language: labelled(members) for language, members in each.tests.items()})
        for name, each in probes.items()
    }
    texts = tuple(places)
    features = sentence_features(texts, tokenizer, max_length=max_length)
    return SentenceDevSet(texts, np.arange(len(texts)), features, pairs, probed, pivot, tuple(trained))


def score_sentences(predictions: Iterable[Prediction], dev: SentenceDevSet) -> Scored:
    """Top-1 retrieval in percent, the mean over both ways and over the trained languages (the others are zero-shot),
    accuracy of each probe over the languages that it was not fitted in, and how far the vectors have collapsed; and
    what was hit.
    """
    found = {int(dev.rows[index]): vector for index, vector in predictions}

    def vectors(rows: Sequence[int]) -> np.ndarray:
        return np.stack([found[row] for row in rows])

    def words(rows: Sequence[int]) -> list[str]:
        return [dev.texts[row] for row in rows]

    pairs = {language: (vectors(english), vectors(other)) for language, (english, other) in dev.pairs.items()}
    texts = {language: (words(english), words(other)) for language, (english, other) in dev.pairs.items()}
    retrieved = retrieve(pairs, texts=texts)
    distinct = sorted({row for sides in dev.pairs.values() for side in sides for row in side})
    watched = sentence_health(torch.from_numpy(np.stack([found[row] for row in distinct])))
    probes = {
        name: classify(
            _vectors(train, found),
            {language: _vectors(rows, found) for language, rows in tests.items()},
            groups=[str(row) for row in train[0]],
        )
        for name, (train, tests) in dev.probes.items()
    }
    scores = summary(
        retrieval_scores(retrieved),
        {name: classification_scores(hits) for name, hits in probes.items()},
        watched,
        pivot=dev.pivot,
        trained=dev.trained,
    )
    return Scored(scores, _outcomes(retrieved, probes, dev))


def _outcomes(
    retrieved: Mapping[str, tuple[np.ndarray, np.ndarray]],
    probes: Mapping[str, Mapping[str, np.ndarray]],
    dev: SentenceDevSet,
) -> Outcomes:
    """How many of its two ways each pair was retrieved, and whether a probe was right about it, in percent.

    Pairs with one English sentence are one item, as are those of a probe with one first sentence in a language.
    """
    cells = {
        language: ([dev.texts[row] for row in dev.pairs[language][0]], (50.0 * to + 50.0 * back).tolist())
        for language, (to, back) in retrieved.items()
    }
    for name, of_probe in probes.items():
        for language, hits in of_probe.items():
            firsts = [f"{language} {dev.texts[row]}" for row in dev.probes[name][1][language][0]]
            cells[f"{name} {language}"] = firsts, (100.0 * hits).tolist()
    scores = {f"{prefix}retrieval": languages for prefix, languages in _groups(retrieved, dev.trained).items()}
    scores |= {
        name: [f"{name} {language}" for language in of_probe if language != dev.pivot]
        for name, of_probe in probes.items()
    }
    return record_outcomes(cells, statistic="mean", unit="sentence pair", scores=scores)


def _groups(languages: Iterable[str], trained: Sequence[str]) -> dict[str, list[str]]:
    """The trained languages, and the zero-shot ones, by the first letters of their scores' names."""
    languages = list(languages)
    return {
        "": [name for name in languages if name in trained],
        "zero_shot_": [name for name in languages if name not in trained],
    }


def _vectors(rows: LabelledRows, found: Mapping[int, np.ndarray]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    first, second, labels = rows
    return np.stack([found[row] for row in first]), np.stack([found[row] for row in second]), labels


def summary(
    cells: Mapping[str, Mapping[str, int | float]],
    probes: Mapping[str, Mapping[str, Mapping[str, float]]],
    watched: Mapping[str, float],
    *,
    pivot: str,
    trained: Sequence[str],
) -> Scores:
    """Scores of cells by language and of probes; how the vectors are."""
    groups = _groups(cells, trained)
    values: dict[str, float | None] = {}
    columns: dict[str, str] = {}
    for prefix, languages in groups.items():
        name = f"{prefix}retrieval"
        values[name] = float(np.mean([cells[language]["retrieval"] for language in languages])) if languages else None
        if languages:
            columns[name] = "zero-shot retrieval" if prefix else "retrieval"
    for probe, tested in probes.items():
        others = [scores["accuracy"] for language, scores in tested.items() if language != pivot]
        values[probe] = float(np.mean(others)) if others else None
        columns[probe] = f"{probe} (zero-shot)"
        if pivot in tested:
            values[f"{probe}_{pivot}"] = tested[pivot]["accuracy"]
            columns[f"{probe}_{pivot}"] = f"{probe} {pivot}"
    for language in cells:
        values[f"retrieval_{language}"] = cells[language]["retrieval"]
        columns[f"retrieval_{language}"] = language if language in trained else f"{language} (zero-shot)"
    values["effective_rank"] = watched["effective_rank"]
    columns["effective_rank"] = "effective rank"
    main = "retrieval" if groups[""] else "zero_shot_retrieval"
    return Scores(
        main=main, metric="retrieval", columns=columns, values=values, cells=cells, probes=probes, watched=watched
    )
