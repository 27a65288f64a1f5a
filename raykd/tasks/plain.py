"""What tasks have in common whose students read their teachers' windows, the same ones in every epoch."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from raykd.config.point import PointConfig


class PlainTask:
    """The part of the task protocol that is the same for question answering and tagging."""

    parts: tuple[str, ...] = ()
    model_inputs: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    window_options: Callable[[PointConfig], dict[str, int]]

    def signal_options(self, config: PointConfig) -> dict[str, Any]:
        """What identifies signals beside their teacher and their data: how windows are cut."""
        return self.window_options(config)

    def to_train(self, model: Any, config: PointConfig, *, teacher: Path) -> Any:
        """What is trained: the student itself."""
        return model

    def chosen(self, train: Any, epoch: int) -> np.ndarray | None:
        """Indices of the windows of an epoch; None is all of them."""
        return None

    def of_epoch(self, train: Any, steps: Sequence[np.ndarray], *, seed: int, epoch: int) -> Any:
        """What the student reads in an epoch."""
        return train.features

    def seen(self, train: Any, *, first: bool) -> Any:
        """What a teacher reads, a teacher of generation 1 or a later one."""
        return train.seen

    def probe(self, train: Any) -> Any:
        """Windows that an exported model must answer as the one in memory does."""
        return train.features

    def answer(self, model: Any, batch: dict[str, Tensor], teacher: Any) -> Any:
        """The student's outputs over a training batch."""
        return model(**self.model_inputs(batch))
