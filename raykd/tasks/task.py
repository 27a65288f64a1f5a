"""What a task is: a description of five parts. Whoever needs a task takes what it asks for from here, and no name.

Importing a task loads neither torch nor transformers: `info`, `point` and `data` read text alone, and the parts that
compute are imported when they are first asked for. Sections, examples, batches and outputs are a task's own, so what
passes them on takes them as Any.
"""

import importlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from raykd.config.point import PointBase
from raykd.tasks.info import Info
from raykd.tasks.sizes import Content, Items, TextSizes

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from raykd.tasks.form import Form
    from raykd.tasks.outcomes import Evaluation, Scored, Scores
    from raykd.tasks.predictor import TaskPredictor
    from raykd.tasks.teaching import Teacher, Teaching


class Features(Protocol):
    """Windows of tokens: ids, lengths, and batches cut from them. `signal_lengths` are rows of stored signals."""

    @property
    def ids(self) -> tuple[str, ...]: ...
    @property
    def lengths(self) -> "np.ndarray": ...
    @property
    def signal_lengths(self) -> "np.ndarray": ...
    @property
    def sha256(self) -> str: ...
    def __len__(self) -> int: ...
    def take(self, indices: "np.ndarray") -> "Features": ...
    def collate(self, indices: "np.ndarray", *, pad_to: int | None = None) -> "dict[str, Tensor]": ...


class TrainSet(Protocol):
    """What a point trains on: the student's windows, a hash of the examples, and what a record says of them.

    Windows without labels come after all that have any, see `TaskLearning.num_labelled`.
    """

    @property
    def features(self) -> Features: ...
    @property
    def sha256(self) -> str: ...
    @property
    def description(self) -> dict[str, Any]: ...


class ScoredSet(Protocol):
    """What a model is scored on."""

    @property
    def features(self) -> Features: ...
    def first(self, count: int) -> "ScoredSet":
        """The first `count` items of every cell or language."""


@dataclass(frozen=True)
class Places:
    """Where what a data set depends on lies.

    Attributes:
        folder: of the sweep file; relative paths start there.
        base: generation 0, as a model folder.
        teacher: the first teacher of generation 1, likewise.
    """

    folder: Path
    base: Path
    teacher: Path


class TaskData(Protocol):
    """From files to what is trained on and scored. What is missing or wrong is a DataError that names all of it."""

    def items(self, config: Any, *, folder: Path) -> Items:
        """All items that budgets are drawn from."""

    def draw(self, config: Any, items: Any) -> Mapping[str, int] | None:
        """Draw a point's budget, to see whether that can be done; language -> its unlabelled items, if it has any."""

    def content(self, config: Any, scored: Any, items: Any, *, folder: Path) -> Content:
        """What a set holds that a point is scored on.

        Args:
            scored: the section of the set.
            items: of the training data, None where they cannot be read.
        """

    def check_models(self, configs: Sequence[Any], *, locate: Callable[[str], str]) -> None:
        """Read of the models what says whether the task can use them.

        Args:
            locate: the folder of a model by its name, or the name where that is a Hub id.
        """

    def signal_bytes(self, config: Any, texts: TextSizes, *, tokens: float, width: int) -> float:
        """What a teacher's stored signals take for one training example.

        Args:
            tokens: of a feature.
            width: numbers of the teacher's sentence vector, where it has one.
        """

    def train_set(self, config: Any, tokenizer: Any, *, items: Any, places: Places) -> TrainSet:
        """The windows of a point's budget, then those of its unlabelled items.

        Args:
            tokenizer: the student's.
        """

    def texts(self, config: Any, items: Any) -> Mapping[str, Sequence[str]]:
        """Language -> the texts of all items, labelled or not."""

    def scored_set(self, config: Any, scored: Any, tokenizer: Any, *, places: Places) -> ScoredSet:
        """The windows of a set that a point is scored on.

        Args:
            scored: the section of the set.
        """


