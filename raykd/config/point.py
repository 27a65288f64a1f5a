"""The sections that every point has, whatever its task: they determine what is trained and how it is scored.

A task extends them by keys of its own, see `raykd.tasks`.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from raykd.config.base import Config, Schedule, Source, Weight, never_positive
from raykd.config.digest import dump
from raykd.config.influence import NO_INFLUENCE, Influence
from raykd.config.scored import HELD_OUT, Languages, ScoredConfig, SelectionConfig
from raykd.config.training import Batching, LabelTraining
from raykd.config.unlabelled import UnlabelledConfig

Workers = Annotated[int, Field(ge=1)]


class BaseConfig(Config):
    """Generation 0: the base teacher, shared by all points that agree on this section."""

    model: str = "builtin:tiny"
    """A model folder, a Hub id (`ID@REVISION` for a branch, tag or commit of it), a folder in a Python package
    (`package:NAME/FOLDER`), `RESULTS#POINT` for what a point of another sweep delivered (its label, id, method or
    `best`), or `builtin:tiny`: a small random BERT over the built-in world's tokenizer."""


class VocabularyConfig(Config):
    """Which pieces of its tokenizer a student keeps; text that has only these is read as before, by smaller tables."""

    texts: Source | Literal["data"] = "data"
    """The texts whose pieces are kept: those of `data`, labelled or not, or plain text, a file for each language.
    Special tokens and single characters of these texts are always kept."""
    max_pieces: int | None = Field(None, ge=1)
    """Keep the so many most frequent pieces of each language; null keeps all that occur."""


class StudentConfig(Config):
    """The first student, where it is not simply generation 0."""

    model: str | None = None
    """Another model to start the student from, named as `base.model` is, with whatever tokenizer."""
    num_layers: int | None = Field(None, ge=1)
    """Keep so many of its layers; null keeps them all."""
    layers: Annotated[
        Literal["spaced", "first"], Influence(when=lambda point: point.student.num_layers is not None)
    ] = "spaced"
    """Which ones: evenly spaced, the first and the last among them, or the first ones."""
    new_head: bool = False
    """Begin with a randomly re-initialised head, by the seed of the point; else with that of the model, if it has
    one."""
    vocabulary: VocabularyConfig | None = None
    """Keep only a part of the tokenizer's pieces; null keeps them all."""


class DataConfig(Config):
    """The few-shot data, and how it becomes training features."""

    train: Source
    """The items that budgets are drawn from."""
    languages: Languages = ("en", "es", "de", "ar", "vi", "hi", "zh")
    """The languages that training may use."""
    budget: Annotated[int, Field(ge=1)] | Literal["all"] = "all"
    """Items that a point may train on; larger budgets contain smaller ones."""
    seed: Annotated[int | None, Influence(value=lambda point: point.data_seed)] = None
    """Seed of budget and language draws; null takes the point's seed."""
    max_length: int = Field(384, ge=16)
    """Tokens of a feature at the most."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.languages)) != len(self.languages):
            raise ValueError("a language is listed twice")
        return self


class LineageConfig(Config):
    """The chain of generations."""

    num_generations: int = Field(3, ge=1)
    """Teacher -> student trainings after generation 0."""
    epochs_per_generation: int = Field(1, ge=1)
    """Epochs of each."""
    student_init: Literal["previous", "teacher", "base"] = "previous"
    """What a student starts from: itself (it trains on, with optimiser and schedule); its teacher; generation 0."""
    teacher: Annotated[
        Literal["snapshot", "best", "ensemble", "fixed"], Influence(when=lambda point: point.asks_for_teachers)
    ] = "snapshot"
    """The student of the last generation; its best epoch so far; the mean logits of all generations; generation 0."""
    min_delta: float | None = Field(None, ge=0)
    """Gate: a student becomes teacher only if its score rose by so many points; null always promotes."""
    patience: Annotated[int, Influence(when=lambda point: point.lineage.min_delta is not None)] = Field(1, ge=1)
    """With min_delta: stop the lineage after so many generations in a row without promotion."""
    deliver: Annotated[Literal["best", "last"] | None, Influence(value=lambda point: point.delivers)] = None
    """What the lineage delivers: the student after its best epoch on the selection set (of equal ones the first), or
    after the last epoch. Null is best where epochs are scored."""
    keep: Annotated[Literal["none", "delivered", "all"], NO_INFLUENCE] = "delivered"
    """Weights that stay on disk when the lineage has ended: none, what it delivered, or every generation's too."""
    keep_first_teachers: bool = False
    """Generation 0's teachers also teach later students, together with the one that `teacher` names."""


def _teaches(point: Any) -> bool:
    return bool(point.distillation.uses_teacher)


