"""What a task must offer, and the tasks there are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from raykd.config.point import DistillationConfig, EvaluationConfig, PointConfig
from raykd.tasks.outcomes import Scored
from raykd.tasks.parallel.task import ParallelTask
from raykd.tasks.qa.task import QATask
from raykd.tasks.reading import Reading
from raykd.tasks.tagging.task import TaggingTask


class Features(Protocol):
    """Windows of tokens: ids, lengths, and batches cut from them. `signal_lengths` are rows of stored signals."""

    ids: tuple[str, ...]
    lengths: np.ndarray
    signal_lengths: np.ndarray
    sha256: str

    def __len__(self) -> int: ...
    def take(self, indices: np.ndarray) -> "Features": ...
    def collate(self, indices: np.ndarray, *, pad_to: int | None = None) -> dict[str, Tensor]: ...


class TrainData(Protocol):
    """What a point trains on."""

    features: Features
    sha256: str
    description: dict[str, Any]


class Task(Protocol):
    """Data to windows, windows to loss terms, outputs to scores. Everything else is the same for all tasks.

    `outputs` names the stored signals, `parts` what a KD term is made of where that is reported. The docstrings of the
    tasks say what each method promises. Scores hold the names that a leaderboard shows (`columns`) and the one that
    decides (`main`); what is `watched` of them is reported after every epoch.
    """

    outputs: tuple[str, ...]
    parts: tuple[str, ...]
    stored_dtype: torch.dtype
    load_model: Callable[..., Any]
    build_tiny_tokenizer: Callable[[Path], None]
    model_inputs: Callable[[dict[str, Tensor]], dict[str, Tensor]]

    def tiny_model(self, config: PointConfig, tokenizer: Any, *, items: Any, seed: int) -> Any: ...
    def given_model(self, config: PointConfig, name: str, *, items: Any) -> Any: ...
    def same_labels(self, teacher: Path, base: Path) -> None: ...
    def window_options(self, config: PointConfig) -> dict[str, int]: ...
    def signal_options(self, config: PointConfig) -> dict[str, Any]: ...
    def items(self, config: PointConfig, *, folder: Path) -> tuple[Any, str]: ...
    def train_set(
        self, config: PointConfig, tokenizer: Any, *, items: Any, folder: Path, artifact: Path, **parallel: Path
    ) -> TrainData: ...
    def dev_set(self, config: PointConfig, tokenizer: Any, *, folder: Path, artifact: Path) -> Any: ...
    def to_train(self, model: Any, config: PointConfig, *, teacher: Path) -> Any: ...
    def chosen(self, train: Any, epoch: int) -> np.ndarray | None: ...
    def of_epoch(self, train: Any, steps: Sequence[np.ndarray], *, seed: int, epoch: int) -> Any: ...
    def seen(self, train: Any, *, first: bool) -> Features: ...
    def probe(self, train: Any) -> Features: ...
    def taught_by(self, train: Any, language: str | None) -> np.ndarray: ...
    def answer(self, model: Any, batch: dict[str, Tensor], teacher: Any) -> Any: ...
    def terms(
        self, outputs: Any, batch: dict[str, Tensor], teacher: Any, config: DistillationConfig, *, padding: bool
    ) -> tuple[Any, ...]: ...
    def stored_teacher(
        self,
        train: Any,
        readings: Sequence[Reading],
        config: DistillationConfig,
        *,
        device: torch.device,
        pad_to: int | None,
        first: bool,
    ) -> Any: ...
    def signals(self, outputs: Any) -> dict[str, Tensor]: ...
    def constants(self, outputs: Any) -> dict[str, Tensor]: ...
    def of_teachers(self, scored: Mapping[str | None, Scored]) -> Scored: ...
    def predict(
        self, outputs: Any, batch: dict[str, Tensor], indices: np.ndarray, evaluation: EvaluationConfig
    ) -> list[Any]: ...
    def score(self, predictions: Iterable[Any], dev: Any, evaluation: EvaluationConfig) -> Scored: ...


class LabelledTask(Task, Protocol):
    """A task whose generation 0 may be trained on labels; a sweep file that asks another one for it is refused."""

    def labelled(
        self, config: PointConfig, tokenizer: Any, model: Any, *, folder: Path, language: str | None
    ) -> tuple[Features, str]: ...


class LiveTask(Task, Protocol):
    """A task whose teachers may also answer every batch again; a sweep file that asks another one for it is refused."""

    def live_teacher(
        self,
        train: Any,
        forward: Any,
        config: DistillationConfig,
        *,
        device: torch.device,
        pad_to: int | None,
        first: bool,
    ) -> Any: ...
    def mean_outputs(self, outputs: Sequence[Any]) -> Any: ...


class TaughtTask(LiveTask, Protocol):
    """A task whose first teacher is a model of its own, not generation 0."""

    def tiny_teacher(self, config: PointConfig, tokenizer: Any) -> Any: ...
    def given_teacher(self, config: PointConfig, name: str) -> Any: ...


TASKS: dict[str, Task] = {"qa": QATask(), "tagging": TaggingTask(), "parallel": ParallelTask()}
"""The word in a sweep file's `task` -> the task."""
