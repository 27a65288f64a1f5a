"""Teachers of multi-level distillation: read from their signals, or forwarded again for every batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.models.gather import rank_and_size
from raykd.tasks.parallel.config import ParallelDistillation
from raykd.tasks.parallel.features import PairFeatures
from raykd.tasks.parallel.model import model_inputs
from raykd.tasks.parallel.sentences import EnglishFeatures
from raykd.tasks.parallel.terms import Taught
from raykd.tasks.teaching import Micro


class _Teacher(ABC):
    """What stored and live teachers have in common."""

    def __init__(self, features: PairFeatures, config: ParallelDistillation, *, device: torch.device) -> None:
        self.features, self.device = features, device
        self.gather = config.multilevel.relations == "gathered"
        self.needs_words = "word" in features.parts

    def mean_coefficient(self) -> None:
        """There is no coefficient."""
        return None

    def watched(self) -> Mapping[str, float]:
        """Nothing."""
        return {}

    def coefficients(self, steps: Sequence[np.ndarray]) -> list[list[float]]:
        """There are none."""
        return []

    def for_step(self, step: np.ndarray, micros: Sequence[Micro]) -> list[Taught]:
        """Vectors of the micro-batches of a step; `step` holds all of its pairs on all ranks."""
        counts = _shares(len(step)) if self.gather else None
        return [self._of(micro.indices, 0 if micro.idle else len(micro.indices), counts) for micro in micros]

    def _of(self, indices: np.ndarray, rows: int, counts: tuple[int, ...] | None) -> Taught:
        width = int(self.features.word_counts[indices].max()) + 2
        sentence, words = self._vectors(self.features.english_of[indices], width)
        return Taught(sentence, words if self.needs_words else None, rows, counts)

    @abstractmethod
    def _vectors(self, english: np.ndarray, width: int) -> tuple[Tensor, Tensor | None]:
        """[B, Ht] of English sentences, and [B, width, Ht] of their words, word w in row w + 1."""


def _shares(num_pairs: int) -> tuple[int, ...]:
    """Pairs of a step that each rank has, where every rank takes its share at once."""
    _, world_size = rank_and_size()
    return tuple(len(share) for share in np.array_split(np.arange(num_pairs), world_size))


class StoredTeacher(_Teacher):
    """A teacher read from its signals."""

    def __init__(
        self,
        features: PairFeatures,
        seen: EnglishFeatures,
        vectors: Tensor,
        config: ParallelDistillation,
        *,
        device: torch.device,
    ) -> None:
        """
        Args:
            vectors: [sum of `seen.signal_lengths`, Ht]: of every sentence its own vector, then those of its words.
        """
        super().__init__(features, config, device=device)
        self.vectors = vectors
        self.bounds = np.concatenate([[0], np.cumsum(seen.signal_lengths)])

    def _vectors(self, english: np.ndarray, width: int) -> tuple[Tensor, Tensor | None]:
        first, last = self.bounds[english], self.bounds[english + 1] - 1
        if not self.needs_words:
            return self._read(first), None
        rows = np.minimum(first[:, None] + np.arange(width), last[:, None])
        words = self._read(rows.ravel()).view(*rows.shape, -1)
        return words[:, 0], words

    def _read(self, rows: np.ndarray) -> Tensor:
        return self.vectors[torch.from_numpy(rows)].to(self.device, non_blocking=True).float()


class LiveTeacher(_Teacher):
    """A teacher that reads the English sentences of every batch again."""

    def __init__(
        self,
        features: PairFeatures,
        seen: EnglishFeatures,
        forward: Callable[..., Any],
        config: ParallelDistillation,
        *,
        device: torch.device,
    ) -> None:
        super().__init__(features, config, device=device)
        self.seen, self.forward = seen, forward

    def _vectors(self, english: np.ndarray, width: int) -> tuple[Tensor, Tensor | None]:
        batch = {name: tensor.to(self.device) for name, tensor in self.seen.collate(english).items()}
        with torch.no_grad():
            outputs = self.forward(**model_inputs(batch))
        sentence, words = outputs.sentence.float(), outputs.words.float()
        placed = words.new_zeros(len(words), max(width, words.shape[1] + 1), words.shape[2])
        placed[:, 1 : words.shape[1] + 1] = words
        return sentence, placed[:, :width]
