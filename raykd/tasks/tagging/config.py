"""The sections and keys of task `tagging`."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from raykd.config.base import Config, Source
from raykd.config.digest import digest, dump
from raykd.config.influence import NO_INFLUENCE, Influence
from raykd.config.point import BaseConfig, DataConfig, DistillationConfig, PointBase
from raykd.config.scored import ScoredConfig, SelectionConfig
from raykd.config.training import BUDGET, Batching, Budget, LabelTraining
from raykd.config.unlabelled import REST, Rest, UnlabelledConfig, UnlabelledKeys

OTHERS = "others"
"""In the place of a language: all that have no teacher of their own."""

GivenTeachers = dict[str, str] | tuple[str, ...]
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

    source: TaggingSource | Budget
    """Labelled data: one file or configuration for each of `data.languages`. Or `budget`: the labelled sentences of the
    point, which is the honest choice where labels are few."""
    ensemble: int = Field(1, ge=1)
    """So many teachers in place of each, with seeds from `seed` on; a student learns from all. The first one is scored
    as generation 0."""
    teachers: Literal["one", "per_language"] = "one"
    """One teacher for all languages, or one for each, that the student's sentences are routed to."""

    @property
    def part_rates(self) -> dict[str, float]:
        return self._part_rates()


class TaggingBase(BaseConfig):
    """Generation 0: the base teacher, shared by all points that agree on this section."""

    train: TaggingLabelTraining | None = None
    """How to train teachers on labels; absent means that the model already labels words."""


class TaggingUnlabelled(UnlabelledConfig):
    """Sentences that students learn from by their teachers alone."""

    source: TaggingSource | Rest = REST
    """Where they are: a file for each language as of `data.train` (tags are not read), or with the suffix `.txt` and a
    sentence in each line, its words separated by spaces; or `rest`: the sentences of `data.train` outside of the
    budget."""


class TaggingData(UnlabelledKeys, DataConfig):
    """The few-shot data, and how it becomes training features."""

    train: TaggingSource
    """Sentences with a tag for each word: one file or configuration for each language."""
    columns: ColumnsConfig = ColumnsConfig()
    budget: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """Sentences of each language that a point may train on; larger budgets contain smaller ones."""
    unlabelled: Annotated[TaggingUnlabelled | None, Influence(when=lambda point: point.unlabelled is not None)] = None
    """Sentences without tags to distil on, beside those of the budget; null is none."""


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


def given_names(teachers: GivenTeachers) -> tuple[str, ...]:
    """The models that are named."""
    return tuple(teachers.values() if isinstance(teachers, Mapping) else teachers)


