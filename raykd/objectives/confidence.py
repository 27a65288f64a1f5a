"""How far to trust a teacher on an example: the coefficient of the KD term, from the rank it gives the gold boundary.

`average_precision` is the mAP@k that arXiv:2309.17134 names. `reciprocal_rank` is what its released code computes
under that name: duplicates are suppressed there, so only the first hit counts. Both depend on the order of the logits
alone, so temperature cannot change them.
"""

from collections.abc import Callable

import torch
from torch import Tensor

RELEASED_WINDOW = (5, 4)
"""Positions before and after the gold one that count as hits in the released code: `range(gold - 5, gold + 5)`."""

SYMMETRIC_WINDOW = (5, 5)

RELEASED_RANK_CUTOFF = 10


def average_precision(
    teacher_logits: Tensor, gold: Tensor, *, rank_cutoff: int, window: tuple[int, int], mask: Tensor | None = None
) -> Tensor:
    """AP@k of the teacher's ranking of positions; the relevant ones are those in a window around the gold one.

    Sum over ranks r <= k of precision@r where rank r is relevant, divided by min(k, number of relevant positions),
    as in information retrieval (Manning et al. 2008, Introduction to Information Retrieval, sec. 8.4).

    Args:
        teacher_logits: [N, L], any float dtype; no gradient flows into it. Equal logits rank as `torch.topk` has it.
        gold: [N] int64, position of the gold boundary. Negative: no answer in this row.
        rank_cutoff: k >= 1; one above L acts as L.
        window: (before, after), both >= 0: positions gold - before to gold + after are relevant, ends included.
        mask: [N, L] bool, True where a position takes part; the others are neither ranked nor relevant.

    Returns:
        [N] float32 in [0, 1]. 1 where relevant positions fill the first ranks; 0 where none is within the cutoff, none
        takes part, or gold is negative.

    Raises:
        ValueError: if the shapes do not fit, the mask is not bool, or the cutoff or the window is out of range.
    """
    hits, num_relevant = _ranked_hits(teacher_logits, gold, rank_cutoff, window, mask)
    precision = hits.cumsum(dim=-1) / _ranks(hits)
    return (precision * hits).sum(dim=-1) / num_relevant.clamp(min=1, max=rank_cutoff)


def reciprocal_rank(
    teacher_logits: Tensor, gold: Tensor, *, rank_cutoff: int, window: tuple[int, int], mask: Tensor | None = None
) -> Tensor:
    """1 / rank of the first of the teacher's k best positions that lies in a window around the gold one.

    With `RELEASED_WINDOW`, `RELEASED_RANK_CUTOFF` and no mask this is the "mAP@k" of the code released with
    arXiv:2309.17134. With window (0, 0) it is its MRR variant. Arguments and errors are those of `average_precision`.

    Returns:
        [N] float32 in [0, 1], one of 0, 1, 1/2, ..., 1/k.
    """
    hits, _ = _ranked_hits(teacher_logits, gold, rank_cutoff, window, mask)
    return (hits / _ranks(hits)).amax(dim=-1)


COEFFICIENTS: dict[str, Callable[..., Tensor]] = {
    "map_at_k": average_precision,
    "reciprocal_rank": reciprocal_rank,
}


def reduce_groups(values: Tensor, *, group_size: int | None) -> Tensor:
    """Replaces each value by the mean over its group of consecutive rows and over both boundaries.

    The released code of arXiv:2309.17134 has one coefficient per micro-batch: a group is the rows of a micro-batch.

    Args:
        values: [N, 2], one coefficient per example for start and end.
        group_size: rows in a group, >= 1; the last group may have fewer. None: all rows are one group.

    Returns:
        [N, 2], in the range of `values`.

    Raises:
        ValueError: if the shape is another or the group size is below 1.
    """
    if values.dim() != 2 or values.shape[1] != 2:
        raise ValueError(f"values: got {list(values.shape)}; it must be [N, 2]")
    if group_size is None:
        return values.mean().expand_as(values)
    if group_size < 1:
        raise ValueError(f"group_size: got {group_size}; it must be at least 1, or None for one group of all")
    num_in_full_groups = len(values) // group_size * group_size
    full, rest = values[:num_in_full_groups], values[num_in_full_groups:]
    groups = full.reshape(-1, 2 * group_size)
    means = groups.mean(dim=-1, keepdim=True).expand_as(groups).reshape_as(full)
    return torch.cat((means, rest.mean().expand_as(rest)))


def _ranked_hits(
    teacher_logits: Tensor, gold: Tensor, rank_cutoff: int, window: tuple[int, int], mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """[N, min(k, L)] bool, True where the position at that rank is relevant; [N] number of relevant positions."""
    _check(teacher_logits, gold, rank_cutoff, window, mask)
    before, after = window
    logits = teacher_logits.detach()
    length = logits.shape[-1]
    distance = torch.arange(length, device=logits.device) - gold[:, None]
    relevant = (distance >= -before) & (distance <= after) & (gold[:, None] >= 0)
    if mask is not None:
        relevant = relevant & mask
        # The clamp keeps a real -inf above the fill, so a masked position never takes a rank from one that takes part.
        logits = logits.float().clamp(min=torch.finfo(torch.float32).min).masked_fill(~mask, -torch.inf)
    best = logits.topk(min(rank_cutoff, length), dim=-1).indices
    return relevant.gather(-1, best), relevant.sum(dim=-1)


def _ranks(hits: Tensor) -> Tensor:
    return torch.arange(1, hits.shape[-1] + 1, device=hits.device, dtype=torch.float32)


def _check(logits: Tensor, gold: Tensor, rank_cutoff: int, window: tuple[int, int], mask: Tensor | None) -> None:
    if logits.dim() != 2 or gold.shape != logits.shape[:1]:
        raise ValueError(f"got logits {list(logits.shape)} and gold {list(gold.shape)}; they must be [N, L] and [N]")
    if mask is not None and (mask.shape != logits.shape or mask.dtype != torch.bool):
        raise ValueError(f"mask: got {list(mask.shape)} of {mask.dtype}; it must be bool {list(logits.shape)}")
    if rank_cutoff < 1:
        raise ValueError(f"rank_cutoff: got {rank_cutoff}; it must be at least 1")
    if min(window) < 0:
        raise ValueError(f"window: got {window}; both numbers must be at least 0")