class DistillationConfig(Config):
    """How the teacher's knowledge enters the student's loss."""

    schedules_over: ClassVar[Literal["generation", "lineage"]] = "lineage"
    """What schedules run over that do not say it."""

    label_weight: Annotated[
        Weight,
        Influence(
            when=lambda point: point.distillation.kd_share is None or not _teaches(point),
            value=lambda point: point.distillation.weights[0],
        ),
    ] = Field(1.0)
    """Weight of the label term (cross-entropy)."""
    kd_weight: Annotated[
        Weight, Influence(when=lambda point: point.distillation.kd_share is None and _teaches(point))
    ] = Field(1.0)
    """Weight of the KD term. The label term has its own weight: G-XLT keeps both at 1."""
    kd_share: Annotated[
        Annotated[float, Field(ge=0, le=1)] | Schedule | None,
        Influence(when=lambda point: point.distillation.kd_share is not None and _teaches(point)),
    ] = None
    """Replaces both weights: this is the weight of the KD term, 1 minus it that of the label term. Structure-level
    distillation moves it from 1 to 0."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if isinstance(self.kd_share, Schedule) and max(self.kd_share.start, self.kd_share.end) > 1:
            raise ValueError("kd_share: must be at most 1")
        if all(map(never_positive, self.weights)):
            raise ValueError("label_weight and kd_weight are both 0: nothing would be trained")
        return self

    @property
    def weights(self) -> tuple[Weight, Weight]:
        """Of the label term and of the KD term; of schedules it is known what they run over."""
        share = self.kd_share
        if share is None:
            return self._settled(self.label_weight), self._settled(self.kd_weight)
        if isinstance(share, Schedule):
            rest = share.model_copy(update={"start": 1 - share.start, "end": 1 - share.end})
            return self._settled(rest), self._settled(share)
        return 1 - share, share

    def _settled(self, weight: Weight) -> Weight:
        if isinstance(weight, Schedule) and weight.over is None:
            return weight.model_copy(update={"over": self.schedules_over})
        return weight

    @property
    def uses_teacher(self) -> bool:
        """Whether the KD term can ever count."""
        return not never_positive(self.weights[1])

    @property
    def reads_live(self) -> bool:
        """Whether teachers read every batch again, in place of signals that are computed once and stored."""
        return False


class ComputeConfig(Config):
    """Where and in which arithmetic a point runs."""

    num_workers: Workers | tuple[Workers, Workers] = 1
    """Training workers; `[2, 8]` uses as many as the cluster has room for, and continues with fewer or more when nodes
    leave or join."""
    zero_stage: Literal[0, 1, 2, 3] = 0
    """DeepSpeed ZeRO: 0 replicates; 1, 2, 3 shard optimiser, gradients, parameters."""
    offload: Literal["none", "cpu"] = "none"
    """Where optimiser state lives (and, under stage 3, parameters)."""
    precision: Literal["float32", "bf16"] = "float32"
    """Arithmetic of the forward pass: bf16 is autocast over float32 weights."""
    executor: Annotated[Literal["auto", "inline", "train"], NO_INFLUENCE] = "auto"
    """inline: in a reused process; train: in a Ray Train worker group; auto: inline if there is one worker."""
    cpus_per_worker: Annotated[float | None, NO_INFLUENCE] = Field(None, gt=0)
    """CPUs per worker; null: the cluster's CPUs divided among the points that run at once."""
    gpus_per_worker: Annotated[float | None, NO_INFLUENCE] = Field(None, ge=0)
    """GPUs per worker, a fraction lets points share one; null: 1 if the cluster has GPUs, otherwise 0."""
    checkpoints: Annotated[bool, NO_INFLUENCE] = True
    """Save optimiser state after every epoch, so that a killed point can resume."""
    checkpoint_seconds: Annotated[float | None, NO_INFLUENCE] = Field(600.0, ge=0)
    """Also save it inside an epoch when so many seconds have passed since the last time; 0: every step, null: only
    after epochs. A worker group also saves when the pre-emption of one of its nodes is announced."""
    max_worker_failures: Annotated[int, NO_INFLUENCE] = Field(2, ge=0)
    """How often a worker group may restart after one of its workers failed."""
    max_preemptions: Annotated[int, NO_INFLUENCE] = Field(16, ge=0)
    """How often it may restart because a node was pre-empted; these do not count as failures."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min_workers > self.max_workers:
            raise ValueError(f"num_workers is [{self.min_workers}, {self.max_workers}]; the smaller number comes first")
        if self.executor == "inline" and self.max_workers > 1:
            raise ValueError(f"executor inline takes one worker, num_workers is {self.max_workers}")
        if self.offload == "cpu" and self.zero_stage == 0:
            raise ValueError("offload needs zero_stage 1, 2 or 3")
        return self

    @property
    def min_workers(self) -> int:
        """The fewest workers that the point trains on."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def max_workers(self) -> int:
        """The most workers that the point trains on."""
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    @property
    def resolved_executor(self) -> Literal["inline", "train"]:
        """The executor that `auto` stands for."""
        if self.executor != "auto":
            return self.executor
        return "inline" if self.max_workers == 1 else "train"