class TaggingPoint(PointBase):
    """One complete configuration of task `tagging`: sequence labelling."""

    task: Literal["tagging"] = "tagging"
    """A label for every word."""
    base: TaggingBase = TaggingBase()
    teachers: Annotated[GivenTeachers, Influence(when=_teaches)] = Field(default_factory=dict)
    """Models that label words, with one label set, to teach generation 1: by language, with `others` for all languages
    that are not named, or a list of which each teaches all. A language without one has its labels alone. Students then
    start from base.model with a new head."""
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
        if self.teachers and self.base.train is not None:
            raise ValueError("teachers and base.train exclude each other: teachers are given, or trained on labels")
        if isinstance(self.teachers, Mapping) and self.teachers:
            self._teachers_know_languages(self.teachers)
        strange = [name for name in self.unlabelled_languages if name not in self.data.languages]
        if strange and self.base.train is not None and self.base.train.teachers == "per_language":
            raise ValueError(
                f"data.unlabelled.languages: no teacher knows {', '.join(strange)}, as base.train.teachers is "
                "per_language; set it to one, or remove these languages"
            )
        return self

    def _teachers_know_languages(self, teachers: Mapping[str, str]) -> None:
        allowed = (*self.data.languages, *self.without_labels, OTHERS)
        if len({*teachers.values()}) < len(teachers):
            raise ValueError(f"teachers: a model is named for several languages; use `{OTHERS}`, or a list for all")
        if strange := [name for name in teachers if name not in allowed]:
            raise ValueError(f"teachers: {', '.join(strange)}: not trained on; it is one of {', '.join(allowed)}")
        missing = [name for name in self.unlabelled_languages if name not in teachers and OTHERS not in teachers]
        if missing:
            raise ValueError(
                f"data.unlabelled.languages: no teacher knows {', '.join(missing)}; name one under teachers, or "
                f"`{OTHERS}`, or remove these languages"
            )

    @property
    def unlabelled(self) -> TaggingUnlabelled | None:
        return self.data.unlabelled if self.distillation.uses_teacher else None

    @property
    def read_unlabelled(self) -> TaggingUnlabelled | None:
        needed = self.distillation.uses_teacher or self.student.vocabulary is not None
        return self.data.unlabelled if needed else None

    @property
    def unlabelled_per_labelled(self) -> float | None:
        return self.data.unlabelled_per_labelled

    @property
    def label_training(self) -> LabelTraining | None:
        return self.base.train

    @property
    def scored_languages(self) -> list[str] | None:
        return [*self.data.languages, *(f"{name} without labels" for name in self.without_labels)]

    @property
    def without_labels(self) -> tuple[str, ...]:
        """Languages that the file trains on without labels alone, also of a point that does not."""
        section = self.data.unlabelled
        every = (section.languages or ()) if section is not None else ()
        return tuple(name for name in every if name not in self.data.languages)

    def items_recipe(self) -> dict[str, Any]:
        return {**super().items_recipe(), "columns": dump(self.data.columns)}

    def base_recipe(self) -> dict[str, Any]:
        # The labels are those of the training data. If teachers are trained, their seed initialises the head; the rest
        # of their training has names of its own.
        found = super().base_recipe()
        found["base"]["train"] = {"seed": self.base.train.seed} if self.base.train else None
        data = dump(self.data)
        if self.teachers:
            found["new_head"] = True
        return found | {
            "head": dump(self.head),
            "labels": {name: data[name] for name in ("train", "columns", "languages")},
        }

    def first_teachers(self, base: str) -> Mapping[str, str | None]:
        train = self.base.train
        if isinstance(self.teachers, Mapping) and self.teachers:
            return {self._given(name): language for language, name in self.teachers.items()}
        if self.teachers:
            return {self._given(name): None for name in self.teachers}
        if train is None:
            return {base: None}
        return {
            digest(recipe): language
            for language in (self.data.languages if train.teachers == "per_language" else (None,))
            for recipe in self._teacher_recipes(base, train, language)
        }

    def given_teachers(self, base: str) -> Mapping[str, str]:
        return {self._given(name): name for name in given_names(self.teachers)}

    def _given(self, name: str) -> str:
        return digest({"task": self.task, "teacher": name})

    def generation_zero(self, base: str) -> Mapping[str, str | None]:
        # Of an ensemble the first one.
        first: dict[str | None, str] = {}
        for name, language in self.first_teachers(base).items():
            first.setdefault(language, name)
        return {name: language for language, name in first.items()}

    def label_seed(self, base: str, teacher: str) -> int:
        """The seed that a first teacher is trained by."""
        assert self.base.train is not None, "asked for where a teacher is trained"
        return self.base.train.seed + list(self.first_teachers(base)).index(teacher) % self.base.train.ensemble

    def _teacher_recipes(
        self, base: str, train: TaggingLabelTraining, language: str | None
    ) -> Iterator[dict[str, Any]]:
        # Teachers are the same in a larger ensemble.
        training = {name: value for name, value in dump(train).items() if name != "ensemble"}
        recipe: dict[str, Any] = {"base": base, "train": training, "max_length": self.data.max_length}
        recipe |= {"precision": self.compute.precision, **self.teacher_choice_recipe(), "language": language}
        if train.source == BUDGET:
            recipe["budget"] = self.budget_recipe()
        for member in range(train.ensemble):
            yield recipe if not member else {**recipe, "member": member}

    def budget_recipe(self) -> dict[str, Any]:
        names = ("train", "columns", "languages", "budget")
        return {"data": {name: dump(self.data)[name] for name in names}, "seed": self.data_seed}
