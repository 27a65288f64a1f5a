"""Sequence labelling between model and objectives: loss terms, and best labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from raykd.objectives.crf import BestPaths, Transitions, forward_backward, log_partition, viterbi
from raykd.objectives.structure import (
    exact_kd,
    negative_log_likelihood,
    posterior_kd,
    token_cross_entropy,
    token_kd,
    top_k_kd,
    top_wk_kd,
)
from raykd.tasks.tagging.config import TaggingDistillation

OUTPUTS = ("emissions",)


@dataclass(frozen=True)
class TeacherSlot:
    """What one teacher of each sentence of a batch says; sentences differ in who it is.

    Attributes:
        weight: [B], 1 / number of the sentence's teachers; 0 where it has fewer.
        emissions: [B, W, V].
        log_marginals: [B, W, V], for the objectives that need them.
        best: its paths, likewise.
        pseudo: [B, W] the labels that unlabelled sentences are trained on in place of all that the teacher says; None:
            there are no pseudo-labels.
        pseudo_weight: [B], 1 for a sentence whose pseudo-labels count, 0 for one that is left out, -1 for one that has
            labels.
    """

    weight: Tensor
    emissions: Tensor
    transitions: Transitions
    log_marginals: Tensor | None
    best: BestPaths | None
    pseudo: Tensor | None = None
    pseudo_weight: Tensor | None = None


def transitions_of(outputs: Any) -> Transitions | None:
    """A CRF's transitions; None of a softmax head."""
    return None if outputs.between is None else Transitions(outputs.between, outputs.start, outputs.end)


def loss_terms(
    outputs: Any, batch: Mapping[str, Tensor], slots: Sequence[TeacherSlot] | None, config: TaggingDistillation
) -> tuple[Tensor, Tensor | None]:
    """Label and KD term of a batch, [B] each, summed over words; no KD term without a teacher."""
    emissions, mask, own = outputs.emissions, batch["word_mask"], transitions_of(outputs)
    objective = config.objective
    log_z = log_marginals = None
    if own is None:
        label = token_cross_entropy(emissions, batch["tags"], mask)
        log_marginals = emissions  # normalised or not is the same to a softmax
    else:
        if slots is not None and objective in ("posterior", "posterior_top_wk"):
            log_z, log_marginals = forward_backward(emissions, mask, own)
        else:
            log_z = log_partition(emissions, mask, own)
        label = negative_log_likelihood(emissions, batch["tags"].clamp(min=0), mask, own, log_z=log_z)
    if slots is None:
        return label, None
    student = emissions, mask, own, log_z, log_marginals
    said = (slot.weight * _with_pseudo(_kd_term(objective, student, slot, config), student, slot) for slot in slots)
    return label, sum(said, torch.zeros_like(label))


def _with_pseudo(term: Tensor, student: tuple[Any, ...], slot: TeacherSlot) -> Tensor:
    """A KD term, [B], in which sentences with pseudo-labels cost what these cost."""
    if slot.pseudo is None or slot.pseudo_weight is None:
        return term
    emissions, mask, own, log_z, _ = student
    if own is None:
        hard = token_cross_entropy(emissions, slot.pseudo, mask)
    else:
        hard = negative_log_likelihood(emissions, slot.pseudo, mask, own, log_z=log_z)
    return torch.where(slot.pseudo_weight < 0, term, hard * slot.pseudo_weight.clamp(min=0))


def _kd_term(objective: str, student: tuple[Any, ...], slot: TeacherSlot, config: TaggingDistillation) -> Tensor:
    emissions, mask, own, log_z, log_marginals = student
    taught, best = cast(Tensor, slot.log_marginals), cast(BestPaths, slot.best)
    soft = {"temperature": config.temperature}
    match objective:
        case "token" | "emission":
            return token_kd(emissions, slot.emissions, mask, **soft)
        case "posterior":
            return posterior_kd(log_marginals, taught, mask, **soft)
        case "top_k":
            return top_k_kd(emissions, best, mask, own, log_z=log_z)
        case "top_wk":
            return top_wk_kd(emissions, best, mask, own, log_z=log_z, temperature=config.path_temperature)
        case "posterior_top_wk":
            parts = posterior_kd(log_marginals, taught, mask, **soft)
            parts = parts + top_wk_kd(emissions, best, mask, own, log_z=log_z, temperature=config.path_temperature)
            return parts / 2 if config.combine == "mean" else parts
        case "exact":
            return exact_kd(
                emissions,
                slot.emissions,
                mask,
                student_transitions=own,
                teacher_transitions=slot.transitions,
                softening=config.exact_temperature,
                **soft,
            )
    raise ValueError(f"objective: got {objective!r}")


def best_labels(outputs: Any, batch: Mapping[str, Tensor], indices: np.ndarray) -> list[tuple[int, list[int]]]:
    """Window and its best labels, for each window of a batch."""
    own = transitions_of(outputs)
    if own is None:
        tags = outputs.emissions.argmax(dim=-1)
    else:
        tags, _ = viterbi(outputs.emissions, batch["word_mask"], own)
    counts = batch["word_mask"].sum(dim=1).tolist()
    return [(window, row[:count]) for window, row, count in zip(indices.tolist(), tags.tolist(), counts, strict=True)]
