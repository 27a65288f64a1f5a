"""Tagged sentences as windows of pieces, with the place of every word in them: ragged arrays, and padded batches."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from raykd.tasks.ragged import bounds_of, padded, stretches

NO_TAG = -100
"""Stands for the label of a word without gold, and of padding; the losses of torch ignore it."""


@dataclass(frozen=True, slots=True)
class TagWindowCounts:
    """What cutting sentences into windows did.

    Attributes:
        sentences, windows: how many there are.
        split_sentences: sentences of more than one window.
        cut_chunks: gold chunks that a border between windows goes through; each part is labelled as a chunk.
        unknown_words: words that the tokenizer makes nothing of, such as lone control characters; they are the
            unknown token.
        cut_words: words longer than a window, of which only the first pieces are there.
    """

    sentences: int = 0
    windows: int = 0
    split_sentences: int = 0
    cut_chunks: int = 0
    unknown_words: int = 0
    cut_words: int = 0

    def to_json(self) -> dict[str, int]:
        """The counts, for a record."""
        return asdict(self)


@dataclass(frozen=True)
class TagFeatures:
    """N windows of T pieces and W words in all, stored end to end.

    Attributes:
        ids: `{sentence id}#0`, or `{sentence id}#{first word}-{past}` where there are several windows; unique.
        sentence: [N] index of each window's sentence.
        offset: [N] index of a window's first word in its sentence.
        language: [N] index into `languages`.
        bounds: [N + 1] where each window begins in `tokens` and `types`.
        tokens, types: [T] piece and segment ids, special tokens included.
        word_bounds: [N + 1] where each window begins in `first`, `last` and `tags`.
        first, last: [W] first and last piece of a word, both included, counted inside the window.
        tags: [W] index into `labels`; -100 without gold.
        languages, labels: what the indices mean.
        pad: the padding token.
        has_types: whether the model reads segment ids.
        counts: of the windows as they were built; `take` keeps them.
    """

    ids: tuple[str, ...]
    sentence: np.ndarray
    offset: np.ndarray
    language: np.ndarray
    bounds: np.ndarray
    tokens: np.ndarray
    types: np.ndarray
    word_bounds: np.ndarray
    first: np.ndarray
    last: np.ndarray
    tags: np.ndarray
    languages: tuple[str, ...]
    labels: tuple[str, ...]
    pad: int
    has_types: bool
    counts: TagWindowCounts

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> np.ndarray:
        """[N] pieces of each window, special tokens included."""
        return np.diff(self.bounds)

    @cached_property
    def word_counts(self) -> np.ndarray:
        """[N] words of each window."""
        return np.diff(self.word_bounds)

    @property
    def signal_lengths(self) -> np.ndarray:
        """[N] rows of stored signals of each window: its words."""
        return self.word_counts

    def of_language(self, language: str) -> np.ndarray:
        """Indices of the windows in a language."""
        return np.flatnonzero(self.language == self.languages.index(language))

    @cached_property
    def sha256(self) -> str:
        """Hash of all that a model sees of these windows, and of what its labels and languages are."""
        digest = hashlib.sha256(json.dumps([self.ids, self.labels, self.languages]).encode())
        for array in (self.bounds, self.tokens, self.types, self.word_bounds, self.first, self.last, self.tags):
            digest.update(np.ascontiguousarray(array, np.int64).data)
        digest.update(np.ascontiguousarray(self.language, np.int64).data)
        return digest.hexdigest()

    def take(self, indices: np.ndarray) -> "TagFeatures":
        """The windows at `indices`, in that order; their sentences keep their numbers."""
        lengths, counts = self.lengths[indices], self.word_counts[indices]
        pieces, words = stretches(self.bounds[indices], lengths), stretches(self.word_bounds[indices], counts)
        return TagFeatures(
            ids=tuple(self.ids[i] for i in indices),
            sentence=self.sentence[indices],
            offset=self.offset[indices],
            language=self.language[indices],
            bounds=bounds_of(lengths),
            tokens=self.tokens[pieces],
            types=self.types[pieces],
            word_bounds=bounds_of(counts),
            first=self.first[words],
            last=self.last[words],
            tags=self.tags[words],
            languages=self.languages,
            labels=self.labels,
            pad=self.pad,
            has_types=self.has_types,
            counts=self.counts,
        )

    def collate(self, indices: np.ndarray, *, pad_to: int | None = None) -> dict[str, Tensor]:
        """A padded batch of B windows: L pieces wide, the widest window or `pad_to`; W words wide, the most words.

        Returns:
            `input_ids`, `attention_mask` (and `token_type_ids`) [B, L] int64; `first`, `last` [B, W] int64, 0 in
            padding, so that they always are positions; `word_mask` [B, W] bool; `tags` [B, W] int64, -100 in padding
            and without gold; `language` [B] int64.
        """
        lengths, counts = self.lengths[indices], self.word_counts[indices]
        pieces, words = stretches(self.bounds[indices], lengths), stretches(self.word_bounds[indices], counts)
        inside = np.arange(pad_to or int(lengths.max()))[None, :] < lengths[:, None]
        is_word = np.arange(int(counts.max()))[None, :] < counts[:, None]
        batch = {
            "input_ids": padded(self.tokens[pieces], inside, self.pad),
            "attention_mask": torch.from_numpy(inside.astype(np.int64)),
            "first": padded(self.first[words], is_word, 0),
            "last": padded(self.last[words], is_word, 0),
            "word_mask": torch.from_numpy(is_word),
            "tags": padded(self.tags[words], is_word, NO_TAG),
            "language": torch.from_numpy(self.language[indices].astype(np.int64)),
        }
        if self.has_types:
            batch["token_type_ids"] = padded(self.types[pieces], inside, 0)
        return batch


def rejoin(features: TagFeatures, predicted: Sequence[Sequence[int]]) -> dict[int, tuple[str, ...]]:
    """The tags of whole sentences out of predictions for their windows.

    A sequence that is legal in every window may be illegal where two of them meet; scoring reads it leniently.

    Args:
        features: N windows, all those of each of their sentences, in any order.
        predicted: [N] label indices of each window's words; what is beyond its words is ignored.

    Returns:
        Index of the sentence -> a tag for each word, in the order of the sentences.

    Raises:
        ValueError: if a window has fewer predictions than words, or a sentence lacks a window other than its last.
    """
    parts: dict[int, list[str]] = {}
    for row in np.lexsort((features.offset, features.sentence)):
        words, labels = int(features.word_counts[row]), predicted[row]
        tags = parts.setdefault(int(features.sentence[row]), [])
        if len(labels) < words or len(tags) != features.offset[row]:
            raise ValueError(f"{features.ids[row]}: {words} words from {features.offset[row]} on, after {len(tags)}")
        tags.extend(features.labels[int(label)] for label in labels[:words])
    return {sentence: tuple(tags) for sentence, tags in parts.items()}
