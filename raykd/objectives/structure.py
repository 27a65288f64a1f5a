"""Terms of the student's loss for sequence labelling: the gold labels, and a teacher's labels, words or whole paths.

Structure-level knowledge distillation (arXiv:2004.03846). Each term is [B], one value for each sentence, summed over
its words and not divided by them; the loss of the paper is the mean over sentences. The notation, what is computed in
which dtype and the errors are those of `raykd.objectives.crf`; temperatures have no unit and are above 0, else
ValueError. No gradient flows into anything of the teacher.

A softmax head is a CRF whose transitions are all zero: its log marginals are its log-softmax. Each term therefore takes
a softmax student or teacher too, with zero transitions, or with its logits where log marginals are asked for.

Several teachers of one language: call a term once for each and average. For Top-K paths that is the same as putting
the paths side by side, where each teacher has all its K paths.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.objectives.chain import Transitions, at_least_float32
from raykd.objectives.crf import BestPaths, expected_counts, log_partition, path_scores
from raykd.objectives.kd import NEGLIGIBLE_LOG_PROB


def negative_log_likelihood(
    emissions: Tensor, tags: Tensor, mask: Tensor, transitions: Transitions, *, log_z: Tensor | None = None
) -> Tensor:
    """-log p(tags), [B] nats, at least 0 but for rounding.

    Args:
        tags: [B, L] int64 below V; any number outside the mask.
        log_z: [B], the student's log partition with its gradient, where the caller has it from `forward_backward`.
    """
    log_z = log_partition(emissions, mask, transitions) if log_z is None else log_z
    return log_z - path_scores(emissions, tags, mask, transitions)


def token_cross_entropy(logits: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of a softmax head [B, L, V] to the gold labels [B, L], summed over words, [B] nats."""
    if logits.dim() != 3 or tags.shape != logits.shape[:2]:
        raise ValueError(
            f"tags: got {list(tags.shape)} with logits {list(logits.shape)}; they must be [B, L], [B, L, V]"
        )
    _check_mask(mask, logits)
    ignored = -100
    gold = tags.masked_fill(~mask, ignored)
    words = at_least_float32(logits).masked_fill(~mask.unsqueeze(-1), 0)
    return F.cross_entropy(words.transpose(1, 2), gold, ignore_index=ignored, reduction="none").sum(dim=1)


def token_kd(student_logits: Tensor, teacher_logits: Tensor, mask: Tensor, *, temperature: float) -> Tensor:
    """KL(teacher || student) of the softened label distributions of the words, times T**2, summed over words.

    Of a softmax head's logits, and of a CRF's emissions without its transitions, "emission" distillation (eq. 4, 5).

    Args:
        student_logits: [B, L, V]; they need not be normalised.
        teacher_logits: [B, L, V].

    Returns:
        [B], nats times T**2. Never below 0 but for rounding; 0 where both agree.
    """
    if student_logits.shape != teacher_logits.shape or student_logits.dim() != 3:
        shapes = list(student_logits.shape), list(teacher_logits.shape)
        raise ValueError(f"logits: got {shapes[0]} and {shapes[1]}; both must be the same [B, L, V]")
    _check_mask(mask, student_logits)
    _check_temperature(temperature)
    student = _softened(student_logits, mask, temperature)
    with torch.no_grad():
        teacher = _softened(teacher_logits, mask, temperature)
    return (teacher.exp() * (teacher - student)).sum(dim=(1, 2)) * temperature**2


def posterior_kd(
    student_log_marginals: Tensor, teacher_log_marginals: Tensor, mask: Tensor, *, temperature: float
) -> Tensor:
    """KL(teacher || student) of the softened marginals of the labels, times T**2, summed over words (eq. 13).

    The temperature is that of the released code: each word's marginals to the power of 1 / T, normalised again.

    Args:
        student_log_marginals: [B, L, V], of `marginals` or `forward_backward`.
        teacher_log_marginals: [B, L, V].

    Returns:
        [B], nats times T**2. Never below 0 but for rounding; 0 where both agree.
    """
    return token_kd(student_log_marginals, teacher_log_marginals, mask, temperature=temperature)


def top_k_kd(
    emissions: Tensor, best: BestPaths, mask: Tensor, transitions: Transitions, *, log_z: Tensor | None = None
) -> Tensor:
    """The student's mean -log p of the teacher's best paths, each worth the same (eq. 8).

    Args:
        emissions: [B, L, V], the student's; so are the transitions.
        best: the teacher's paths. The mean is over those that are valid, at least one of each sentence.
        log_z: as in `negative_log_likelihood`.

    Returns:
        [B] nats, at least 0 but for rounding. A cross-entropy: not 0 where the student equals the teacher.
    """
    weights = best.valid / best.valid.sum(dim=1, keepdim=True)
    return _paths_cross_entropy(emissions, best, weights, mask, transitions, log_z)


