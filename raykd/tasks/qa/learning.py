"""Extractive QA: the loss terms of a batch, teachers that answer for a step, and scores of the G-XLT matrix."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.config.point import DistillationConfig
from raykd.data.examples import QAExample
from raykd.objectives.confidence import COEFFICIENTS, reduce_groups
from raykd.objectives.kd import DIRECTIONS, span_cross_entropy
from raykd.tasks.qa.decode import top_spans
from raykd.tasks.qa.features import QAFeatures
from raykd.tasks.qa.scoring import CellScore, QuestionScore, score_questions

MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUTS = ("start", "end")
"""The signals of a QA teacher: a start and an end logit for each token of a window."""

ABSENT = -1e4
"""The teacher's logit where it says nothing; such positions are masked or padding."""


@dataclass(frozen=True)
class TeacherSignals:
    """What the teacher says of a micro-batch: logits [B, L] each, and the coefficient [B, 2] of its KD term."""

    start: Tensor
    end: Tensor
    coefficient: Tensor


def model_inputs(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The part of a batch that a model reads."""
    return {name: batch[name] for name in MODEL_INPUTS if name in batch}


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
    outputs: Any, batch: dict[str, Tensor], teacher: TeacherSignals, config: DistillationConfig, *, padding: bool
) -> Tensor:
    """The divergence of start and end, each times its coefficient, halved, [B].

    Args:
        padding: whether padded positions take part, as in the released code; only without `context_only`.
    """
    divergence = DIRECTIONS[config.direction]
    mask = positions(batch, config, padding=padding)
    logits = (outputs.start_logits, teacher.start), (outputs.end_logits, teacher.end)
    both = [divergence(student, target, temperature=config.temperature, mask=mask) for student, target in logits]
    return (torch.stack(both, dim=1) * teacher.coefficient).mean(dim=1)


def positions(batch: dict[str, Tensor], config: DistillationConfig, *, padding: bool) -> Tensor | None:
    """The positions [B, L] that distributions and rankings range over; None is all."""
    if config.context_only:
        return batch["context_mask"]
    return None if padding else batch["attention_mask"].bool()


def confidence(start: Tensor, end: Tensor, gold: Tensor, mask: Tensor | None, config: DistillationConfig) -> Tensor:
    """The teacher's coefficient for each example and boundary, [B, 2], before any reduction."""
    if config.coefficient == "constant":
        return torch.ones(len(gold), 2, device=start.device)
    measure = COEFFICIENTS[config.coefficient]
    options = {"rank_cutoff": config.k, "window": config.window_bounds, "mask": mask}
    return torch.stack([measure(logits, gold[:, side], **options) for side, logits in enumerate((start, end))], dim=1)


class StoredTeacher:
    """A teacher read from its signals. Coefficients of all windows are computed once, when it is made."""

    def __init__(
        self,
        features: QAFeatures,
        signals: dict[str, Tensor],
        config: DistillationConfig,
        *,
        device: torch.device,
        pad_to: int | None = None,
    ) -> None:
        """
        Args:
            signals: `start` and `end`, [T] each, laid out as the tokens of `features`.
        """
        self.features, self.config, self.device, self.pad_to = features, config, device, pad_to
        self.bounds = torch.from_numpy(features.bounds)
        self.signals = torch.stack([signals[name].float() for name in OUTPUTS], dim=1)
        self.coefficients = self._coefficients()

    def for_step(self, step: np.ndarray, micros: Sequence[Any]) -> list[TeacherSignals]:
        """Signals of the micro-batches of a step; `step` holds all of its windows on all ranks."""
        of_step = reduced(self.coefficients[torch.from_numpy(step)], self.config)
        place = {int(index): row for row, index in enumerate(step)}
        answers = []
        for micro in micros:
            start, end = self._padded(micro.indices)
            rows = torch.tensor([place[int(index)] for index in micro.indices])
            coefficient = of_step[rows].to(self.device, non_blocking=True)
            answers.append(
                TeacherSignals(
                    start.to(self.device, non_blocking=True), end.to(self.device, non_blocking=True), coefficient
                )
            )
        return answers

    def mean_coefficient(self) -> float:
        """Mean over all windows and both boundaries."""
        return float(self.coefficients.mean())

    def _padded(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        first = self.bounds[indices]
        lengths = self.bounds[indices + 1] - first
        columns = torch.arange(self.pad_to or int(lengths.max()))
        inside = columns < lengths[:, None]
        rows = self.signals[(first[:, None] + columns).clamp(max=len(self.signals) - 1)]
        start, end = rows.masked_fill(~inside[..., None], ABSENT).unbind(dim=-1)
        return start, end

    def _coefficients(self) -> Tensor:
        values = torch.ones(len(self.features), 2)
        if self.config.coefficient == "constant":
            return values
        order = np.argsort(self.features.lengths, kind="stable")
        for start in range(0, len(order), 1024):
            indices = order[start : start + 1024]
            batch = self.features.collate(indices)
            logits = [part[:, : batch["input_ids"].shape[1]] for part in self._padded(indices)]
            mask = positions(batch, self.config, padding=False)
            values[indices] = confidence(*logits, batch["gold"], mask, self.config)
        return values


class LiveTeacher:
    """A teacher that forwards every batch again."""

    def __init__(
        self,
        forward: Callable[..., Any],
        features: QAFeatures,
        teacher_features: QAFeatures | None,
        config: DistillationConfig,
        *,
        device: torch.device,
        pad_to: int | None = None,
    ) -> None:
        """
        Args:
            forward: the frozen model, or several whose logits are averaged.
            teacher_features: what the teacher reads where it is not what the student reads.
        """
        self.forward, self.features, self.seen = forward, features, teacher_features
        self.config, self.device, self.pad_to = config, device, pad_to
        self.sum, self.count = torch.zeros((), device=device), 0

    def mean_coefficient(self) -> float:
        """Mean over the windows and boundaries answered for so far."""
        return float(self.sum) / max(self.count, 1)

    def for_step(self, step: np.ndarray, micros: Sequence[Any]) -> list[TeacherSignals]:
        """Signals of the micro-batches of a step; `step` holds all of its windows on all ranks."""
        place = {int(index): row for row, index in enumerate(step)}
        values = torch.zeros(len(step), 2, device=self.device)
        parts = []
        for micro in micros:
            student = {
                name: tensor.to(self.device)
                for name, tensor in self.features.collate(micro.indices, pad_to=self.pad_to).items()
            }
            start, end = self._logits(micro.indices, student)
            rows = torch.tensor([place[int(index)] for index in micro.indices], device=self.device)
            mask = positions(student, self.config, padding=self.pad_to is not None)
            if not micro.idle:
                values[rows] = confidence(start, end, student["gold"], mask, self.config)
            parts.append((start, end, rows))
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            torch.distributed.all_reduce(values)
        self.sum += values.sum()
        self.count += values.numel()
        values = reduced(values, self.config)
        return [TeacherSignals(start, end, values[rows]) for start, end, rows in parts]

    @torch.no_grad()
    def _logits(self, indices: np.ndarray, student: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        if self.seen is None:
            outputs = self.forward(**model_inputs(student))
            return outputs.start_logits.float(), outputs.end_logits.float()
        batch = {name: tensor.to(self.device) for name, tensor in self.seen.collate(indices).items()}
        outputs = self.forward(**model_inputs(batch))
        aligned = []
        for logits in (outputs.start_logits, outputs.end_logits):
            target = torch.full(student["context_mask"].shape, ABSENT, device=self.device)
            target[student["context_mask"]] = logits.float()[batch["context_mask"]]
            aligned.append(target)
        return aligned[0], aligned[1]


def reduced(coefficients: Tensor, config: DistillationConfig) -> Tensor:
    """[B, 2] coefficients of a step as the loss uses them: each its own, or one for each group."""
    if config.reduce == "example" or config.coefficient == "constant":
        return coefficients
    return reduce_groups(coefficients, group_size=config.reduce_group)


def align_signals(signals: dict[str, Tensor], seen: QAFeatures, features: QAFeatures) -> dict[str, Tensor]:
    """Signals over the teacher's view, laid out as the student's tokens; what is not context is `ABSENT`."""
    aligned = {name: torch.full((len(features.tokens),), ABSENT) for name in signals}
    for row in range(len(features)):
        first, past = features.context[row] + features.bounds[row]
        there, _ = seen.context[row] + seen.bounds[row]
        for name, values in signals.items():
            aligned[name][first:past] = values[there : there + past - first]
    return aligned


def best_answers(
    features: QAFeatures, examples: Sequence[QAExample], spans: Iterable[tuple[int, float, int, int]]
) -> dict[int, str]:
    """Example number -> the answer of its best window.

    Args:
        spans: (window, score, first token, last token), any order.
    """
    best: dict[int, tuple[float, int, int, int]] = {}
    for window, score, first, last in spans:
        number = int(features.example[window])
        if number not in best or (score, -window) > (best[number][0], -best[number][1]):
            best[number] = (score, window, first, last)
    answers = {}
    for number, (_, window, first, last) in best.items():
        start = features.chars[features.bounds[window] + first, 0]
        end = features.chars[features.bounds[window] + last, 1]
        answers[number] = examples[number].context[start:end].strip()
    return answers


def spans_of(
    outputs: Any, batch: dict[str, Tensor], indices: np.ndarray, *, max_answer_tokens: int
) -> list[tuple[int, float, int, int]]:
    """The best span of every window of a batch, as `best_answers` takes it."""
    scores, first, last = top_spans(
        outputs.start_logits,
        outputs.end_logits,
        context_mask=batch["context_mask"],
        max_answer_tokens=max_answer_tokens,
    )
    return list(zip(indices.tolist(), scores.tolist(), first.tolist(), last.tolist(), strict=True))


def score_answers(
    cells: dict[tuple[str, str], list[int]],
    answers: dict[int, str],
    examples: Sequence[QAExample],
    *,
    normalization: str,
) -> dict[tuple[str, str], dict[str, QuestionScore]]:
    """Exact match and F1 of every question of every cell, by its id, in percent.

    Args:
        cells: cell -> example numbers.
        answers: example number -> prediction; none counts as an empty answer.
        normalization: `mlqa`, by the rules of the context's language, or `squad`, English for all.
    """
    scores = {}
    for (question, context), numbers in cells.items():
        golds = {examples[number].id: [answer.text for answer in examples[number].answers] for number in numbers}
        predictions = {examples[number].id: answers.get(number, "") for number in numbers}
        language = context if normalization == "mlqa" else "en"
        scores[question, context] = score_questions(predictions, golds, language=language, style=normalization)
    return scores


def cells_to_json(scores: dict[tuple[str, str], CellScore]) -> dict[str, dict[str, float]]:
    """Cell scores as a result holds them: "question-context" -> numbers in percent."""
    return {
        f"{question}-{context}": {"f1": cell.f1, "exact_match": cell.exact_match, "num_questions": cell.num_questions}
        for (question, context), cell in scores.items()
    }
