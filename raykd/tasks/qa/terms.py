"""Extractive QA: the loss terms of a batch, and the coefficient of its KD term."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from raykd.objectives.confidence import COEFFICIENTS, reduce_groups
from raykd.objectives.kd import DIRECTIONS, span_cross_entropy
from raykd.tasks.qa.config import QaDistillation

OUTPUTS = ("start", "end")
"""The signals of a QA teacher: a start and an end logit for each token of a window."""

ABSENT = -1e4
"""The teacher's logit where it says nothing: masked positions, padding, and pieces that none of its own moves to."""


@dataclass(frozen=True)
class TeacherSignals:
    """What the teacher says of a micro-batch.

    Attributes:
        start, end: logits [B, L].
        coefficient: [B, 2] of its KD term.
        pseudo: [B, 2] the answers, first and last token, that windows are trained on in place of all that the teacher
            says; -2 in a window with a label, -1 in one that is left out. None: there are no pseudo-labels.
    """

    start: Tensor
    end: Tensor
    coefficient: Tensor
    pseudo: Tensor | None = None


def label_term(outputs: Any, batch: dict[str, Tensor], *, padding: bool) -> Tensor:
    """Cross-entropy of start and end, halved, [B].

    Args:
        padding: whether padded positions take part, as in transformers' QA models. Where batches are as wide as their
            widest window the loss would then depend on who shares a batch, so they are left out.
    """
    mask = None if padding else batch["attention_mask"].bool()
    gold = batch["gold"]
    return span_cross_entropy(outputs.start_logits, outputs.end_logits, start=gold[:, 0], end=gold[:, 1], mask=mask)


def kd_term(
    outputs: Any, batch: dict[str, Tensor], teacher: TeacherSignals, config: QaDistillation, *, padding: bool
) -> Tensor:
    """The divergence of start and end, each times its coefficient, halved, [B].

    Args:
        padding: whether padded positions take part, as in the released code; only without `context_only`.
    """
    divergence = DIRECTIONS[config.direction]
    mask = positions(batch, config, padding=padding)
    logits = (outputs.start_logits, teacher.start), (outputs.end_logits, teacher.end)
    both = [divergence(student, target, temperature=config.temperature, mask=mask) for student, target in logits]
    term = (torch.stack(both, dim=1) * teacher.coefficient).mean(dim=1)
    if teacher.pseudo is None:
        return term
    first, last = teacher.pseudo.unbind(dim=1)
    hard = span_cross_entropy(outputs.start_logits, outputs.end_logits, start=first, end=last, mask=mask)
    return torch.where(first == -2, term, hard)


def positions(batch: dict[str, Tensor], config: QaDistillation, *, padding: bool) -> Tensor | None:
    """The positions [B, L] that distributions and rankings range over; None is all."""
    if config.context_only:
        return batch["context_mask"]
    return None if padding else batch["attention_mask"].bool()


def confidence(start: Tensor, end: Tensor, gold: Tensor, mask: Tensor | None, config: QaDistillation) -> Tensor:
    """The teacher's coefficient for each example and boundary, [B, 2], before any reduction."""
    if config.coefficient == "constant":
        return torch.ones(len(gold), 2, device=start.device)
    measure = COEFFICIENTS[config.coefficient]
    options = {"rank_cutoff": config.k, "window": config.window_bounds, "mask": mask}
    return torch.stack([measure(logits, gold[:, side], **options) for side, logits in enumerate((start, end))], dim=1)


def reduced(coefficients: Tensor, config: QaDistillation) -> Tensor:
    """[B, 2] coefficients of a step as the loss uses them: each its own, or one for each group."""
    if config.reduce == "example" or config.coefficient == "constant":
        return coefficients
    return reduce_groups(coefficients, group_size=config.reduce_group)
