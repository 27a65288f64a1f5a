"""The sentence pairs of the parallel task: files, the built-in world, budgets, epochs, what encoders are scored on."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

import numpy as np

from raykd.data import smallworld_bitext
from raykd.data.bitext import read_labelled_pairs, read_pairs
from raykd.data.budgets import Budget, select
from raykd.data.examples import LabelledPair, SentencePair
from raykd.data.mixing import draw_pairs, mix
from raykd.data.shares import in_part
from raykd.errors import DataError
from raykd.tasks.parallel.config import (
    MixingConfig,
    PairSource,
    ParallelData,
    ParallelPoint,
    ParallelScored,
    ZeroShotConfig,
)
from raykd.tasks.readers import PIECES_PER_WORD, reference, source_name
from raykd.tasks.sizes import Content, Items, Keys, TextSizes
from raykd.tasks.task import Places, ScoredSet, TrainSet

Pair = TypeVar("Pair", SentencePair, LabelledPair)
_BUILTIN_PIVOT = "en"


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

    def all(self) -> list[LabelledPair]:
        """Those that the probe is fitted on, then those of all languages."""
        return [*self.train, *chain.from_iterable(self.tests.values())]


def load_pairs(source: PairSource, *, languages: Sequence[str], pivot: str, folder: Path, split: str) -> PairItems:
    """The pairs of a source in some languages.

    Args:
        split: of the built-in world.

    Raises:
        DataError: naming file and line, all that is wrong at once.
    """
    if source.builtin:
        if pivot != _BUILTIN_PIVOT:
            raise DataError(f"small world: data.pivot: got {pivot!r}; its pairs are with {_BUILTIN_PIVOT}")
        made = smallworld_bitext.pairs(split, source.builtin_items, languages=languages)
        return PairItems(_part(made, source, key=lambda pair: pair.english), {})
    found = read_pairs(reference(source), languages=languages, folder=folder, codes=source.codes, pivot=pivot)
    pairs = {language: each.pairs for language, each in found.items()}
    counts = {language: each.to_json() for language, each in found.items()}
    return PairItems(_part(pairs, source, key=lambda pair: pair.english), counts)


def _part(
    pairs: Mapping[str, Sequence[Pair]], source: PairSource, *, key: Callable[[Pair], str]
) -> Mapping[str, Sequence[Pair]]:
    """The share of a source. Pairs with one text lie in one part, in every language."""
    if source.share is None:
        return pairs
    kept = {name: in_part(each, source.share, seed=source.share_seed, key=key) for name, each in pairs.items()}
    if empty := [language for language, members in kept.items() if not members]:
        where, counts = source_name(source), [len(pairs[name]) for name in empty]
        raise DataError(f"{where}: share {list(source.share)} holds none of the {counts} of {', '.join(empty)}")
    return kept


def load_items(data: ParallelData, *, folder: Path) -> PairItems:
    """All pairs that budgets are drawn from."""
    return load_pairs(data.train, languages=data.languages, pivot=data.pivot, folder=folder, split="train")


def load_train(
    data: ParallelData, *, seed: int, items: PairItems
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


def load_dev(scored: ParallelScored, *, pivot: str, folder: Path) -> PairItems:
    """The pairs that are retrieved from each other, `max_items` of each language."""
    items = load_pairs(scored.source, languages=scored.languages, pivot=pivot, folder=folder, split="dev")
    chosen = {name: _sampled(each, scored.max_items, seed=scored.seed) for name, each in items.pairs.items()}
    return PairItems(chosen, items.counts)


def load_zero_shot(config: ZeroShotConfig, *, pivot: str, seed: int, folder: Path) -> ZeroShotItems:
    """The labelled pairs of a classification.

    Raises:
        DataError: naming file and line: if a label is not among those of the pairs that the probe is fitted on; or if a
            sample of these holds too few of them.
    """
    known = _labelled(config.train, (pivot,), folder=folder, split="base")[pivot]
    tests = _labelled(config.source, config.languages, folder=folder, split="dev")
    labels = {pair.label for pair in known}
    strange = [pair for members in tests.values() for pair in _first_of_labels(members) if pair.label not in labels]
    if strange:
        allowed = f"the probe knows only {', '.join(sorted(labels))}; correct the label, or add training pairs with it"
        raise DataError(f"{_place_of(pair, config.source)}: label {pair.label!r}: {allowed}" for pair in strange)
    train = _sampled(known, config.max_train, seed=seed)
    tests = {language: _sampled(members, config.max_items, seed=seed) for language, members in tests.items()}
    _refuse_too_few(train, chain.from_iterable(tests.values()), where=config.train.path or "small world")
    return ZeroShotItems(train, tests)


def _refuse_too_few(train: Sequence[LabelledPair], tests: Iterable[LabelledPair], *, where: str) -> None:
    """Refuse pairs that no probe can be fitted on: it needs two first sentences, two labels, and all that it meets."""
    labels, met = {pair.label for pair in train}, {pair.label for pair in tests}
    wrong = []
    if len({pair.first for pair in train}) < 2:
        wrong.append("one first sentence; two are needed")
    if len(labels) < 2 or met - labels:
        needed = ", ".join(sorted(met)) if met - labels else "two or more"
        wrong.append(f"the labels {', '.join(sorted(labels))}; needed: {needed}")
    if wrong:
        found = f"the {len(train)} pairs to fit a probe on have {', and '.join(wrong)}"
        raise DataError(f"{where}: {found}; raise max_train, or num_items of built-in data")


def _first_of_labels(pairs: Iterable[LabelledPair]) -> Iterable[LabelledPair]:
    """The first pair of each label."""
    first: dict[str, LabelledPair] = {}
    for pair in pairs:
        first.setdefault(pair.label, pair)
    return first.values()


def _place_of(pair: LabelledPair, source: PairSource) -> str:
    """File and line of a pair; of the built-in world, its id."""
    if source.builtin:
        return pair.id
    code = (source.codes or {}).get(pair.language, pair.language)
    # Ids count the lines of a file from 0.
    return f"{reference(source).describe(language=code)}: line {int(pair.id.rpartition(':')[2]) + 1}"


def keys_of(pairs: Iterable[SentencePair], source: PairSource) -> Keys:
    """Source and id -> language -> both texts: ids count the pairs of a file."""
    where = source_name(source)
    return {f"{where} {pair.id}": {pair.language: f"{pair.english}\t{pair.other}"} for pair in pairs}


def hash_pairs(pairs: Iterable[SentencePair | LabelledPair]) -> str:
    """SHA-256 of all that pairs hold, in their order."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(json.dumps(astuple(pair), ensure_ascii=False).encode())
    return digest.hexdigest()


