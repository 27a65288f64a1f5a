"""Teachers of extractive QA: read from their signals, or forwarded again for every batch."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.tasks.form import plain_inputs
from raykd.tasks.qa.config import QaDistillation
from raykd.tasks.qa.decode import top_spans
from raykd.tasks.qa.features import QAFeatures
from raykd.tasks.qa.terms import ABSENT, OUTPUTS, TeacherSignals, confidence, positions, reduced
from raykd.tasks.teaching import Micro


class StoredTeacher:
    """A teacher read from its signals. Coefficients of all windows are computed once, when it is made."""

    def __init__(
        self,
        features: QAFeatures,
        signals: dict[str, Tensor],
        config: QaDistillation,
        *,
        device: torch.device,
        pad_to: int | None = None,
        num_labelled: int | None = None,
        pseudo_from: float | None = None,
        languages: Sequence[str] = (),
        noted: Mapping[str, float] | None = None,
    ) -> None:
        """
        Args:
            signals: `start` and `end`, [T] each, laid out as the tokens of `features`.
            num_labelled: the first so many windows have labels; None: all have. The coefficient of another one is the
                mean of theirs, which says how far this teacher is to be trusted.
            pseudo_from: as `Teaching` has it.
            languages: the language of the context of each window without labels.
            noted: what else is to be reported.
        """
        self.features, self.config, self.device, self.pad_to = features, config, device, pad_to
        self.num_labelled = len(features) if num_labelled is None else num_labelled
        self.bounds = torch.from_numpy(features.bounds)
        self.signals = torch.stack([signals[name].float() for name in OUTPUTS], dim=1)
        self.per_window, self.certainty = self._measured()
        self.pseudo = None if pseudo_from is None else self._pseudo_answers(pseudo_from)
        self.noted = dict(noted or {})
        if self.pseudo is not None:
            self.noted |= self._share_taken(self.pseudo, languages)

    def for_step(self, step: np.ndarray, micros: Sequence[Micro]) -> list[TeacherSignals]:
        """Signals of the micro-batches of a step; `step` holds all of its windows on all ranks."""
        of_step = reduced(self.per_window[torch.from_numpy(step)], self.config)
        place = {int(index): row for row, index in enumerate(step)}
        answers = []
        for micro in micros:
            start, end = self._padded(micro.indices)
            rows = torch.tensor([place[int(index)] for index in micro.indices])
            coefficient = of_step[rows].to(self.device, non_blocking=True)
            answers.append(
                TeacherSignals(
                    start.to(self.device, non_blocking=True),
                    end.to(self.device, non_blocking=True),
                    coefficient,
                    None if self.pseudo is None else self.pseudo[torch.from_numpy(micro.indices)].to(self.device),
                )
            )
        return answers

    def mean_coefficient(self) -> float:
        """Mean over the labelled windows and both boundaries."""
        return float(self.per_window[: self.num_labelled].mean())

    def watched(self) -> Mapping[str, float]:
        """`teacher_start` and `teacher_end`: its probability of the gold boundary in percent, mean over windows, with
        T = 1 and over the positions that the KD term compares. `pseudo_LANGUAGE`: windows without labels of a context
        language whose pseudo-labels count, in percent."""
        return {
            **dict(zip((f"teacher_{name}" for name in OUTPUTS), self.certainty.tolist(), strict=True)),
            **self.noted,
        }

    def coefficients(self, steps: Sequence[np.ndarray]) -> list[list[float]]:
        """Mean and deviation over the windows of each step, and both boundaries."""
        if self.config.coefficient == "constant":
            return []
        return torch.stack([_spread(self.per_window[torch.from_numpy(step)]) for step in steps]).tolist()

    def _padded(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        first = self.bounds[indices]
        lengths = self.bounds[indices + 1] - first
        columns = torch.arange(self.pad_to or int(lengths.max()))
        inside = columns < lengths[:, None]
        rows = self.signals[(first[:, None] + columns).clamp(max=len(self.signals) - 1)]
        start, end = rows.masked_fill(~inside[..., None], ABSENT).unbind(dim=-1)
        return start, end

    def _pseudo_answers(self, least: float) -> Tensor:
        """[N, 2] as `TeacherSignals.pseudo`."""
        answers = torch.full((len(self.features), 2), -2)
        answers[self.num_labelled :] = -1
        order = self.num_labelled + np.argsort(self.features.lengths[self.num_labelled :], kind="stable")
        for start in range(0, len(order), 1024):
            indices = order[start : start + 1024]
            context = self.features.collate(indices)["context_mask"]
            logits = [part[:, : context.shape[1]].masked_fill(~context, ABSENT) for part in self._padded(indices)]
            score, first, last = top_spans(*logits, context_mask=context)
            sure = score - sum(part.logsumexp(dim=1) for part in logits) >= math.log(max(least, 1e-30))
            answers[indices[sure.numpy()]] = torch.stack([first, last], dim=1)[sure]
        return answers

    def _share_taken(self, pseudo: Tensor, languages: Sequence[str]) -> dict[str, float]:
        """Percent of the unlabelled windows of each context language that the teacher is sure enough of."""
        sure, names = (pseudo[self.num_labelled :, 0] >= 0).numpy(), np.array(languages)
        return {f"pseudo_{name}": 100 * float(sure[names == name].mean()) for name in sorted({*languages})}

    def _measured(self) -> tuple[Tensor, Tensor]:
        """Coefficients of all windows, [N, 2], and the mean probability of the gold boundaries in percent, [2]."""
        values, certainty = torch.ones(len(self.features), 2), torch.zeros(2)
        order = np.argsort(self.features.lengths[: self.num_labelled], kind="stable")
        for start in range(0, len(order), 1024):
            indices = order[start : start + 1024]
            batch = self.features.collate(indices)
            width = batch["input_ids"].shape[1]
            first, last = (part[:, :width] for part in self._padded(indices))
            mask = positions(batch, self.config, padding=False)
            values[indices] = confidence(first, last, batch["gold"], mask, self.config)
            certainty += _certainty((first, last), batch["gold"], mask).sum(dim=0)
        values[self.num_labelled :] = values[: self.num_labelled].mean(dim=0)
        return values, 100 * certainty / max(len(order), 1)


def _certainty(logits: Sequence[Tensor], gold: Tensor, mask: Tensor | None) -> Tensor:
    """[B, 2] probabilities of the gold boundaries, out of logits [B, L] of each."""
    seen = logits if mask is None else [part.masked_fill(~mask, ABSENT) for part in logits]
    chances = [part.softmax(dim=-1).gather(1, gold[:, side, None]) for side, part in enumerate(seen)]
    return torch.cat(chances, dim=1)


class LiveTeacher:
    """A teacher that forwards every batch again."""

    def __init__(
        self,
        forward: Callable[..., Any],
        features: QAFeatures,
        teacher_features: QAFeatures | None,
        config: QaDistillation,
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
        self.taken: list[Tensor] = []

    def mean_coefficient(self) -> float:
        """Mean over the windows and boundaries answered for so far."""
        return float(self.sum) / max(self.count, 1)

    def watched(self) -> Mapping[str, float]:
        """Nothing: it would take a pass of its own."""
        return {}

    def coefficients(self, steps: Sequence[np.ndarray]) -> list[list[float]]:
        """Mean and deviation over the windows of each step that was asked for, and both boundaries."""
        taken, self.taken = self.taken, []
        return torch.stack(taken).tolist() if taken else []

    def for_step(self, step: np.ndarray, micros: Sequence[Micro]) -> list[TeacherSignals]:
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
        if self.config.coefficient != "constant":
            self.taken.append(_spread(values))
        values = reduced(values, self.config)
        return [TeacherSignals(start, end, values[rows]) for start, end, rows in parts]

    @torch.no_grad()
    def _logits(self, indices: np.ndarray, student: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        if self.seen is None:
            outputs = self.forward(**plain_inputs(student))
            return outputs.start_logits.float(), outputs.end_logits.float()
        batch = {name: tensor.to(self.device) for name, tensor in self.seen.collate(indices).items()}
        outputs = self.forward(**plain_inputs(batch))
        aligned = []
        for logits in (outputs.start_logits, outputs.end_logits):
            target = torch.full(student["context_mask"].shape, ABSENT, device=self.device)
            target[student["context_mask"]] = logits.float()[batch["context_mask"]]
            aligned.append(target)
        return aligned[0], aligned[1]


def _spread(values: Tensor) -> Tensor:
    """[2]: mean and standard deviation of all of them, on their device."""
    return torch.stack([values.mean(), values.std(correction=0)])


def align_signals(signals: dict[str, Tensor], seen: QAFeatures, features: QAFeatures) -> dict[str, Tensor]:
    """Signals over the teacher's view, laid out as the student's tokens; what is not context is `ABSENT`."""
    aligned = {name: torch.full((len(features.tokens),), ABSENT) for name in signals}
    for row in range(len(features)):
        first, past = features.context[row] + features.bounds[row]
        there, _ = seen.context[row] + seen.bounds[row]
        for name, values in signals.items():
            aligned[name][first:past] = values[there : there + past - first]
    return aligned
