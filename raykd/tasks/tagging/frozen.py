"""What a frozen encoder says of every word: read once, so that an epoch trains the head alone."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.models.tagging import TagModel
from raykd.tasks.ragged import padded, stretches
from raykd.tasks.tagging.config import TaggingPoint
from raykd.tasks.tagging.features import NO_TAG, TagFeatures
from raykd.tasks.tagging.model import model_inputs
from raykd.tasks.tagging.sets import TagTrainSet

MOST_CACHED = 4 << 30
"""Bytes of a frozen encoder's vectors that are kept; of more than that it is asked in every epoch."""


@dataclass(frozen=True)
class ReadFeatures:
    """Windows of which an encoder has read all words.

    Attributes:
        features: the windows.
        words: [words, H] the vectors of their words, end to end.
    """

    features: TagFeatures
    words: Tensor

    @cached_property
    def lengths(self) -> np.ndarray:
        """[N] tokens of each window."""
        return self.features.lengths

    def collate(self, indices: np.ndarray, *, pad_to: int | None = None) -> dict[str, Tensor]:
        """A batch of B windows, W words wide: `words` [B, W, H], `word_mask` [B, W] bool, `tags` [B, W] int64 with -100
        in padding and without gold. No tokens: nobody reads them.
        """
        features = self.features
        counts = features.word_counts[indices]
        rows = stretches(features.word_bounds[indices], counts)
        is_word = np.arange(int(counts.max()))[None, :] < counts[:, None]
        words = self.words.new_zeros(*is_word.shape, self.words.shape[-1])
        words[torch.from_numpy(is_word)] = self.words[torch.from_numpy(rows)]
        return {
            "words": words,
            "word_mask": torch.from_numpy(is_word),
            "tags": padded(features.tags[rows], is_word, NO_TAG),
        }


class FrozenEncoder:
    """See `raykd.tasks.task.FrozenPart`."""

    def reads_once(self, train: TagTrainSet, config: TaggingPoint, model: TagModel) -> bool:
        width = model.config.get_text_config().hidden_size
        num_bytes = 4 * width * int(train.features.word_bounds[-1])
        return model.head.frozen_encoder and config.num_epochs > 1 and num_bytes <= MOST_CACHED

    def outputs(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        words: Tensor = model(**model_inputs(batch), words_only=True).words
        return words

    def with_said(self, features: TagFeatures, said: Tensor) -> ReadFeatures:
        return ReadFeatures(features, said)
