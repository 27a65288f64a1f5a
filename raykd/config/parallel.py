"""The sections that only multi-level distillation on parallel text needs: its teacher, its objectives, its data."""

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field

from raykd.config.base import Config, Source

Pooling = Literal["cls", "mean"]


class TeacherConfig(Config):
    """The frozen English encoder that teaches generation 1; task parallel. Generation 0 is the untrained student."""

    model: str = "builtin:tiny"
    """A model folder, a Hub id, `package:NAME/FOLDER`, `RESULTS#POINT`, or `builtin:tiny`. Its tokenizer is its own."""
    pooling: Pooling = "cls"
    """Its sentence vector: that of the first token, or the mean over tokens."""


class MultilevelConfig(Config):
    """What the KD term is made of; task parallel. The label term is masked language modelling (TLM)."""

    word_weight: float = Field(1.0, ge=0)
    """Weight of the contrast of masked English words in context with the teacher's words (XWCL)."""
    sentence_weight: float = Field(1.0, ge=0)
    """Weight of the distance between projected sentence vectors (SentA)."""
    structure_weight: float = Field(10.0, ge=0)
    """Weight of the divergence between similarities inside a batch (StrucA)."""
    word_similarity: Literal["dot", "cosine"] = "dot"
    """How words are compared; released: the dot product."""
    word_temperature: float = Field(1.0, gt=0)
    """What their similarities are divided by; released: 1."""
    structure_temperature: float = Field(1.0, gt=0)
    """What the cosines inside a batch are divided by; released: 1."""
    pooling: Pooling = "cls"
    """The student's sentence vector: that of the first token, or the mean over tokens."""
    norm: Literal["batch", "layer"] = "batch"
    """Norm inside the projection heads; `batch` takes the rows that `relations` gives it."""
    projection_size: int = Field(128, ge=1)
    """Width in which sentences are compared."""
    relations: Literal["gathered", "local"] = "gathered"
    """Which sentences are compared with each other: all of a step, or each worker's micro-batch, as released."""


class MixingConfig(Config):
    """What an epoch of parallel text consists of; task parallel."""

    kind: Literal["round_robin", "sampled"] = "round_robin"
    """Every pair of every language; or as many, the languages drawn with probability ~ pairs ** exponent."""
    exponent: float = Field(0.3, ge=0, le=1)
    """sampled: 1 keeps the languages' shares, 0 makes them equal."""
    identity: bool = True
    """Add English sentences paired with themselves, one for each turn through the languages."""


class ZeroShotConfig(Config):
    """A classification of sentence pairs: a probe on frozen sentence vectors, fitted in English."""

    train: Source
    """English pairs that the probe is fitted on: `first<TAB>second<TAB>label`."""
    source: Source
    """The pairs that it is scored on, a file for each language."""
    languages: Annotated[tuple[str, ...], Field(min_length=1)]
    """Languages of `source`."""
    max_train: int | None = Field(None, ge=2)
    """A fixed sample of so many pairs to fit on; null takes all."""
    max_items: int | None = Field(None, ge=1)
    """A fixed sample of so many pairs of each language; null scores all."""


_RESULT = ("main", "metric", "columns", "cells", "probes", "watched", "effective_rank")
"""What scores hold beside retrieval and classifications."""


def taken_names(names: Collection[str], *, pivot: str) -> list[str]:
    """Names of classifications under which their scores would hide others."""
    fixed = {*_RESULT, "retrieval", "zero_shot_retrieval", *(f"{name}_{pivot}" for name in names)}
    return sorted(name for name in names if name in fixed or name.startswith("retrieval_"))
