"""Pure objectives: functions of tensors, unreduced, without state."""

from raykd.objectives.confidence import (
    COEFFICIENTS,
    RELEASED_RANK_CUTOFF,
    RELEASED_WINDOW,
    SYMMETRIC_WINDOW,
    average_precision,
    reciprocal_rank,
    reduce_groups,
)
from raykd.objectives.kd import DIRECTIONS, forward_kl, reverse_kl, span_cross_entropy, symmetric_kl

__all__ = [
    "COEFFICIENTS",
    "DIRECTIONS",
    "RELEASED_RANK_CUTOFF",
    "RELEASED_WINDOW",
    "SYMMETRIC_WINDOW",
    "average_precision",
    "forward_kl",
    "reciprocal_rank",
    "reduce_groups",
    "reverse_kl",
    "span_cross_entropy",
    "symmetric_kl",
]