def _labelled(
    source: PairSource, languages: Sequence[str], *, folder: Path, split: str
) -> Mapping[str, Sequence[LabelledPair]]:
    found: Mapping[str, Sequence[LabelledPair]]
    if source.builtin:
        found = smallworld_bitext.labelled(split, source.builtin_items, languages=languages)
    else:
        found = read_labelled_pairs(reference(source), languages=languages, folder=folder, codes=source.codes)
    return _part(found, source, key=lambda pair: pair.first)


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


class ParallelReader:
    """See `raykd.tasks.task.TaskData`."""

    def items(self, config: ParallelPoint, *, folder: Path) -> Items:
        found = load_items(config.data, folder=folder)
        pairs = found.all()
        english = {pair.english: len(pair.english.split()) for pair in pairs}
        other = fmean(len(pair.other.split()) for pair in pairs)
        tokens = 3 + PIECES_PER_WORD * (fmean(english[pair.english] for pair in pairs) + other)
        texts = TextSizes(tokens=tokens, words=fmean(english.values()), distinct=len(english) / len(pairs))
        count = min(map(len, found.pairs.values()))
        return Items(found, count, hash_pairs(pairs), texts, lambda: keys_of(pairs, config.data.train))

    def texts(self, config: ParallelPoint, items: PairItems) -> Mapping[str, Sequence[str]]:
        found = {language: [pair.other for pair in members] for language, members in items.pairs.items()}
        return {config.data.pivot: list(dict.fromkeys(pair.english for pair in items.all())), **found}

    def draw(self, config: ParallelPoint, items: PairItems) -> None:
        load_train(config.data, seed=config.data_seed, items=items)

    def content(
        self, config: ParallelPoint, scored: ParallelScored, items: PairItems | None, *, folder: Path
    ) -> Content:
        pivot, seed, probes = config.data.pivot, scored.seed, scored.zero_shot.values()
        readings: list[Callable[[], Any]] = [partial(load_dev, scored, pivot=pivot, folder=folder)]
        readings += [partial(load_zero_shot, each, seed=seed, pivot=pivot, folder=folder) for each in probes]
        found: list[SentencePair | LabelledPair] = []
        problems: dict[str, None] = {}
        for read in readings:
            try:
                found += read().all()
            except DataError as error:
                problems.update(dict.fromkeys(error.problems))
        if problems:
            raise DataError(problems)
        retrieved = [pair for pair in found if isinstance(pair, SentencePair)]

        def keys() -> Keys:
            asked = {
                f"{source_name(probe.source)} {pair.id}": {pair.language: f"{pair.first}\t{pair.second}"}
                for probe in probes
                for pairs in load_zero_shot(probe, pivot=pivot, seed=seed, folder=folder).tests.values()
                for pair in pairs
            }
            return {**keys_of(retrieved, scored.source), **asked}

        return Content(len(found), hash_pairs(found), keys)

    def check_models(self, configs: Sequence[ParallelPoint], *, locate: Callable[[str], str]) -> None:
        """Tokenizers and sizes of vectors of the models that are folders here."""
        if any(not name.startswith("builtin:") for each in configs for name in (each.base.model, each.teacher.model)):
            # Only this needs torch; other plans do not wait for it.
            from raykd.tasks.parallel.checks import check_models

            check_models(configs, locate=locate)

    def signal_bytes(self, config: ParallelPoint, texts: TextSizes, *, tokens: float, width: int) -> float:
        # Examples that are no pairs are an English sentence beside itself.
        pairs = len(config.data.languages) / config.examples_per_item
        return pairs * texts.distinct * (1 + texts.words * ("word" in config.levels)) * width * 2  # float16

    def train_set(self, config: ParallelPoint, tokenizer: Any, *, items: PairItems, places: Places) -> TrainSet:
        from raykd.tasks.parallel.sets import train_set

        return train_set(config, tokenizer, items, base=places.base, teacher=places.teacher)

    def scored_set(self, config: ParallelPoint, scored: ParallelScored, tokenizer: Any, *, places: Places) -> ScoredSet:
        from raykd.tasks.parallel.sets import dev_set

        return dev_set(config, scored, tokenizer, folder=places.folder)
