"""The sentence pairs of the parallel task: files, the built-in world, budgets, epochs, what encoders are scored on."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from raykd.config.base import Source
from raykd.config.parallel import MixingConfig, ZeroShotConfig
from raykd.config.point import DataConfig, EvaluationConfig
from raykd.data import smallworld_bitext
from raykd.data.bitext import read_labelled_pairs, read_pairs
from raykd.data.budgets import Budget, select
from raykd.data.examples import LabelledPair, SentencePair
from raykd.data.mixing import draw_pairs, mix
from raykd.data.sources import SourceRef
from raykd.errors import DataError

Pair = TypeVar("Pair", SentencePair, LabelledPair)


@dataclass(frozen=True)
class PairItems:
    """Sentence pairs by language.

    Attributes:
        counts: language -> what reading its source did, for a record.
    """

    pairs: Mapping[str, Sequence[SentencePair]]
    counts: Mapping[str, Mapping[str, object]]

    def all(self) -> list[SentencePair]:
        """The pairs of all languages, one after another."""
        return [pair for members in self.pairs.values() for pair in members]


@dataclass(frozen=True)
class ZeroShotItems:
    """Labelled pairs that a probe is fitted on, and those that it is scored on by language."""

    train: Sequence[LabelledPair]
    tests: Mapping[str, Sequence[LabelledPair]]


def load_pairs(source: Source, *, languages: Sequence[str], pivot: str, folder: Path, split: str) -> PairItems:
    """The pairs of a source in some languages.

    Args:
        split: of the built-in world.

    Raises:
        DataError: naming file and line, all that is wrong at once.
    """
    if source.builtin:
        return PairItems(smallworld_bitext.pairs(split, source.num_items, languages=languages), {})
    found = read_pairs(_reference(source), languages=languages, folder=folder, codes=source.codes, pivot=pivot)
    pairs = {language: each.pairs for language, each in found.items()}
    return PairItems(pairs, {language: each.to_json() for language, each in found.items()})


def load_items(data: DataConfig, *, folder: Path) -> PairItems:
    """All pairs that budgets are drawn from."""
    return load_pairs(data.train, languages=data.languages, pivot=data.pivot, folder=folder, split="train")


def load_train(
    data: DataConfig, *, seed: int, items: PairItems
) -> tuple[dict[str, list[SentencePair]], dict[str, Budget]]:
    """A point's pairs, and what was drawn in each language; smaller budgets are contained in larger ones.

    Raises:
        DataError: if a language has fewer pairs than the budget.
    """
    return draw_pairs(items.pairs, budget=data.budget, seed=seed)


def draw_epochs(
    pairs: Mapping[str, Sequence[SentencePair]], mixing: MixingConfig, *, seed: int, num_epochs: int
) -> tuple[list[SentencePair], list[list[str]]]:
    """The pairs of all epochs, each once, and the ids of each epoch.

    A pair that comes twice in an epoch is two pairs with the same texts, the second one's id ending in `#2`: its masks
    are others.
    """
    known: dict[str, SentencePair] = {}
    epochs: list[list[str]] = []
    for epoch in range(num_epochs):
        drawn = mix(
            pairs,
            mixing=mixing.kind,
            exponent=mixing.exponent,
            identity=mixing.identity,
            seed=seed,
            epoch=epoch,
        )
        times: Counter[str] = Counter()
        ids = []
        for pair in drawn:
            times[pair.id] += 1
            name = pair.id if times[pair.id] == 1 else f"{pair.id}#{times[pair.id]}"
            known.setdefault(name, replace(pair, id=name))
            ids.append(name)
        epochs.append(ids)
    return list(known.values()), epochs


def load_dev(evaluation: EvaluationConfig, *, pivot: str, folder: Path) -> PairItems:
    """The pairs that are retrieved from each other, `max_items` of each language."""
    items = load_pairs(evaluation.source, languages=evaluation.languages, pivot=pivot, folder=folder, split="dev")
    chosen = {name: _sampled(each, evaluation.max_items, seed=evaluation.seed) for name, each in items.pairs.items()}
    return PairItems(chosen, items.counts)


def load_zero_shot(config: ZeroShotConfig, *, pivot: str, seed: int, folder: Path) -> ZeroShotItems:
    """The labelled pairs of a classification.

    Raises:
        DataError: naming file and line; or if a language has labels that are not in English.
    """
    train = _labelled(config.train, (pivot,), folder=folder, split="base")[pivot]
    tests = _labelled(config.source, config.languages, folder=folder, split="dev")
    known = {pair.label for pair in train}
    strange = {language: {pair.label for pair in members} - known for language, members in tests.items()}
    if any(strange.values()):
        raise DataError(
            f"{language}: label {', '.join(sorted(labels))} is not among those of the training pairs, "
            f"{', '.join(sorted(known))}"
            for language, labels in strange.items()
            if labels
        )
    return ZeroShotItems(
        _sampled(train, config.max_train, seed=seed),
        {language: _sampled(members, config.max_items, seed=seed) for language, members in tests.items()},
    )


def hash_pairs(pairs: Iterable[SentencePair | LabelledPair]) -> str:
    """SHA-256 of all that pairs hold, in their order."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps(astuple(pair), ensure_ascii=False).encode())
    return digest.hexdigest()


def _labelled(
    source: Source, languages: Sequence[str], *, folder: Path, split: str
) -> Mapping[str, Sequence[LabelledPair]]:
    if source.builtin:
        return smallworld_bitext.labelled(split, source.num_items, languages=languages)
    return read_labelled_pairs(_reference(source), languages=languages, folder=folder, codes=source.codes)


def _reference(source: Source) -> SourceRef:
    return SourceRef(path=source.path, hub=source.hub, hub_config=source.hub_config, split=source.split)


def _sampled(pairs: Sequence[Pair], count: int | None, *, seed: int) -> Sequence[Pair]:
    """A fixed sample of `count` pairs, in the order of the sample."""
    if count is None:
        return pairs
    by_id = {pair.id: pair for pair in pairs}
    return [by_id[name] for name in select(by_id, min(count, len(by_id)), seed=seed).ids]


def rows_of(ids: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """Where ids are among the known ones; one that is not known has no row."""
    place = {name: row for row, name in enumerate(known)}
    return np.array([place[name] for name in ids if name in place], dtype=np.int64)
