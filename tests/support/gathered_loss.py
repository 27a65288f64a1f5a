"""Rows that two ranks hold together, and a loss that reads all of them."""

import torch
from torch import Tensor

from raykd.models.gather import gather_rows

COUNTS = ((3, 2), (1, 4), (5, 0), (0, 5), (0, 0))
WIDTH = 3


def rows(count: int = 5) -> Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(0))


def loss_of(everything: Tensor, rank: int) -> Tensor:
    """Another one on each rank, in which every row meets every other."""
    return ((everything @ everything.T) ** 2).sum() * (rank + 1) + everything[:1].sum()


def gathered(rank: int) -> list[tuple[Tensor, Tensor]]:
    """For each of COUNTS what this rank sees, and the gradient of its own rows."""
    found = []
    for counts in COUNTS:
        own = rows(sum(counts)).split(counts)[rank].clone().requires_grad_()
        everything = gather_rows(own, counts)
        loss_of(everything, rank).backward()
        found.append((everything.detach(), own.grad))
    return found