class LabelledData(Protocol):
    """The ability to train the first teachers on labels alone."""

    def labelled_content(self, config: Any, items: Any, *, folder: Path) -> Content:
        """What the first teachers are trained on.

        Args:
            items: of the training data, None where they cannot be read.
        """

    def labelled(
        self, config: Any, tokenizer: Any, model: Any, *, folder: Path, language: str | None
    ) -> tuple[Features, str]:
        """The windows that a teacher is trained on, of one language or of all, and the hash of their examples."""


class TaskModel(Protocol):
    """Models in and out: from names and folders, into training, and as a plain class of transformers."""

    def build_tiny_tokenizer(self, folder: Path) -> None:
        """Write the tokenizer of `builtin:tiny` into a folder."""

    def tiny(self, config: Any, tokenizer: Any, *, items: Any, seed: int) -> Any:
        """The model `builtin:tiny`."""

    def given(self, config: Any, name: str, *, items: Any) -> tuple[Any, Any]:
        """The model that `base` names, before any training, and its tokenizer."""

    def note(self, model: Any) -> str:
        """What else is said of generation 0 where it is said to be ready."""

    def load(self, folder: str, *, dropout: float | None = None) -> Any:
        """A model of ours, in float32 on the CPU."""

    def inputs(self, batch: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
        """The part of a batch that a model reads."""

    def student(self, config: Any, name: str, *, base: Path) -> Any:
        """The model that `student.model` names, before any training.

        Args:
            name: its folder.
            base: folder of generation 0, whose labels it has.
        """

    def renew_head(self, model: Any) -> None:
        """Initialise the task's head again, from torch's generator."""

    def check_alike(self, teacher: Path, base: Path) -> None:
        """Refuse a teacher with another label set than the lineage's; ArtifactError names both sides."""

    def to_train(self, model: Any, config: Any, *, teacher: Path) -> Any:
        """What is trained: the student, with the heads that only training needs."""


class GivenTeachers(Protocol):
    """The ability to be taught by a model that is not generation 0."""

    def tiny(self, config: Any, tokenizer: Any) -> Any:
        """The teacher `builtin:tiny`."""

    def given(self, config: Any, name: str) -> Any:
        """The model that the file names."""


class FrozenPart(Protocol):
    """The ability to ask a part of a student once that is frozen and says the same in every epoch."""

    def reads_once(self, train: Any, config: Any, model: Any) -> bool:
        """Whether this student has such a part, and what it says is worth keeping."""

    def outputs(self, model: Any, batch: "dict[str, Tensor]") -> "Tensor":
        """What that part says of a batch: [B, rows, H]."""

    def with_said(self, features: Any, said: "Tensor") -> Any:
        """The windows with what it said of them, end to end: [rows, H]."""


class TaskLearning(Protocol):
    """From windows and outputs to a loss, from a teacher to signals, from predictions to scores.

    Attributes:
        outputs: names of the stored signals.
        stored_dtype: in which they are stored.
        parts: what a KD term is made of, where that is reported.
        frozen: asks a part of a student once; None: no part of one is ever frozen.
        cuts_for_both: what a teacher reads depends on the student's tokenizer beside its own.
    """

    outputs: tuple[str, ...]
    parts: tuple[str, ...]
    cuts_for_both: bool
    frozen: FrozenPart | None
    stored_dtype: "torch.dtype"

    def chosen(self, train: Any, epoch: int) -> "np.ndarray | None":
        """Indices of the windows of an epoch; None is all of them."""

    def of_epoch(self, train: Any, steps: "Sequence[np.ndarray]", *, seed: int, epoch: int) -> Any:
        """What the student reads in an epoch."""

    def num_labelled(self, train: Any) -> int:
        """The first so many windows have labels; the others are there for their teacher alone."""

    def teacher_features(self, train: Any, tokenizer: Any, *, first: bool) -> Features:
        """What a teacher reads with its tokenizer: one of generation 1, or a later one."""

    def probe(self, train: Any) -> Features:
        """Windows that an exported model must answer as the one in memory does."""

    def taught_by(self, features: Any, language: str | None, *, named: "Collection[str | None]") -> "np.ndarray":
        """Indices of what a teacher reads that one of a language teaches; None teaches all.

        Args:
            named: the languages of all teachers beside it.
        """

    def forward(self, model: Any, batch: "dict[str, Tensor]", said: Any) -> Any:
        """The student's outputs over a training batch, of which the teacher said something."""

    def terms(
        self, outputs: Any, batch: "dict[str, Tensor]", said: Any, config: Any, *, padding: bool
    ) -> "tuple[Tensor, Tensor | None] | tuple[Tensor, Tensor | None, Mapping[str, Tensor]]":
        """Label term, KD term (None without a teacher) and its parts of a batch, [B] each, in nats.

        Args:
            padding: whether the batch is padded to the maximum, so that padded positions may take part.
        """

    def teacher(self, train: Any, teaching: "Teaching") -> "Teacher":
        """Whoever answers for the micro-batches of a step: from stored signals, or live."""

    def signals(self, outputs: Any) -> "dict[str, Tensor]":
        """What is stored of a teacher's outputs: name -> [B, rows, ...] float32."""

    def constants(self, outputs: Any) -> "dict[str, Tensor]":
        """What is stored once a teacher."""

    def predict(self, outputs: Any, batch: "dict[str, Tensor]", indices: "np.ndarray", section: Any) -> list[Any]:
        """What is concluded of every window of a batch.

        Args:
            section: of the set that the windows are of.
        """

    def score(self, predictions: Iterable[Any], scored: Any, section: Any) -> "Scored":
        """Scores by name, in percent, which is the main one, and the outcome of every example.

        Args:
            scored: what was scored, `section` its section.
        """

    def settled(self, section: Any, chosen: "Scores") -> Any:
        """The section of a test set, with what the selection set chose for the model.

        Args:
            chosen: the model's scores on the selection set.
        """

    def combine(self, scored: "Mapping[str | None, Scored]", chosen: "Scores | None" = None) -> "Scored":
        """The scores of generation 0 out of those of its models, by language."""


@dataclass(frozen=True)
class later:
    """What a module holds under a name, imported when it is first asked for: so that a task loads without torch."""

    module: str
    name: str

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call it."""
        return getattr(importlib.import_module(self.module), self.name)(*arguments, **options)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A task. An ability that it lacks is None; a sweep file or a command that asks for it is refused.

    Attributes:
        info: what it is called, in code and in words.
        point: the sections and keys of its points.
        data: from files to what is trained on and scored.
        load_model, load_learning: make the parts that compute.
        load_form: makes what its model is outside of raykd, for `export`.
        load_predictor: makes a finished model that is asked about texts, for `predict`.
        load_given_teachers: makes the ability to be taught by a model that is not generation 0.
        evaluate: scores a model folder without a sweep.
        labelled: how its first teachers are trained on labels.
        presets: named sets of defaults for a sweep file.
    """

    info: Info
    point: type[PointBase]
    data: TaskData
    load_model: "Callable[[], TaskModel]"
    load_learning: "Callable[[], TaskLearning]"
    load_form: "Callable[[], Form] | None" = None
    load_predictor: "Callable[[TaskModel, Path, Mapping[str, Any]], TaskPredictor] | None" = None
    load_given_teachers: Callable[[], GivenTeachers] | None = None
    evaluate: "Callable[..., Evaluation] | None" = None
    labelled: LabelledData | None = None
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The word in a sweep file's `task`."""
        return self.info.name

    @cached_property
    def model(self) -> TaskModel:
        """Models in and out."""
        return self.load_model()

    @cached_property
    def learning(self) -> TaskLearning:
        """Loss, signals and scores."""
        return self.load_learning()

    @cached_property
    def given_teachers(self) -> GivenTeachers:
        """How it takes a teacher that is not generation 0; only asked for where a point names one."""
        assert self.load_given_teachers is not None, f"task {self.name} takes no given teacher"
        return self.load_given_teachers()
