"""What a point of task `parallel` trains on, and what it is scored on, as windows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from raykd.data.examples import SentencePair
from raykd.models.files import MASKED_HEAD
from raykd.models.qa import load_tokenizer
from raykd.tasks.parallel.config import ParallelPoint, ParallelScored
from raykd.tasks.parallel.data import (
    PairItems,
    draw_epochs,
    hash_pairs,
    load_dev,
    load_train,
    load_zero_shot,
    rows_of,
)
from raykd.tasks.parallel.features import PairFeatures
from raykd.tasks.parallel.scoring import SentenceDevSet, sentence_dev_set
from raykd.tasks.parallel.sentences import EnglishFeatures, english_features, sentence_id
from raykd.tasks.parallel.windows import build_pair_features


@dataclass(frozen=True)
class PairTrainSet:
    """What a point trains on.

    Attributes:
        features: every pair that some epoch has.
        epochs: the indices of each epoch's pairs.
        by_student: the English sentences as a student reads them that has become the teacher.
    """

    features: PairFeatures
    epochs: tuple[np.ndarray, ...]
    by_student: EnglishFeatures
    sha256: str
    description: dict[str, Any]


def train_set(config: ParallelPoint, tokenizer: Any, items: PairItems, *, base: Path, teacher: Path) -> PairTrainSet:
    """The pairs of a point's budget, as they come in every epoch, cut as the first teacher reads them too."""
    chosen, budgets = load_train(config.data, seed=config.data_seed, items=items)
    pairs, epochs = draw_epochs(chosen, config.data.mixing, seed=config.seed, num_epochs=config.num_epochs)
    reads = load_tokenizer(str(teacher))
    features = build_pair_features(pairs, tokenizer, reads, max_length=config.data.max_length)
    stored = features.english.with_words("word" in config.levels)
    description = {
        "budgets": {language: budget.to_json() for language, budget in budgets.items()},
        "sources": dict(items.counts),
        "pairs": features.counts.to_json(),
    }
    if config.has_tlm:
        has_own = (base / MASKED_HEAD).is_file() and config.distillation.masked_head != "new"
        description["masked_head"] = "own" if has_own else "new"
    return PairTrainSet(
        _reading(features, stored, config),
        tuple(rows_of(ids, features.ids) for ids in epochs),
        _by_student(pairs, stored, tokenizer, max_length=config.data.max_length),
        hash_pairs(pairs),
        description,
    )


def dev_set(config: ParallelPoint, scored: ParallelScored, tokenizer: Any, *, folder: Path) -> SentenceDevSet:
    """The sentences of a set that a point is scored on."""
    pivot = config.data.pivot
    probes = {
        name: load_zero_shot(probe, pivot=pivot, seed=scored.seed, folder=folder)
        for name, probe in scored.zero_shot.items()
    }
    items = load_dev(scored, pivot=pivot, folder=folder)
    return sentence_dev_set(
        items, probes, tokenizer, max_length=config.data.max_length, pivot=pivot, trained=config.data.languages
    )


def _reading(features: PairFeatures, english: EnglishFeatures, config: ParallelPoint) -> PairFeatures:
    """Features that collate what the weights of a point can ask for."""
    parts = {"word"} & config.levels | ({"sentence"} if {"sentence", "structure"} & config.levels else set())
    if config.has_tlm:
        parts.add("tlm")
    return replace(features.with_parts(frozenset(parts)), english=english)


def _by_student(
    pairs: Sequence[SentencePair], english: EnglishFeatures, tokenizer: Any, *, max_length: int
) -> EnglishFeatures:
    """The sentences of `english`, in their order, as a student reads them."""
    texts = {sentence_id(pair.english): pair.english for pair in pairs}
    found = english_features([texts[name] for name in english.ids], tokenizer, max_length=max_length)
    return found.with_words(english.store_words)
