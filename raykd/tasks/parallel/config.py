"""The sections and keys of task `parallel`: multi-level distillation on parallel text."""

import math
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from raykd.config.base import Config, Schedule, Source, never_positive
from raykd.config.digest import digest, dump
from raykd.config.influence import NO_INFLUENCE, Influence
from raykd.config.point import DataConfig, DistillationConfig, PointBase
from raykd.config.scored import ScoredConfig, SelectionConfig, part_of
from raykd.config.training import Batching

Pooling = Literal["cls", "mean"]


def _teaches(point: Any) -> bool:
    return point.distillation.uses_teacher


def _compares(point: Any) -> bool:
    """Whether sentences are compared with each other in a projected space."""
    return bool({"sentence", "structure"} & point.levels)


ANY_LEVEL = Influence(when=lambda point: bool(point.levels))
OF_WORDS = Influence(when=lambda point: "word" in point.levels)
OF_STRUCTURE = Influence(when=lambda point: "structure" in point.levels)
OF_SENTENCES = Influence(when=_compares)
IF_CHOSEN = Influence(when=lambda point: point.has_tlm and point.distillation.masked_head is not None)
IF_SAMPLED = Influence(when=lambda point: point.data.mixing.kind == "sampled")


class PairSource(Source):
    """Where sentence pairs are: a path (tried first), a Hub id, or both.

    `{language}` in `path`, `hub_config` and `hub_files` stands for a language code, `{pair}` for both codes in
    the order of the alphabet (`de-en`), `{side}` for a file of one side.
    """

    codes: dict[str, str] | None = None
    """What stands for a language in file names and Hub columns where that is not its code."""


class TeacherConfig(Config):
    """The frozen English encoder that teaches generation 1. Generation 0 is the untrained student."""

    model: str = "builtin:tiny"
    """Named as `base.model` is: a model folder, `ID` or `ID@REVISION` of the Hub, ... Its tokenizer is its own."""
    pooling: Annotated[Pooling, OF_SENTENCES] = "cls"
    """Its sentence vector: that of the first token, or the mean over tokens."""


class MultilevelConfig(Config):
    """What the KD term is made of. The label term is masked language modelling (TLM)."""

    word_weight: Annotated[float, ANY_LEVEL] = Field(1.0, ge=0)
    """Weight of the contrast of masked English words in context with the teacher's words (XWCL)."""
    sentence_weight: Annotated[float, ANY_LEVEL] = Field(1.0, ge=0)
    """Weight of the distance between projected sentence vectors (SentA)."""
    structure_weight: Annotated[float, ANY_LEVEL] = Field(10.0, ge=0)
    """Weight of the divergence between similarities inside a batch (StrucA)."""
    word_similarity: Annotated[Literal["dot", "cosine"], OF_WORDS] = "dot"
    """How words are compared; released: the dot product."""
    word_temperature: Annotated[float, OF_WORDS] = Field(1.0, gt=0)
    """What their similarities are divided by; released: 1."""
    structure_temperature: Annotated[float, OF_STRUCTURE] = Field(1.0, gt=0)
    """What the cosines inside a batch are divided by; released: 1."""
    pooling: Pooling = "cls"
    """The student's sentence vector: that of the first token, or the mean over tokens."""
    norm: Annotated[Literal["batch", "layer"], OF_SENTENCES] = "batch"
    """Norm inside the projection heads; `batch` takes the rows that `relations` gives it."""
    projection_size: Annotated[int, OF_SENTENCES] = Field(128, ge=1)
    """Width in which sentences are compared."""
    relations: Annotated[Literal["gathered", "local"], OF_SENTENCES] = "gathered"
    """Which sentences are compared with each other: all of a step, or each worker's micro-batch, as released."""


class MixingConfig(Config):
    """What an epoch of parallel text consists of."""

    kind: Literal["round_robin", "sampled"] = "round_robin"
    """Every pair of every language; or as many, the languages drawn with probability ~ pairs ** exponent."""
    exponent: Annotated[float, IF_SAMPLED] = Field(0.3, ge=0, le=1)
    """sampled: 1 keeps the languages' shares, 0 makes them equal."""
    identity: bool = True
    """Add English sentences paired with themselves, one for each turn through the languages."""


class ZeroShotConfig(Config):
    """A classification of sentence pairs: a probe on frozen sentence vectors, fitted in English."""

    train: PairSource
    """English pairs that the probe is fitted on: `first<TAB>second<TAB>label`."""
    source: PairSource
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


