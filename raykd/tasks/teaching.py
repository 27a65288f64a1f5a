"""Teachers as the training loop sees them, and what they are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Micro(Protocol):
    """A micro-batch: indices of windows; an idle one repeats a window with weight 0."""

    @property
    def indices(self) -> np.ndarray: ...
    @property
    def idle(self) -> bool: ...


class Teacher(Protocol):
    """A teacher, whatever it is: it answers for all micro-batches of one step at once."""

    def for_step(self, step: np.ndarray, micros: Sequence[Micro]) -> Sequence[Any]:
        """What it says of each micro-batch; `step` holds all windows of the step, on all ranks."""

    def mean_coefficient(self) -> float | None:
        """Mean of what its KD terms were multiplied with; None where there is no coefficient."""

    def coefficients(self, steps: Sequence[np.ndarray]) -> list[list[float]]:
        """Mean and standard deviation of the coefficient over the examples of each step that was taken of an epoch,
        before any reduction; nothing where it cannot vary. Read once an epoch: it may wait for the device.

        Args:
            steps: of the epoch. Of one that was resumed the first ones may be missing.
        """

    def watched(self) -> Mapping[str, float]:
        """What is reported of it beside that, by name; it decides nothing. Nothing where it is not cheap."""


@dataclass(frozen=True)
class Reading:
    """What one teacher says about some of a point's windows.

    Attributes:
        rows: indices of the windows, among those of `features`.
        arrays: name -> [sum of their lengths, ...], end to end in that order.
        constants: name -> what is the same for all of them.
        features: what the teacher reads.
    """

    rows: np.ndarray
    arrays: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]
    features: Any = None


@dataclass(frozen=True)
class Teaching:
    """What a teacher is made of: stored readings, or models that read every batch again.

    Attributes:
        distillation: the task's section.
        features: what the teachers read, window for window in place of the student's.
        readings: what each of them said, where that is stored.
        live: the frozen models, where it is not.
        pad_to: width of every batch, where batches are padded to the maximum.
        pseudo_from: the teacher's probability of its best answer from which an unlabelled item is trained on as if that
            were its label; None: unlabelled items have soft targets, as all others.
    """

    distillation: Any
    features: Any
    device: torch.device
    readings: Sequence[Reading] = ()
    live: Sequence[Callable[..., Any]] = ()
    pad_to: int | None = None
    pseudo_from: float | None = None


def average(readings: Sequence[Reading]) -> dict[str, Tensor]:
    """Element by element mean, in float32, over teachers that all read the same windows."""
    if len(readings) == 1:
        return {name: values.float() for name, values in readings[0].arrays.items()}
    names = readings[0].arrays
    return {name: torch.stack([each.arrays[name].float() for each in readings]).mean(dim=0) for name in names}
