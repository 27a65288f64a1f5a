"""The sections and keys of task `tagging`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from raykd.config.base import Config, Source
from raykd.config.digest import digest, dump
from raykd.config.influence import NO_INFLUENCE, Influence
from raykd.config.point import BaseConfig, DataConfig, DistillationConfig, PointBase
from raykd.config.scored import ScoredConfig, SelectionConfig
from raykd.config.training import Batching, LabelTraining

Objective = Literal["token", "emission", "top_k", "top_wk", "posterior", "posterior_top_wk", "exact"]


def _teaches(point: Any) -> bool:
    return point.distillation.uses_teacher


def _if_objective(*names: str) -> Influence:
    """Of keys that these objectives read, and the others do not."""
    return Influence(when=lambda point: _teaches(point) and point.distillation.objective in names)


class TaggingSource(Source):
    """Where tagged sentences are: a path (tried first), a Hub id, or both.

    `{language}` in `path`, `hub_config` and `hub_files` stands for a language code.
    """

    rows: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]] | None = None
    """Only the sentences from the first number on, up to but without the second one."""


class ColumnsConfig(Config):
    """How files with a word and its tag in each line are read."""

    word: int = 0
    """Column of the word, from 0; a negative one counts from the end."""
    tag: int = -1
    """Column of the tag."""
    scheme: Literal["iob1", "iob2", "bioes", "io", "none"] | None = None
    """How tags mark chunks; `none` is one tag a word, as in part-of-speech tagging. Null detects it."""
    encode: Literal["bioes", "iob2"] = "bioes"
    """What chunks are turned into for training."""
    bad_sequences: Literal["refuse", "repair"] = "refuse"
    """What to do with a tag that cannot follow the one before it: an error, or a chunk that begins there, counted."""
    drop_types: bool = False
    """Forget the type of a chunk: the polarity of an aspect term, say."""


class HeadConfig(Config):
    """What stands on the encoder."""

    kind: Literal["crf", "softmax"] = "crf"
    """A linear-chain CRF, or every word for itself."""
    pooling: Literal["first", "mean"] = "first"
    """A word is its first piece, or the mean of its pieces."""
    lstm_size: int | None = Field(None, ge=1)
    """Hidden size, per direction, of a BiLSTM between encoder and labels; null is none."""
    freeze_encoder: bool = False
    """Train the head alone."""
    labels: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """The label set, as types of chunks (`LOC`) or tags (`B-LOC`), seen in training or not; null takes the types of the
    training data. Training data with another one is refused."""


class HeadRates(Config):
    """Learning rates of the head."""

    transition_learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate of a CRF's transitions; null is that of the head."""
    head_learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate of the head (BiLSTM and emissions); null is that of everything else."""

    def _part_rates(self) -> dict[str, float]:
        head = self.head_learning_rate
        rates = {"transitions.": self.transition_learning_rate or head, "lstm.": head, "emissions.": head}
        return {name: rate for name, rate in rates.items() if rate}


class TaggingTraining(HeadRates, Batching):
    """How students are trained."""

    @property
    def part_rates(self) -> dict[str, float]:
        return self._part_rates()


class TaggingLabelTraining(HeadRates, LabelTraining):
    """Training of teachers on labels alone."""

    source: TaggingSource
    """Labelled data: one file or configuration for each of `data.languages`."""
    teachers: Literal["one", "per_language"] = "one"
    """One teacher for all languages, or one for each, that the student's sentences are routed to."""

    @property
    def part_rates(self) -> dict[str, float]:
        return self._part_rates()


class TaggingBase(BaseConfig):
    """Generation 0: the base teacher, shared by all points that agree on this section."""

    train: TaggingLabelTraining | None = None
    """How to train teachers on labels; absent means that the model already labels words."""


class TaggingData(DataConfig):
    """The few-shot data, and how it becomes training features."""

    train: TaggingSource
    """Sentences with a tag for each word: one file or configuration for each language."""
    columns: ColumnsConfig = ColumnsConfig()
    budget: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """Sentences of each language that a point may train on; larger budgets contain smaller ones."""