def no_own_head(model: str) -> str:
    """What is said of a model that should have a masked-token head and has none."""
    return f"distillation.masked_head own: {model} has no masked-token head; set it to new, or remove it"


class ParallelTraining(Batching):
    """How students are trained."""

    head_learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate of the heads that begin at random; null is that of everything else. The masked-token head that
    a model came with learns as its encoder does."""

    @property
    def part_rates(self) -> dict[str, float]:
        heads = ("mlm.", "sentence_heads.", "structure_heads.", "width.")
        return dict.fromkeys(heads, self.head_learning_rate) if self.head_learning_rate else {}


class ParallelData(DataConfig):
    """The few-shot data, and how it becomes training features."""

    train: PairSource
    """English sentences with their translations: one file or configuration for each language, or with `{side}` in a
    path a file for each side."""
    mixing: MixingConfig = MixingConfig()
    languages: Annotated[tuple[str, ...], Field(min_length=1)] = ("es", "de", "ar", "vi", "hi", "zh")
    """The languages that are paired with English."""
    pivot: str = "en"
    """The language that all pairs have in common: the teacher's."""
    budget: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """Sentence pairs of each language that a point may train on; larger budgets contain smaller ones."""


class ParallelDistillation(DistillationConfig):
    """How the teacher's knowledge enters the student's loss."""

    masked_head: Annotated[Literal["own", "new"] | None, IF_CHOSEN] = None
    """What predicts masked tokens (TLM): the head that base.model came with, or a random one. null: its own if it has
    one."""
    multilevel: MultilevelConfig = MultilevelConfig()
    signals: Annotated[Literal["stored", "live"], Influence(when=_teaches)] = "stored"
    """Teacher outputs are computed once and stored, or again in every step."""

    @property
    def reads_live(self) -> bool:
        return self.signals == "live"


class ParallelScored(ScoredConfig):
    """A set that encoders are scored on: retrieval of translations, and classification of sentence pairs."""

    source: PairSource
    """The pairs that are retrieved from each other."""
    languages: Annotated[tuple[str, ...], Field(min_length=1)] = ("es", "de", "ar", "vi", "hi", "zh")
    """Languages that are paired with English; those that are not trained on are zero-shot."""
    zero_shot: dict[str, ZeroShotConfig] = Field(default_factory=dict)
    """Name -> a classification that is scored at the end of the lineage."""

    def part(self, low: float, high: float) -> Self:
        """The same part of what classifications are scored on."""
        cut = {
            name: probe.model_copy(update={"source": part_of(probe.source, low, high, self.seed)})
            for name, probe in self.zero_shot.items()
        }
        return super().part(low, high).model_copy(update={"zero_shot": cut})


class ParallelSelection(ParallelScored, SelectionConfig):
    """The selection set: epochs, generations, points and configurations are chosen by their scores on it."""


