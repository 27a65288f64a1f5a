"""The rows of all workers on each of them, with gradients that find their way back."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import once_differentiable


def gather_rows(values: Tensor, counts: Sequence[int]) -> Tensor:
    """The rows of all ranks, in the order of the ranks; of a process alone its own.

    The gradient of a row is the sum of what all ranks' losses say of it, and reaches its owner alone. Every rank must
    call this, and either every rank or none must go backward through it, a rank without rows too.

    Args:
        values: [n, H] of this rank; n may be 0.
        counts: n of each rank, the same on all.

    Returns:
        [sum(counts), H].

    Raises:
        ValueError: if `counts` do not fit the ranks, or this rank's rows.
    """
    rank, world_size = rank_and_size()
    if len(counts) != world_size or counts[rank] != len(values):
        raise ValueError(f"rank {rank} of {world_size} has {len(values)} rows; counts: {list(counts)}")
    return _Gather.apply(values, tuple(counts), rank) if world_size > 1 else values


def rank_and_size() -> tuple[int, int]:
    """This process's rank and the number of ranks; 0 and 1 where there is no process group."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, counts: tuple[int, ...], rank: int) -> Tensor:
        ctx.own = slice(sum(counts[:rank]), sum(counts[: rank + 1]))
        # Collectives move tensors of one shape: padded to the longest, at least one row.
        longest = max(*counts, 1)
        padded = values.new_zeros(longest, values.shape[1])
        padded[: len(values)] = values
        parts = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total[ctx.own].clone(), None, None
