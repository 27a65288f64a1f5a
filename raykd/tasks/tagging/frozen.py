"""What a frozen encoder says of every word: read once, so that an epoch trains the head alone."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from raykd.tasks.ragged import padded, stretches
from raykd.tasks.tagging.features import NO_TAG, TagFeatures


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
