"""Teachers of sequence labelling, read from their signals."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from raykd.objectives.crf import BestPaths, Transitions, k_best, log_partition, marginals, viterbi
from raykd.tasks.tagging.config import TaggingDistillation
from raykd.tasks.tagging.features import TagFeatures
from raykd.tasks.tagging.terms import TeacherSlot
from raykd.tasks.teaching import Micro, Reading

_WORDS_AT_ONCE = 1 << 13


class StoredTeacher:
    """Teachers that read their signals; each sentence has its own.

    Marginals and paths depend on the teacher alone: they are derived once, not in every step.
    """

    def __init__(
        self,
        features: TagFeatures,
        readings: Sequence[Reading],
        config: TaggingDistillation,
        *,
        device: torch.device,
        num_labelled: int | None = None,
        pseudo_from: float | None = None,
    ) -> None:
        """
        Args:
            num_labelled: the first so many windows have labels; None: all have.
            pseudo_from: as `Teaching` has it.
        """
        self.device, self.word_counts = device, features.word_counts
        self.counts = torch.from_numpy(features.word_counts.astype(np.int64)).to(device)
        self.starts = torch.cumsum(self.counts, 0) - self.counts
        self.transitions = Transitions(
            *(
                torch.stack([_constant(reading, name) for reading in readings]).to(device)
                for name in ("between", "start", "end")
            )
        )
        slots = _slots(features, readings)
        self.who = [torch.from_numpy(who).to(device) for who, _ in slots]
        self.emissions = [flat.to(device) for _, flat in slots]
        num_teachers = sum((who >= 0).astype(np.int64) for who, _ in slots)
        self.shares = (1 / torch.from_numpy(np.maximum(num_teachers, 1))).float().to(device)
        objective = config.objective
        self.log_marginals: list[Tensor] | None = None
        self.paths: list[tuple[Tensor, Tensor, Tensor]] | None = None
        if objective in ("posterior", "posterior_top_wk"):
            self.log_marginals = [self._derived_marginals(slot) for slot in range(len(slots))]
        if objective in ("top_k", "top_wk", "posterior_top_wk"):
            self.paths = [self._derived_paths(slot, config.k) for slot in range(len(slots))]
        self.pseudo: list[tuple[Tensor, Tensor]] | None = None
        self.taken: dict[str, float] = {}
        if pseudo_from is not None and num_labelled is not None:
            self.pseudo = [self._pseudo_labels(slot, num_labelled, pseudo_from) for slot in range(len(slots))]
            self.taken = self._share_taken(features, num_labelled)

    def for_step(self, step: np.ndarray, micros: Sequence[Micro]) -> list[list[TeacherSlot]]:
        """What the teachers say about the windows of each micro-batch."""
        return [[self._slot(slot, micro.indices) for slot in range(len(self.who))] for micro in micros]

    def mean_coefficient(self) -> None:
        """There is none."""

    def watched(self) -> Mapping[str, float]:
        """`pseudo_LANGUAGE`: unlabelled sentences of a language whose pseudo-labels count, in percent."""
        return self.taken

    def coefficients(self, steps: Sequence[np.ndarray]) -> list[list[float]]:
        """There are none."""
        return []

    def _slot(self, slot: int, indices: np.ndarray) -> TeacherSlot:
        rows = torch.from_numpy(indices).to(self.device)
        words, mask = self._words(rows, width=int(self.word_counts[indices].max()))
        who = self.who[slot][rows]
        best = None
        if self.paths is not None:
            labels, scores, valid = self.paths[slot]
            paths = (labels[words].long() * mask.unsqueeze(-1)).transpose(1, 2)
            best = BestPaths(paths, scores[rows], valid[rows])
        pseudo, taken = (None, None) if self.pseudo is None else self.pseudo[slot]
        return TeacherSlot(
            weight=self.shares[rows] * (who >= 0),
            emissions=self.emissions[slot][words].float(),
            transitions=Transitions(*(part[who.clamp(min=0)] for part in self.transitions)),
            log_marginals=None if self.log_marginals is None else self.log_marginals[slot][words],
            best=best,
            pseudo=None if pseudo is None else pseudo[words].long() * mask,
            pseudo_weight=None if taken is None else taken[rows],
        )

    def _words(self, rows: Tensor, *, width: int) -> tuple[Tensor, Tensor]:
        """[B, W] where the words of windows are in the flat arrays, and which are words at all."""
        counts, column = self.counts[rows], torch.arange(width, device=self.device)
        mask = column < counts.unsqueeze(-1)
        return (self.starts[rows].unsqueeze(-1) + column).masked_fill(~mask, 0), mask

    @torch.no_grad()
    def _derived_marginals(self, slot: int) -> Tensor:
        found = torch.zeros_like(self.emissions[slot], dtype=torch.float32)
        for _, words, mask, transitions in self._batches(slot):
            found[words[mask]] = marginals(self.emissions[slot][words], mask, transitions)[mask]
        return found

    @torch.no_grad()
    def _derived_paths(self, slot: int, num_paths: int) -> tuple[Tensor, Tensor, Tensor]:
        flat = self.emissions[slot]
        labels = torch.zeros(len(flat), num_paths, dtype=torch.int16, device=self.device)
        scores = torch.zeros(len(self.counts), num_paths, device=self.device)
        valid = torch.zeros(len(self.counts), num_paths, dtype=torch.bool, device=self.device)
        valid[:, 0] = True
        for rows, words, mask, transitions in self._batches(slot):
            best = k_best(flat[words], mask, transitions, num_paths)
            labels[words[mask]] = best.paths.transpose(1, 2)[mask].to(torch.int16)
            scores[rows], valid[rows] = best.scores, best.valid
        return labels, scores, valid

    @torch.no_grad()
    def _pseudo_labels(self, slot: int, num_labelled: int, least: float) -> tuple[Tensor, Tensor]:
        """[words] the best label of each word, and [N] the weight of each window, see `TeacherSlot`."""
        flat = self.emissions[slot]
        labels = torch.zeros(len(flat), dtype=torch.int16, device=self.device)
        weight = torch.zeros(len(self.counts), device=self.device)
        for rows, words, mask, transitions in self._batches(slot):
            emissions = flat[words].float()
            best, score = viterbi(emissions, mask, transitions)
            labels[words[mask]] = best[mask].to(torch.int16)
            weight[rows] = (score - log_partition(emissions, mask, transitions) >= math.log(max(least, 1e-30))).float()
        weight[:num_labelled] = -1
        return labels, weight

    def _share_taken(self, features: TagFeatures, num_labelled: int) -> dict[str, float]:
        """Percent of the unlabelled windows of each language that any teacher is sure enough of."""
        assert self.pseudo is not None, "asked for where there are pseudo-labels"
        sure = torch.stack([weight > 0 for _, weight in self.pseudo]).any(dim=0).cpu().numpy()[num_labelled:]
        numbers = features.language[num_labelled:]
        return {
            f"pseudo_{features.languages[number]}": 100 * float(sure[numbers == number].mean())
            for number in np.unique(numbers).tolist()
        }

    def _batches(self, slot: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Transitions]]:
        """All windows that have a teacher in a slot, those of like length together."""
        taught = np.flatnonzero(self.who[slot].cpu().numpy() >= 0)
        order = taught[np.argsort(-self.word_counts[taught], kind="stable")]
        start = 0
        while start < len(order):
            width = int(self.word_counts[order[start]])
            chosen = order[start : start + max(1, _WORDS_AT_ONCE // width)]
            rows = torch.from_numpy(chosen).to(self.device)
            words, mask = self._words(rows, width=width)
            yield rows, words, mask, Transitions(*(part[self.who[slot][rows]] for part in self.transitions))
            start += len(chosen)


def as_cut(reading: Reading, features: TagFeatures) -> Reading:
    """What a teacher says of the words of its windows, window for window as a student has cut the same sentences.

    Signals are of words, so any two tokenizers will do.
    """
    read = reading.features
    if read is None or read is features:
        return reading
    # Windows hold each word of the sentences once, in order: a word has one number in both.
    words = _word_rows(read.word_bounds[reading.rows], read.word_bounds[reading.rows + 1])
    taught = np.zeros(int(features.word_bounds[-1]) + 1, dtype=np.int64)
    taught[words + 1] = 1
    count = np.cumsum(taught)[features.word_bounds]
    rows = np.flatnonzero(np.diff(count) == features.word_counts)
    whole = {name: values.new_zeros(len(taught) - 1, *values.shape[1:]) for name, values in reading.arrays.items()}
    kept = _word_rows(features.word_bounds[rows], features.word_bounds[rows + 1])
    for name, values in reading.arrays.items():
        whole[name][words] = values
    return Reading(rows, {name: values[kept] for name, values in whole.items()}, reading.constants, features)


def _slots(features: TagFeatures, readings: Sequence[Reading]) -> list[tuple[np.ndarray, Tensor]]:
    """The first teacher of each sentence, the second, and so on.

    Returns:
        For each slot [N], the number of the reading, -1 for a sentence without such a teacher, and [words, V], what it
        says, as stored, 0 where nobody does.
    """
    slots: list[tuple[np.ndarray, Tensor]] = []
    num_teachers = np.zeros(len(features), dtype=np.int64)
    for number, reading in enumerate(readings):
        emissions, rows = reading.arrays["emissions"], reading.rows
        ends = np.cumsum(features.word_counts[rows])
        starts = ends - features.word_counts[rows]
        for slot in np.unique(num_teachers[rows]).tolist():
            if slot == len(slots):
                flat = emissions.new_zeros(int(features.word_bounds[-1]), emissions.shape[-1])
                slots.append((np.full(len(features), -1), flat))
            chosen = np.flatnonzero(num_teachers[rows] == slot)
            who, flat = slots[slot]
            who[rows[chosen]] = number
            target = _word_rows(features.word_bounds[rows[chosen]], features.word_bounds[rows[chosen] + 1])
            flat[target] = emissions[_word_rows(starts[chosen], ends[chosen])]
        num_teachers[rows] += 1
    return slots


def _word_rows(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    spans = [np.arange(start, end) for start, end in zip(starts, ends, strict=True)]
    return np.concatenate(spans) if spans else np.zeros(0, dtype=np.int64)


def _constant(reading: Reading, name: str) -> Tensor:
    """A teacher's transition scores; zeros of a softmax head."""
    size = reading.arrays["emissions"].shape[-1]
    shape = (size, size) if name == "between" else (size,)
    return reading.constants.get(name, torch.zeros(shape)).float()
