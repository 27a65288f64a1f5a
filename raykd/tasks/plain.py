"""What tasks have in common whose students read their teachers' windows, the same ones in every epoch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor


class PlainLearning:
    """The part of `TaskLearning` that is the same for most tasks."""

    parts: tuple[str, ...] = ()

    def chosen(self, train: Any, epoch: int) -> np.ndarray | None:
        """All windows in every epoch."""
        return None

    def of_epoch(self, train: Any, steps: Sequence[np.ndarray], *, seed: int, epoch: int) -> Any:
        """The same windows in every epoch."""
        return train.features

    def teacher_features(self, train: Any, *, first: bool) -> Any:
        """The student's windows."""
        return train.features

    def probe(self, train: Any) -> Any:
        """The student's windows."""
        return train.features

    def constants(self, outputs: Any) -> dict[str, Tensor]:
        """Nothing."""
        return {}