def top_wk_kd(
    emissions: Tensor,
    best: BestPaths,
    mask: Tensor,
    transitions: Transitions,
    *,
    temperature: float = 1.0,
    log_z: Tensor | None = None,
) -> Tensor:
    """The student's mean -log p of the teacher's best paths, weighted by the teacher's p among them (eq. 9).

    Arguments and range are those of `top_k_kd`.

    Args:
        temperature: of the weights, which are the softmax of score / T. The paper has none: T = 1.
    """
    _check_temperature(temperature)
    scores = at_least_float32(best.scores.detach()) / temperature
    weights = scores.masked_fill(~best.valid, NEGLIGIBLE_LOG_PROB).softmax(dim=1)
    return _paths_cross_entropy(emissions, best, weights, mask, transitions, log_z)


def exact_kd(
    student_emissions: Tensor,
    teacher_emissions: Tensor,
    mask: Tensor,
    *,
    student_transitions: Transitions,
    teacher_transitions: Transitions,
    temperature: float,
    softening: Literal["local", "global"] = "local",
) -> Tensor:
    """KL(teacher || student) of the distributions over all labellings, times T**2 (eq. 6, as it is meant).

    The expected score of the student under the teacher needs the teacher's pair marginals only, as in Structural
    Knowledge Distillation (ACL 2021). The student's scores are divided by T, and the teacher

    - "global": likewise. That is the KL of the softened distributions, never below 0 but for rounding.
    - "local": raises each of its pair marginals to the power of 1 / T and normalises it by itself, as the released code
      does. No distribution need have those marginals, so that this is no KL unless T = 1: it can fall below 0, and a
      student that equals its teacher is at 0, but not at the minimum.

    Both are 0 where the student equals the teacher, and the same at T = 1. The gradient is that of the cross-entropy,
    which is more by what does not depend on the student. Nothing is clamped: that would end the gradient.

    Returns:
        [B], nats times T**2.
    """
    _check_temperature(temperature)
    if softening not in {"local", "global"}:
        raise ValueError(f"softening: got {softening!r}; it must be 'local' or 'global'")
    student, teacher = (
        at_least_float32(part) / temperature for part in (student_emissions, teacher_emissions.detach())
    )
    student_scores, teacher_scores = (part.softened(temperature) for part in (student_transitions, teacher_transitions))
    with torch.no_grad():
        if softening == "global":
            counts = expected_counts(teacher, mask, teacher_scores)
        else:
            counts = expected_counts(teacher_emissions, mask, teacher_transitions, temperature=temperature)
        teacher_log_z = log_partition(teacher, mask, teacher_scores)
    # The mean of the difference loses less to rounding than the difference of two means.
    between, start, end = (s - t.detach() for s, t in zip(student_scores, teacher_scores, strict=True))
    gap = (counts.labels * (student - teacher).masked_fill(~mask.unsqueeze(-1), 0)).sum(dim=(1, 2))
    gap = gap + (counts.pairs * between).sum(dim=(1, 2)) + (counts.first * start + counts.last * end).sum(dim=1)
    return (log_partition(student, mask, student_scores) - teacher_log_z - gap) * temperature**2


PATH_OBJECTIVES: dict[str, Callable[..., Tensor]] = {"top_k": top_k_kd, "top_wk": top_wk_kd}


def _paths_cross_entropy(
    emissions: Tensor, best: BestPaths, weights: Tensor, mask: Tensor, transitions: Transitions, log_z: Tensor | None
) -> Tensor:
    """The weights of a sentence sum to 1, and its log partition is the same for all its paths."""
    log_z = log_partition(emissions, mask, transitions) if log_z is None else log_z
    return log_z - (weights * path_scores(emissions, best.paths, mask, transitions)).sum(dim=1)


def _softened(logits: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Rows outside the mask become the same for student and teacher, and get no gradient."""
    logits = (at_least_float32(logits) / temperature).masked_fill(~mask.unsqueeze(-1), 0)
    return logits.log_softmax(dim=-1).clamp(min=NEGLIGIBLE_LOG_PROB)


def _check_mask(mask: Tensor, logits: Tensor) -> None:
    if mask.shape != logits.shape[:2] or mask.dtype != torch.bool:
        raise ValueError(f"mask: got {list(mask.shape)} of {mask.dtype}; it must be bool {list(logits.shape[:2])}")


def _check_temperature(temperature: float) -> None:
    if not temperature > 0:
        raise ValueError(f"temperature: got {temperature}; it must be above 0")
