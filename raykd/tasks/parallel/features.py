"""Sentence pairs as pieces, masked anew in each epoch: ragged arrays, and padded batches of what a student reads."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from raykd.tasks.parallel.masking import Masking
from raykd.tasks.parallel.sentences import EnglishFeatures
from raykd.tasks.ragged import bounds_of, counted, stretches

PARTS = frozenset({"tlm", "word", "sentence"})
"""The inputs that a batch may hold: for masked pieces, for masked words, and for the other sentence alone."""


@dataclass(frozen=True, slots=True)
class PairCounts:
    """What making features of pairs did.

    Attributes:
        pairs: how many were given.
        empty: dropped, because a sentence has no word, or the other one no piece.
        unmatched: dropped, because a tokenizer makes nothing of an English word, so that the two have different words.
        cut: kept, but too long: words at the end of a sentence are missing.
    """

    pairs: int = 0
    empty: int = 0
    unmatched: int = 0
    cut: int = 0

    def to_json(self) -> dict[str, int]:
        """The counts, for a record."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PairFrame:
    """The tokens around sentences: `[CLS] english [SEP] other [SEP]`, and padding; the model may read segment ids."""

    before: int
    after: int
    pad: int
    has_types: bool


@dataclass(frozen=True)
class PairFeatures:
    """N pairs of T pieces and W English words in all, stored end to end, with the masks of one epoch.

    The other sentence alone has more room than beside the English one. So it may be longer there, and its first
    pieces are those of the pair.

    Attributes:
        ids: unique.
        language: [N] index into `languages`.
        keys: [N] uint64, what the masks of each pair are drawn from; made of its id.
        bounds: [N + 1] where each pair begins in `tokens`.
        tokens: [T] pieces without special tokens: of the English sentence, then of the other one as it is alone.
        english_lengths, other_lengths: [N] pieces of the two sentences where they are read together.
        word_bounds: [N + 1] where each pair begins in `word_starts`.
        word_starts: [W] first piece of each English word, counted inside the sentence.
        english: what a teacher reads; sentences without a pair may be among them.
        english_of: [N] row in `english` of each pair. Word w of the pair is word w of that row, which may have more.
        languages: what the indices mean.
        frame: special tokens.
        masking: what draws the masks.
        counts: of the pairs as they were built; `take` keeps them.
        parts: the inputs that `collate` gives, some of `PARTS`.
    """

    ids: tuple[str, ...]
    language: np.ndarray
    keys: np.ndarray
    bounds: np.ndarray
    tokens: np.ndarray
    english_lengths: np.ndarray
    other_lengths: np.ndarray
    word_bounds: np.ndarray
    word_starts: np.ndarray
    english: EnglishFeatures
    english_of: np.ndarray
    languages: tuple[str, ...]
    frame: PairFrame
    masking: Masking
    counts: PairCounts
    parts: frozenset[str] = PARTS

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> np.ndarray:
        """[N] pieces of each pair, read together, special tokens included."""
        return self._pieces + 3

    @cached_property
    def word_counts(self) -> np.ndarray:
        """[N] English words of each pair."""
        return np.diff(self.word_bounds)

    @property
    def signal_lengths(self) -> np.ndarray:
        """[N] rows of stored signals of each pair: those of its English sentence."""
        return self.english.signal_lengths[self.english_of]

    @cached_property
    def sha256(self) -> str:
        """Hash of all that models see of these pairs and that masks are drawn from, but for the epoch and the parts."""
        special = (self.frame.before, self.frame.after, self.frame.pad, self.frame.has_types, self.masking.mask)
        digest = hashlib.sha256(json.dumps([self.ids, self.languages, special, self.english.sha256]).encode())
        arrays = (self.language, self.bounds, self.tokens, self.english_lengths, self.other_lengths)
        for array in (*arrays, self.word_bounds, self.word_starts, self.english_of, self.masking.pieces):
            digest.update(np.ascontiguousarray(array, np.int64).data)
        return digest.hexdigest()

    def at(self, seed: int, epoch: int) -> "PairFeatures":
        """The same pairs with the masks of an epoch."""
        return replace(self, masking=replace(self.masking, seed=seed, epoch=epoch))

    def with_parts(self, parts: frozenset[str]) -> "PairFeatures":
        """The same pairs, of which `collate` gives these parts.

        Raises:
            ValueError: if a part is unknown.
        """
        if unknown := parts - PARTS:
            raise ValueError(f"unknown parts {', '.join(sorted(unknown))}; allowed: {', '.join(sorted(PARTS))}")
        return replace(self, parts=frozenset(parts))

    def take(self, indices: np.ndarray) -> "PairFeatures":
        """The pairs at `indices`, in that order, and the English sentences that they have."""
        rows, english_of = np.unique(self.english_of[indices], return_inverse=True)
        lengths, counts = np.diff(self.bounds)[indices], self.word_counts[indices]
        return replace(
            self,
            ids=tuple(self.ids[index] for index in indices),
            language=self.language[indices],
            keys=self.keys[indices],
            bounds=bounds_of(lengths),
            tokens=self.tokens[stretches(self.bounds[indices], lengths)],
            english_lengths=self.english_lengths[indices],
            other_lengths=self.other_lengths[indices],
            word_bounds=bounds_of(counts),
            word_starts=self.word_starts[stretches(self.word_bounds[indices], counts)],
            english=self.english.take(rows),
            english_of=english_of,
        )

    def num_masked(self, indices: np.ndarray) -> tuple[int, int]:
        """How many pieces are to be predicted in these pairs, and how many of the pairs have a masked word.

        They are those of `collate` with the same indices, in one batch or in several.
        """
        pieces = self.masking.selected_pieces(self.keys[indices], self._pieces[indices])
        # A pair has at least one word, and then one is masked.
        return int(pieces.sum()), int((self.word_counts[indices] > 0).sum())

    def collate(self, indices: np.ndarray, *, pad_to: int | None = None) -> dict[str, Tensor]:
        """A padded batch of B pairs: what reads a sequence is as wide as the longest one of them, or as `pad_to`.

        Returns:
            int64 unless said. Of part `sentence`, the other sentence alone: `x_ids`, `x_mask` [B, Lx].
            Of part `tlm`, both sentences with masked pieces: `tlm_ids`, `tlm_mask` (and `tlm_types`) [B, L]; row,
            column and true piece of those to predict, `tlm_rows`, `tlm_columns`, `tlm_labels` [M].
            Of part `word`, both with masked English words: `context_ids`, `context_mask` (and `context_types`)
            [B, L]; `word_first` [B, W + 2], where CLS, the first piece of each word, and the SEP after them are, 0 in
            padding; `word_mask` [B, W + 2] bool, which of these there are; `word_masked` [B, W + 2] bool, which words
            are masked.
        """
        batch: dict[str, Tensor] = {}
        if "sentence" in self.parts:
            batch |= self._sentence(indices, pad_to)
        if "tlm" in self.parts:
            batch |= self._tlm(indices, pad_to)
        if "word" in self.parts:
            batch |= self._context(indices, pad_to)
        return batch

    @cached_property
    def _pieces(self) -> np.ndarray:
        return self.english_lengths + self.other_lengths

    def _sentence(self, indices: np.ndarray, pad_to: int | None) -> dict[str, Tensor]:
        starts = self.bounds[indices] + self.english_lengths[indices]
        counts = self.bounds[indices + 1] - starts
        ids, inside = self._blank(counts + 2, pad_to)
        rows = np.arange(len(indices))
        ids[np.repeat(rows, counts), 1 + counted(counts)] = self.tokens[stretches(starts, counts)]
        ids[rows, 1 + counts] = self.frame.after
        return {"x_ids": torch.from_numpy(ids), "x_mask": torch.from_numpy(inside.astype(np.int64))}

    def _tlm(self, indices: np.ndarray, pad_to: int | None) -> dict[str, Tensor]:
        keys, counts = self.keys[indices], self._pieces[indices]
        tokens = self.tokens[stretches(self.bounds[indices], counts)]
        selected = self.masking.selected_pieces(keys, counts)
        rows, columns = self._places(indices)
        masked = self.masking.replaced("pieces", tokens, selected, keys, counts)
        return self._together("tlm", indices, masked, pad_to) | {
            "tlm_rows": torch.from_numpy(rows[selected]),
            "tlm_columns": torch.from_numpy(columns[selected]),
            "tlm_labels": torch.from_numpy(tokens[selected].astype(np.int64)),
        }

    def _context(self, indices: np.ndarray, pad_to: int | None) -> dict[str, Tensor]:
        keys, counts, english = self.keys[indices], self._pieces[indices], self.english_lengths[indices]
        words = self.word_counts[indices]
        starts = self.word_starts[stretches(self.word_bounds[indices], words)]
        ends = np.append(starts[1:], 0)
        ends[np.cumsum(words) - 1] = english
        selected = self.masking.selected_words(keys, words)

        tokens = self.tokens[stretches(self.bounds[indices], counts)]
        is_english = counted(counts) < np.repeat(english, counts)
        pieces = np.repeat(selected, ends - starts)
        tokens[is_english] = self.masking.replaced("words", tokens[is_english], pieces, keys, english)

        # CLS and SEP count as words, and are never masked.
        inside = np.arange(int(words.max()) + 2)[None, :] < words[:, None] + 2
        first = np.zeros(inside.shape, dtype=np.int64)
        masked = np.zeros(inside.shape, dtype=bool)
        rows = np.arange(len(indices))
        places = np.repeat(rows, words), 1 + counted(words)
        first[places], masked[places] = 1 + starts, selected
        first[rows, 1 + words] = 1 + english
        return self._together("context", indices, tokens, pad_to) | {
            "word_first": torch.from_numpy(first),
            "word_mask": torch.from_numpy(inside),
            "word_masked": torch.from_numpy(masked),
        }

    def _places(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of every piece of a batch of pairs read together."""
        counts = self._pieces[indices]
        columns = 1 + counted(counts)
        columns += columns > np.repeat(self.english_lengths[indices], counts)
        return np.repeat(np.arange(len(indices)), counts), columns

    def _together(self, name: str, indices: np.ndarray, tokens: np.ndarray, pad_to: int | None) -> dict[str, Tensor]:
        """A batch of pairs read together, with these tokens between the special ones."""
        lengths, separators = self.lengths[indices], 1 + self.english_lengths[indices]
        ids, inside = self._blank(lengths, pad_to)
        rows = np.arange(len(indices))
        ids[self._places(indices)] = tokens
        ids[rows, separators] = ids[rows, lengths - 1] = self.frame.after
        batch = {f"{name}_ids": torch.from_numpy(ids), f"{name}_mask": torch.from_numpy(inside.astype(np.int64))}
        if self.frame.has_types:
            second = inside & (np.arange(ids.shape[1])[None, :] > separators[:, None])
            batch[f"{name}_types"] = torch.from_numpy(second.astype(np.int64))
        return batch

    def _blank(self, lengths: np.ndarray, pad_to: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Ids [B, L] of padding alone, but for the first column, and which of them are inside a sequence."""
        inside = np.arange(pad_to or int(lengths.max()))[None, :] < lengths[:, None]
        ids = np.full(inside.shape, self.frame.pad, dtype=np.int64)
        ids[:, 0] = self.frame.before
        return ids, inside