class PointBase(Config):
    """One complete configuration, as far as all tasks have the same keys."""

    task: str
    """What is learned."""
    base: BaseConfig = BaseConfig()
    student: StudentConfig = StudentConfig()
    data: DataConfig
    lineage: LineageConfig = LineageConfig()
    distillation: DistillationConfig = DistillationConfig()
    training: Batching = Batching()
    selection: SelectionConfig
    tests: Annotated[Mapping[str, ScoredConfig], NO_INFLUENCE] = Field(default_factory=dict)
    """Name -> a test set: what a point delivers is scored on it once. Nothing is ever chosen by it."""
    compute: ComputeConfig = ComputeConfig()
    seed: int = Field(0, ge=0)
    """Seed of the point: of its data draws, of the order of its data, and of dropout."""

    @model_validator(mode="after")
    def _lineage_fits(self) -> Self:
        lineage, train = self.lineage, self.label_training
        needs = {
            "lineage.teacher best": lineage.teacher == "best",
            "lineage.deliver best": lineage.deliver == "best",
            "lineage.min_delta": lineage.min_delta is not None,
            "training.patience": self.training.patience is not None,
            "base.train.deliver best": train is not None and train.deliver == "best",
            "base.train.patience": train is not None and train.patience is not None,
        }
        asking = [name for name, asks in needs.items() if asks]
        if asking and self.selection.epoch_max_items == 0:
            raise ValueError(
                f"{' and '.join(asking)} need{'s' if len(asking) == 1 else ''} a score after every epoch: set "
                "selection.epoch_max_items above 0"
            )
        if self.selection.split is not None and HELD_OUT in self.tests:
            raise ValueError(f"tests.{HELD_OUT}: selection.split makes a test set of this name; choose another name")
        if wrong := [name for name in self.tests if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)]:
            raise ValueError(
                f"tests.{wrong[0]}: a name is letters, digits, '.', '_' and '-', a letter or a digit first"
            )
        if self.makes_student and self.lineage.student_init == "teacher":
            raise ValueError(
                "a student section cannot start from its teacher: use lineage.student_init previous or base"
            )
        return self

    @property
    def data_seed(self) -> int:
        """Seed of budget and language draws."""
        return self.seed if self.data.seed is None else self.data.seed

    @property
    def delivers(self) -> Literal["best", "last"]:
        """Which student the lineage delivers."""
        return self.lineage.deliver or ("last" if self.selection.epoch_max_items == 0 else "best")

    @property
    def chooses_teacher_epochs(self) -> bool:
        """Whether the first teachers are scored after each epoch of their training, to take the best or end early."""
        train = self.label_training
        if train is None or train.epochs == 1 or self.selection.epoch_max_items == 0:
            return False
        return train.deliver != "last" or train.patience is not None

    def teacher_choice_recipe(self) -> dict[str, Any]:
        """What the choice of the first teachers' epochs depends on; nothing where none is chosen."""
        if not self.chooses_teacher_epochs:
            return {}
        chosen = self.selection_set
        return {"selection": {**self.score_recipe(chosen), "epoch_max_items": chosen.epoch_max_items}}

    @property
    def num_epochs(self) -> int:
        """Epochs of the whole lineage."""
        return self.lineage.num_generations * self.lineage.epochs_per_generation

    @property
    def asks_for_teachers(self) -> bool:
        """Whether it matters which generations are teachers."""
        lineage = self.lineage
        return self.distillation.uses_teacher or lineage.student_init == "teacher" or lineage.min_delta is not None

    @property
    def stores_signals(self) -> bool:
        """Whether teachers read the training data once, and what they say is stored."""
        return self.distillation.uses_teacher and not self.distillation.reads_live

    @property
    def label_training(self) -> LabelTraining | None:
        """How the first teachers are trained on labels; None where they are given."""
        return None

    @property
    def unlabelled(self) -> UnlabelledConfig | None:
        """The section of the items without labels that students train on; None where nobody teaches."""
        return None

    @property
    def read_unlabelled(self) -> UnlabelledConfig | None:
        """The section of the unlabelled items that are read: also those that only a vocabulary is made of, so that
        methods with a teacher and without have the same one."""
        return None

    @property
    def unlabelled_per_labelled(self) -> float | None:
        """Unlabelled examples for each labelled one; None takes all of them once an epoch."""
        return None

    @property
    def unlabelled_languages(self) -> tuple[str, ...]:
        """The languages of these items."""
        return () if self.unlabelled is None else self.unlabelled.languages or self.data.languages

    @property
    def labelled_languages(self) -> tuple[str, ...]:
        """The languages of the labels that the first teachers are trained on."""
        return self.data.languages

    def given_teachers(self, base: str) -> Mapping[str, str]:
        """Fingerprint of each teacher of generation 1 that is a model which the file names -> that model.

        Args:
            base: fingerprint of generation 0.
        """
        return {}

    @property
    def trained_languages(self) -> tuple[str, ...]:
        """The languages of the training data, labelled or not."""
        return tuple(dict.fromkeys((*self.data.languages, *self.unlabelled_languages)))

    @property
    def window_options(self) -> dict[str, int]:
        """How texts are cut into windows; part of what identifies signals and scores."""
        return {"max_length": self.data.max_length}

    @property
    def examples_per_item(self) -> int:
        """Training examples that one item of the budget makes in an epoch."""
        return len(self.data.languages)

    def items_recipe(self) -> dict[str, Any]:
        """What the items depend on that training may use: labelled ones, of which budgets are drawn, and others."""
        found = {"train": dump(self.data.train), "languages": self.data.languages}
        section = self.read_unlabelled
        return found if section is None else {**found, "unlabelled": dump(section)}

    def train_recipe(self) -> dict[str, Any]:
        """What the windows of training depend on, beside the tokenizer."""
        return {"data": dump(self.data), "seed": self.data_seed, "unlabelled": self.unlabelled is not None}

    @property
    def makes_student(self) -> bool:
        """Whether the first student is another model than generation 0, or a part of it."""
        return self.student != StudentConfig()

    def student_recipe(self) -> dict[str, Any]:
        """What determines the first student beside generation 0, where it is another one."""
        found: dict[str, Any] = {"student": dump(self.student)}
        if self.student.new_head or self.student.model:
            found["seed"] = self.seed
        if self.student.vocabulary is not None:
            from_data = self.student.vocabulary.texts == "data"
            found["texts"] = self.items_recipe() if from_data else self.vocabulary_languages
        return found

    @property
    def vocabulary_languages(self) -> tuple[str, ...]:
        """The languages of texts that a vocabulary is made of, where these are not the data."""
        section = self.read_unlabelled
        return tuple(dict.fromkeys((*self.data.languages, *((section.languages or ()) if section else ()))))

    def budget_recipe(self) -> dict[str, Any]:
        """What the labelled items of the budget depend on."""
        return {"data": dump(self.data), "seed": self.data_seed}

    def base_recipe(self) -> dict[str, Any]:
        """What determines generation 0, or what its teachers start from."""
        return {"task": self.task, "base": dump(self.base)}

    def first_teachers(self, base: str) -> Mapping[str, str | None]:
        """Fingerprint of each teacher of generation 1 -> the language it teaches, None for all.

        Args:
            base: fingerprint of generation 0.
        """
        return {base: None}

    def label_seed(self, base: str, teacher: str) -> int:
        """The seed that a first teacher is trained by.

        Args:
            base: as above.
            teacher: its fingerprint.
        """
        assert self.label_training is not None, "asked for where a teacher is trained"
        return self.label_training.seed

    def generation_zero(self, base: str) -> Mapping[str, str | None]:
        """Fingerprint of each model that generation 0 is -> its language: who teaches first, unless a stranger does."""
        return self.first_teachers(base)

    def signal_options(self) -> dict[str, Any]:
        """What identifies signals beside their teacher and their data: how windows are cut."""
        return dict(self.window_options)

    @property
    def selection_set(self) -> SelectionConfig:
        """The section of the set that everything is chosen by, as it is read: of a set that is split its first part."""
        return self.selection.chosen_by

    @property
    def test_sets(self) -> dict[str, ScoredConfig]:
        """Name -> test set, with the one that `selection.split` makes."""
        split, chosen = self.selection.split, self.selection
        if split is None:
            return dict(self.tests)
        kind = get_args(type(self).model_fields["tests"].annotation)[1]
        rest = chosen.part(split, 1.0)
        return {HELD_OUT: kind(**{name: getattr(rest, name) for name in kind.model_fields}), **self.tests}

    def score_recipe(self, scored: ScoredConfig) -> dict[str, Any]:
        """What the scores of a model on a set depend on beside the model."""
        return {
            "scored": scored.model_dump(mode="json", exclude={"batch_tokens"}),
            "languages": self.scored_languages,
            "windows": self.window_options,
            "precision": self.compute.precision,
        }

    @property
    def scored_languages(self) -> list[str] | None:
        """The languages that scores depend on beside those of the set: those of training, which are not
        zero-shot; None where there are none.
        """
        return None
