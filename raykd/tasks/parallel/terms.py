"""The loss of multi-level distillation on parallel text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from raykd.objectives.multilevel import masked_lm, sentence_alignment, structure_alignment, word_contrast
from raykd.tasks.parallel.config import ParallelDistillation
from raykd.tasks.parallel.features import PairFeatures

PARTS = ("word", "sentence", "structure")
_TAUGHT = ("x_ids", "x_mask", "context_ids", "context_mask", "context_types", "word_first")
_MASKED = ("tlm_ids", "tlm_mask", "tlm_types", "tlm_rows", "tlm_columns")


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
    outputs: Any, batch: Mapping[str, Tensor], taught: Taught | None, config: ParallelDistillation
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
            cast(Tensor, taught.words),
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
