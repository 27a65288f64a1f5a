"""The terms of the student's loss: KL divergence to a teacher, by direction, and cross-entropy to the gold span."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

NEGLIGIBLE_LOG_PROB = -1e30
"""Stands for log 0. Finite, so that 0 * (log 0 - log 0) is 0 and not NaN, forwards and backwards."""


def forward_kl(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float, mask: Tensor | None = None
) -> Tensor:
    """KL(teacher || student) of temperature-softened distributions, times T**2.

    T**2 keeps the size of the gradient when T changes (Hinton et al. 2015, arXiv:1503.02531, sec. 2). Called `fw` in
    the released code of arXiv:2309.17134; its loss is the mean of this over the batch and over start and end.

    Args:
        student_logits: [N, L], any float dtype; computed in float32.
        teacher_logits: [N, L]; no gradient flows into it.
        temperature: T > 0, no unit.
        mask: [N, L] bool, True where a position takes part; both distributions are renormalised over those
            positions, the others get no gradient. A row without any such position is worth 0.

    Returns:
        [N] float32, nats times T**2. Never below 0 but for rounding; 0 where the two rows agree.

    Raises:
        ValueError: if the shapes differ, the mask is not bool or T is not above 0.
    """
    student, teacher = _log_probs(student_logits, teacher_logits, temperature, mask)
    return (teacher.exp() * (teacher - student)).sum(dim=-1) * temperature**2


def reverse_kl(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float, mask: Tensor | None = None
) -> Tensor:
    """KL(student || teacher) of temperature-softened distributions, times T**2.

    Called `rv` in the released code of arXiv:2309.17134. Arguments, units, range and errors are those of `forward_kl`.

    Returns:
        [N] float32, nats times T**2. Never below 0 but for rounding; 0 where the two rows agree.
    """
    student, teacher = _log_probs(student_logits, teacher_logits, temperature, mask)
    return (student.exp() * (student - teacher)).sum(dim=-1) * temperature**2


def symmetric_kl(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float, mask: Tensor | None = None
) -> Tensor:
    """KL(teacher || student) + KL(student || teacher), a sum and not a mean, times T**2.

    Called `sym` in the released code of arXiv:2309.17134. Arguments, units, range and errors are those of `forward_kl`.

    Returns:
        [N] float32, nats times T**2. Never below 0 but for rounding; 0 where the two rows agree.
    """
    student, teacher = _log_probs(student_logits, teacher_logits, temperature, mask)
    # Both sums at once: p (log p - log q) + q (log q - log p) = (p - q) (log p - log q).
    return ((teacher.exp() - student.exp()) * (teacher - student)).sum(dim=-1) * temperature**2


DIRECTIONS: dict[str, Callable[..., Tensor]] = {
    "forward_kl": forward_kl,
    "reverse_kl": reverse_kl,
    "symmetric_kl": symmetric_kl,
}


def span_cross_entropy(
    start_logits: Tensor, end_logits: Tensor, *, start: Tensor, end: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Cross-entropy to a gold span: the mean of the one at its start and the one at its end.

    The mean over the batch is the label loss of extractive QA (Devlin et al. 2019, arXiv:1810.04805, sec. 4.2).

    Args:
        start_logits: [N, L], any float dtype; computed in float32.
        end_logits: [N, L].
        start: [N] int64, token position below L. A negative one says that the row has no answer: that boundary costs
            0 and sends no gradient.
        end: [N] int64, as `start`; the end is inclusive.
        mask: [N, L] bool, True where a position takes part. A gold position that does not is treated as negative.

    Returns:
        [N] float32, nats, at least 0.

    Raises:
        ValueError: if the shapes differ or the mask is not bool.
    """
    _check_shapes(start_logits, end_logits, mask)
    logits = torch.stack((start_logits, end_logits)).float()
    gold = torch.stack((start, end))
    has_answer = gold >= 0
    gold = gold.clamp(min=0)
    if mask is not None:
        logits = logits.masked_fill(~mask, torch.finfo(torch.float32).min)
        has_answer = has_answer & mask.expand_as(logits).gather(-1, gold[..., None]).squeeze(-1)
    ignored = -100
    gold = gold.masked_fill(~has_answer, ignored)
    losses = F.cross_entropy(logits.flatten(0, 1), gold.flatten(), ignore_index=ignored, reduction="none")
    return losses.view_as(gold).mean(dim=0)


def _log_probs(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The softened log-probabilities of both in float32; the teacher's are detached."""
    _check_shapes(student_logits, teacher_logits, mask)
    if not temperature > 0:
        raise ValueError(f"temperature: got {temperature}; it must be above 0")
    hidden = None if mask is None else ~mask
    student = _softened_log_softmax(student_logits, temperature, hidden)
    with torch.no_grad():
        teacher = _softened_log_softmax(teacher_logits, temperature, hidden)
    return student, teacher


def _softened_log_softmax(logits: Tensor, temperature: float, hidden: Tensor | None) -> Tensor:
    logits = logits.float() / temperature
    if hidden is not None:
        logits = logits.masked_fill(hidden, torch.finfo(torch.float32).min)
    return torch.log_softmax(logits, dim=-1).clamp(min=NEGLIGIBLE_LOG_PROB)


def _check_shapes(first: Tensor, second: Tensor, mask: Tensor | None) -> None:
    if first.shape != second.shape or first.dim() != 2:
        raise ValueError(f"logits: got {list(first.shape)} and {list(second.shape)}; both must be the same [N, L]")
    if mask is not None and (mask.shape != first.shape or mask.dtype != torch.bool):
        raise ValueError(f"mask: got {list(mask.shape)} of {mask.dtype}; it must be bool {list(first.shape)}")
