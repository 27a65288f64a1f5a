"""Dropout that a CPU draws quickly: the same distribution as torch's, other random numbers.

torch draws a CPU's masks one number after another with the Mersenne Twister, a fifth of a step of a small BERT. NumPy's
SFC64 gives four 16-bit numbers at once, about 15 times as fast. Its seed is drawn from torch's generator: the same seed
gives the same masks.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_LEVELS = 1 << 16


def use_cpu_dropout(model: nn.Module) -> None:
    """Let a model draw its dropout masks here. In training on a CPU its speed changes, elsewhere nothing does."""
    for name, module in list(model.named_modules()):
        if type(module) is nn.Dropout:
            model.set_submodule(name, CPUDropout(module.p, module.inplace))


def keep_mask(shape: torch.Size, probability: float) -> Tensor:
    """A uint8 tensor on the CPU, 1 with probability 1 - p, to within 2**-17, else 0.

    Not bool, which torch turns into floating point ten times as slowly.

    Args:
        probability: p, of 0, in [0, 1).
    """
    seed = int(torch.randint(torch.iinfo(torch.int64).max, (), dtype=torch.int64))
    size = shape.numel()
    numbers = np.random.SFC64(seed).random_raw(size // 4 + 1).view(np.uint16)[:size]
    return torch.from_numpy((numbers >= round(probability * _LEVELS)).view(np.uint8)).view(shape)


class CPUDropout(nn.Dropout):
    """`nn.Dropout` with masks of `keep_mask` where the input is on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """The input with some elements 0, the others scaled up, in training; the input itself else."""
        if not self.training or self.p == 0 or input.device.type != "cpu" or self.p == 1:
            return super().forward(input)
        return _Dropout.apply(input, self.p)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, probability: float) -> Tensor:
        keep = keep_mask(values.shape, probability)
        ctx.save_for_backward(keep)
        ctx.scale = 1 / (1 - probability)
        return keep.to(values.dtype).mul_(values).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return keep.to(gradient.dtype).mul_(gradient).mul_(ctx.scale), None
