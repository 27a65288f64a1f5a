"""What a point reads of its teachers' stored signals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """What one teacher says about some of a point's windows.

    Attributes:
        rows: indices of the windows.
        arrays: name -> [sum of their lengths, ...], end to end in that order.
        constants: name -> what is the same for all of them.
    """

    rows: np.ndarray
    arrays: Mapping[str, Tensor]
    constants: Mapping[str, Tensor]


def average(readings: Sequence[Reading]) -> dict[str, Tensor]:
    """Element by element mean, in float32, over teachers that all read the same windows."""
    if len(readings) == 1:
        return {name: values.float() for name, values in readings[0].arrays.items()}
    names = readings[0].arrays
    return {name: torch.stack([each.arrays[name].float() for each in readings]).mean(dim=0) for name in names}