class TaggingDistillation(DistillationConfig):
    """How the teacher's knowledge enters the student's loss."""

    schedules_over = "generation"

    objective: Annotated[Objective, Influence(when=_teaches)] = "posterior"
    """What the KD term compares."""
    temperature: Annotated[float, _if_objective("token", "emission", "posterior", "posterior_top_wk", "exact")] = Field(
        2.0, gt=0
    )
    """Softmax temperature T of teacher and student. The KD term is scaled by T**2."""
    path_temperature: Annotated[float, _if_objective("top_wk", "posterior_top_wk")] = Field(1.0, gt=0)
    """Softmax temperature of the weights of the teacher's paths; the paper has none, which is 1."""
    k: Annotated[int, _if_objective("top_k", "top_wk", "posterior_top_wk")] = Field(10, ge=1)
    """top_k and top_wk: the number of teacher paths."""
    combine: Annotated[Literal["mean", "sum"], _if_objective("posterior_top_wk")] = "mean"
    """posterior_top_wk: the mean of its two terms, as the paper says, or their sum, as the released code has it."""
    exact_temperature: Annotated[Literal["local", "global"], _if_objective("exact")] = "local"
    """exact: soften the teacher's pair marginals, as the released code does, or its scores."""


class TaggingScored(ScoredConfig):
    """A set that models are scored on: sentences of each language."""

    source: TaggingSource
    """Tagged sentences: one file or configuration for each language."""
    unknown_tags: Literal["refuse", "miss"] = "refuse"
    """A tag that is no label, as training lacks it: refuse it by file and line, or count it as missed."""


class TaggingSelection(TaggingScored, SelectionConfig):
    """The selection set: epochs, generations, points and configurations are chosen by their scores on it."""


class TaggingPoint(PointBase):
    """One complete configuration of task `tagging`: sequence labelling."""

    task: Literal["tagging"] = "tagging"
    """A label for every word."""
    base: TaggingBase = TaggingBase()
    head: HeadConfig = HeadConfig()
    data: TaggingData
    distillation: TaggingDistillation = TaggingDistillation()
    training: TaggingTraining = TaggingTraining()
    selection: TaggingSelection
    tests: Annotated[Mapping[str, TaggingScored], NO_INFLUENCE] = Field(default_factory=dict)
    """Name -> a test set: what a point delivers is scored on it once. Nothing is ever chosen by it."""

    @model_validator(mode="after")
    def _tagging_fits(self) -> Self:
        objective = self.distillation.objective
        if self.head.kind == "softmax" and objective not in ("token", "emission", "posterior"):
            raise ValueError(f"distillation.objective {objective} needs head.kind crf")
        if self.student.num_layers or self.student.model:
            raise ValueError("student: a tagging student starts from base.model; remove the section")
        return self

    @property
    def label_training(self) -> LabelTraining | None:
        return self.base.train

    @property
    def scored_languages(self) -> list[str] | None:
        return list(self.data.languages)

    def items_recipe(self) -> dict[str, Any]:
        return {**super().items_recipe(), "columns": dump(self.data.columns)}

    def base_recipe(self) -> dict[str, Any]:
        # The labels are those of the training data. If teachers are trained, their seed initialises the head; the rest
        # of their training has names of its own.
        found = super().base_recipe()
        found["base"]["train"] = {"seed": self.base.train.seed} if self.base.train else None
        data = dump(self.data)
        return found | {
            "head": dump(self.head),
            "labels": {name: data[name] for name in ("train", "columns", "languages")},
        }

    def first_teachers(self, base: str) -> Mapping[str, str | None]:
        train = self.base.train
        if train is None:
            return {base: None}
        recipe = {"base": base, "train": dump(train), "max_length": self.data.max_length}
        recipe |= {"precision": self.compute.precision, **self.teacher_choice_recipe()}
        languages = self.data.languages if train.teachers == "per_language" else (None,)
        return {digest({**recipe, "language": language}): language for language in languages}