class ParallelPoint(PointBase):
    """One complete configuration of task `parallel`."""

    task: Literal["parallel"] = "parallel"
    """An encoder whose vectors match the teacher's English vectors."""
    teacher: Annotated[TeacherConfig, Influence(when=_teaches)] = TeacherConfig()
    data: ParallelData
    distillation: ParallelDistillation = ParallelDistillation()
    training: ParallelTraining = ParallelTraining()
    selection: ParallelSelection
    tests: Annotated[Mapping[str, ParallelScored], NO_INFLUENCE] = Field(default_factory=dict)
    """Name -> a test set: what a point delivers is scored on it once. Nothing is ever chosen by it."""

    @model_validator(mode="after")
    def _parallel_fits(self) -> Self:
        multilevel, pivot = self.distillation.multilevel, self.data.pivot
        if pivot in self.data.languages:
            raise ValueError(f"data.languages and selection.languages are paired with {pivot}: remove it from them")
        if self.student.num_layers or self.student.model or self.student.new_head:
            raise ValueError(
                "student: a student of task parallel starts from base.model, of which it may trim the vocabulary; "
                "remove the other keys"
            )
        if self.distillation.uses_teacher and not self.levels:
            raise ValueError("distillation.multilevel: all weights are 0: nothing to distil; set kd_weight: 0")
        label_weight, kd_weight = self.distillation.weights
        if never_positive(label_weight) and isinstance(kd_weight, Schedule) and 0 in (kd_weight.start, kd_weight.end):
            raise ValueError(
                "distillation: with label_weight 0 there is no loss where kd_weight is 0; start and end it above 0"
            )
        if self.needs_own_head and self.base.model.startswith("builtin:"):
            raise ValueError(no_own_head(self.base.model))
        if self.lineage.teacher == "ensemble" or self.lineage.keep_first_teachers:
            raise ValueError("lineage: task parallel has one teacher at a time, not an ensemble or kept first teachers")
        if self.selection.epoch_max_items == 0:
            raise ValueError("selection.epoch_max_items is 0; task parallel checks them for collapse: set it above 0")
        builtin = self.teacher.model.startswith("builtin:") and not self.base.model.startswith("builtin:")
        if self.distillation.uses_teacher and builtin:
            raise ValueError(
                f"teacher.model is {self.teacher.model}, random weights for the built-in world, and base.model "
                f"{self.base.model}: set teacher.model to an English encoder, or kd_weight to 0"
            )
        tests = {f"tests.{name}": scored for name, scored in self.tests.items()}
        for where, scored in {"selection": self.selection, **tests}.items():
            if pivot in scored.languages:
                raise ValueError(f"data.languages and {where}.languages are paired with {pivot}: remove it from them")
            if taken := taken_names(scored.zero_shot, pivot=pivot):
                raise ValueError(f"{where}.zero_shot: these names are taken: {', '.join(taken)}; choose other names")
        if {"sentence", "structure"} & self.levels and multilevel.relations == "gathered":
            self._one_micro_batch()
        return self

    def _one_micro_batch(self) -> None:
        training, num_workers = self.training, self.compute.min_workers
        if training.examples_per_step:
            # A step is shared out evenly if fewer micro-batches than there are workers hold it.
            at_once = math.ceil(training.examples_per_step / max(num_workers - 1, 1))
            # A single pair is taken whatever its length.
            needed = at_once * self.data.max_length if at_once > 1 else 0
        else:
            needed = training.tokens_per_step or 0
        if training.micro_batch_examples or training.micro_batch_tokens < needed:
            raise ValueError(
                "distillation.multilevel.relations gathered compares all sentences of a step, so each worker takes its "
                f"share at once: training.micro_batch_tokens at least {needed} (it is {training.micro_batch_tokens}), "
                "no micro_batch_examples; or relations: local"
            )

    @property
    def has_tlm(self) -> bool:
        """Whether the label term, masked tokens, can ever count."""
        return not never_positive(self.distillation.weights[0])

    @property
    def needs_own_head(self) -> bool:
        """Whether the given model must have a masked-token head."""
        return self.has_tlm and self.distillation.masked_head == "own"

    @property
    def levels(self) -> frozenset[str]:
        """The parts of the KD term that count."""
        weights = self.distillation.multilevel
        if not self.distillation.uses_teacher:
            return frozenset()
        return frozenset(name for name in ("word", "sentence", "structure") if getattr(weights, f"{name}_weight"))

    def given_teachers(self, base: str) -> Mapping[str, str]:
        return dict.fromkeys(self.first_teachers(base), self.teacher.model) if self.distillation.uses_teacher else {}

    @property
    def trained_languages(self) -> tuple[str, ...]:
        return self.data.pivot, *self.data.languages

    @property
    def scored_languages(self) -> list[str] | None:
        return list(self.trained_languages)

    @property
    def examples_per_item(self) -> int:
        return len(self.data.languages) + self.data.mixing.identity

    def items_recipe(self) -> dict[str, Any]:
        return {**super().items_recipe(), "pivot": self.data.pivot}

    def train_recipe(self) -> dict[str, Any]:
        # The pairs of every epoch are drawn, and the inputs of those terms alone are collated that count.
        drawn = {"seed": self.seed, "epochs": self.num_epochs}
        masked_head = self.distillation.masked_head if self.has_tlm else None
        needs = {"levels": sorted(self.levels), "tlm": self.has_tlm, "masked_head": masked_head}
        return {**super().train_recipe(), "drawn": drawn, **needs}

    def base_recipe(self) -> dict[str, Any]:
        return {**super().base_recipe(), "pooling": self.distillation.multilevel.pooling}

    def first_teachers(self, base: str) -> Mapping[str, str | None]:
        return {digest({"teacher": dump(self.teacher)}): None} if self.distillation.uses_teacher else {base: None}

    def generation_zero(self, base: str) -> Mapping[str, str | None]:
        return {base: None}

    def signal_options(self) -> dict[str, Any]:
        return {**super().signal_options(), "words": "word" in self.levels}
