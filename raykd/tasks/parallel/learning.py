"""The loss of multi-level distillation on parallel text, and the teachers that it is distilled from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from raykd.config.point import DistillationConfig
from raykd.models.gather import rank_and_size
from raykd.objectives.multilevel import masked_lm, sentence_alignment, structure_alignment, word_contrast
from raykd.tasks.parallel.features import PairFeatures
from raykd.tasks.parallel.sentences import EnglishFeatures

PARTS = ("word", "sentence", "structure")
_ENCODED = ("input_ids", "attention_mask", "token_type_ids", "first", "word_mask")
_TAUGHT = ("x_ids", "x_mask", "context_ids", "context_mask", "context_types", "word_first")
_MASKED = ("tlm_ids", "tlm_mask", "tlm_types", "tlm_rows", "tlm_columns")


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What an encoder reads of a batch of sentences."""
    return {name: batch[name] for name in _ENCODED if name in batch}


@dataclass(frozen=True)
class EpochPairs:
    """The pairs of an epoch with its masks, and what makes a sum over masked pieces the mean over those of its step.

    Attributes:
        scales: [N, 2] pairs of the step over its masked pieces, and over its pairs with a masked word.
    """

    features: PairFeatures
    scales: np.ndarray

    @classmethod
    def of(cls, features: PairFeatures, steps: Sequence[np.ndarray]) -> "EpochPairs":
        """Of features whose masks are those of the epoch, and the steps that it is cut into."""
        scales = np.zeros((len(features), 2), dtype=np.float32)
        for step in steps:
            pieces, pairs = features.num_masked(step)
            scales[step] = len(step) / max(pieces, 1), len(step) / max(pairs, 1)
        return cls(features, scales)

    def collate(self, indices: np.ndarray, *, pad_to: int | None = None) -> dict[str, Tensor]:
        """As `PairFeatures.collate`, and `tlm_scale`, `word_scale` [B]."""
        scales = torch.from_numpy(self.scales[indices])
        return self.features.collate(indices, pad_to=pad_to) | {"tlm_scale": scales[:, 0], "word_scale": scales[:, 1]}


class Taught(NamedTuple):
    """What a teacher says about a micro-batch of B pairs.

    Attributes:
        sentence: [B, Ht] of the English sentences.
        words: [B, W + 2, Ht], word w in row w + 1, as `word_first` counts them; None where words are not compared.
        rows: how many of the pairs are real; an idle micro-batch has none.
        counts: `rows` of every worker, whose sentences are compared with these; None: these alone are.
    """

    sentence: Tensor
    words: Tensor | None
    rows: int
    counts: tuple[int, ...] | None


def student_inputs(batch: Mapping[str, Tensor], taught: Taught | None) -> dict[str, Any]:
    """What a student in training reads of a batch; without a teacher only what is masked."""
    names = _MASKED if taught is None else (*_MASKED, *_TAUGHT)
    inputs: dict[str, Any] = {name: batch[name] for name in names if name in batch}
    if taught is not None and "x_ids" in batch:
        inputs |= {"teacher_sentence": taught.sentence, "rows": taught.rows, "counts": taught.counts}
    return inputs


def loss_terms(
    outputs: Any, batch: Mapping[str, Tensor], taught: Taught | None, config: DistillationConfig
) -> tuple[Tensor, Tensor | None, dict[str, Tensor]]:
    """Label term (TLM), KD term and its parts, [B] each; the mean over a step's pairs is the mean of MMKD's terms."""
    num_pairs = len(batch["tlm_scale"])
    label = batch["tlm_scale"].new_zeros(num_pairs)
    if outputs.masked_logits is not None:
        sums = masked_lm(outputs.masked_logits, batch["tlm_labels"], batch["tlm_rows"], num_pairs)
        label = sums * batch["tlm_scale"]
    if taught is None:
        return label, None, {}
    weights, parts = config.multilevel, {}
    if outputs.words is not None:
        words = word_contrast(
            taught.words,
            outputs.words,
            batch["word_mask"],
            batch["word_masked"],
            similarity=weights.word_similarity,
            temperature=weights.word_temperature,
        )
        parts["word"] = words * batch["word_scale"]
    if outputs.sentence_query is not None:
        parts["sentence"] = sentence_alignment(outputs.sentence_query, outputs.sentence_key)
    if outputs.structure_query is not None:
        temperature = weights.structure_temperature
        parts["structure"] = structure_alignment(
            outputs.structure_query, outputs.structure_key, temperature=temperature
        )
    for name in parts.keys() & {"sentence", "structure"}:
        parts[name] = _own(parts[name], outputs.own, num_pairs)
    kd = sum((getattr(weights, f"{name}_weight") * values for name, values in parts.items()), label.new_zeros(()))
    return label, kd, parts


def _own(values: Tensor, own: tuple[int, int], num_pairs: int) -> Tensor:
    """This worker's part of the values of all, [B]; 0 for rows that are not real."""
    mine = values[own[0] : own[1]]
    # An empty slice is in the graph too: a worker without a row takes part in what comes back to the others.
    return torch.cat([mine, mine.new_zeros(num_pairs - len(mine))])


class _Teacher(ABC):
    """What stored and live teachers have in common."""

    def __init__(self, features: PairFeatures, config: DistillationConfig, *, device: torch.device) -> None:
        self.features, self.device = features, device
        self.gather = config.multilevel.relations == "gathered"
        self.needs_words = "word" in features.parts

    def mean_coefficient(self) -> None:
        """There is no coefficient."""
        return None

    def for_step(self, step: np.ndarray, micros: Sequence[Any]) -> list[Taught]:
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
        config: DistillationConfig,
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
        config: DistillationConfig,
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
