"""Sequences of different lengths, stored end to end in one array."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def bounds_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """[N + 1] where N stretches of these lengths begin if they lie end to end, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def counted(lengths: np.ndarray) -> np.ndarray:
    """[sum of lengths] place of every element in its own stretch, from 0 on."""
    return np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def stretches(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """[sum of lengths] indices of the elements of stretches, one stretch after the other."""
    return np.repeat(starts, lengths) + counted(lengths)


def padded(flat: np.ndarray, inside: np.ndarray, filler: int) -> Tensor:
    """`flat` laid into the True places of `inside` [B, L], row by row, and `filler` elsewhere: [B, L] int64."""
    rows = np.full(inside.shape, filler, dtype=np.int64)
    rows[inside] = flat
    return torch.from_numpy(rows)
