"""What a task must offer, and the tasks there are."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from raykd.config.point import DistillationConfig, LabelTraining, PointConfig
from raykd.tasks.qa_task import QATask


class Features(Protocol):
    """Windows of tokens: ids, lengths, and batches cut from them."""

    ids: tuple[str, ...]
    lengths: np.ndarray
    sha256: str

    def __len__(self) -> int: ...
    def take(self, indices: np.ndarray) -> "Features": ...
    def collate(self, indices: np.ndarray, *, pad_to: int | None = None) -> dict[str, Tensor]: ...


class TrainData(Protocol):
    """What a point trains on; `seen` is what its teacher reads, window for window."""

    features: Features
    seen: Features
    sha256: str
    description: dict[str, Any]


class Task(Protocol):
    """Data to windows, windows to loss terms, outputs to scores. Everything else is the same for all tasks.

    `outputs` names the stored signals. The docstrings of `QATask` say what each method promises.
    """

    outputs: tuple[str, ...]
    load_model: Callable[..., Any]
    tiny_model: Callable[..., Any]
    build_tiny_tokenizer: Callable[[Path], None]
    model_inputs: Callable[[dict[str, Tensor]], dict[str, Tensor]]

    def window_options(self, config: PointConfig) -> dict[str, int]: ...
    def items(self, config: PointConfig, *, folder: Path) -> tuple[Any, str]: ...
    def train_set(self, config: PointConfig, tokenizer: Any, *, items: Any, folder: Path) -> TrainData: ...
    def labelled(
        self, train: LabelTraining, config: PointConfig, tokenizer: Any, *, folder: Path
    ) -> tuple[Features, str]: ...
    def dev_set(self, config: PointConfig, tokenizer: Any, *, folder: Path) -> Any: ...
    def terms(
        self, outputs: Any, batch: dict[str, Tensor], teacher: Any, config: DistillationConfig, *, padding: bool
    ) -> tuple[Tensor, Tensor | None]: ...
    def stored_teacher(
        self,
        train: Any,
        signals: dict[str, Tensor],
        config: DistillationConfig,
        *,
        device: torch.device,
        pad_to: int | None,
    ) -> Any: ...
    def live_teacher(
        self, train: Any, forward: Any, config: DistillationConfig, *, device: torch.device, pad_to: int | None
    ) -> Any: ...
    def signals(self, outputs: Any) -> dict[str, Tensor]: ...
    def mean_outputs(self, outputs: Sequence[Any]) -> Any: ...
    def predict(
        self, outputs: Any, batch: dict[str, Tensor], indices: np.ndarray, *, max_answer_tokens: int
    ) -> list[Any]: ...
    def score(self, predictions: Iterable[Any], dev: Any, *, normalization: str) -> dict[str, Any]: ...


TASKS: dict[str, Task] = {"qa": QATask()}
"""The word in a sweep file's `task` -> the task."""
