"""Single sentences as pieces between special tokens, in padded batches; of English ones also the place of each word."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import cast

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from raykd.errors import DataError
from raykd.tasks.ragged import bounds_of, padded, stretches
from raykd.tasks.word_pieces import (
    checked_length,
    frame_tokens,
    name_of,
    pad_token,
    whole_words,
    word_pieces,
    words_of,
)


@dataclass(frozen=True)
class SentenceFeatures:
    """N sentences of T pieces in all, `[CLS] sentence [SEP]`, stored end to end.

    Attributes:
        ids: unique.
        bounds: [N + 1] where each sentence begins in `tokens`.
        tokens: [T] pieces, special tokens included.
        pad: the padding token.
        has_types: whether the model reads segment ids; those of a single sentence are 0.
    """

    ids: tuple[str, ...]
    bounds: np.ndarray
    tokens: np.ndarray
    pad: int
    has_types: bool

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> np.ndarray:
        """[N] pieces of each sentence, special tokens included."""
        return np.diff(self.bounds)

    @property
    def signal_lengths(self) -> np.ndarray:
        """[N] rows of stored signals of each sentence: one."""
        return np.ones(len(self), dtype=np.int64)

    @cached_property
    def sha256(self) -> str:
        """Hash of the ids and of the pieces."""
        return _digest(self.ids, [self.bounds, self.tokens])

    def take(self, indices: np.ndarray) -> "SentenceFeatures":
        """The sentences at `indices`, in that order."""
        lengths = self.lengths[indices]
        return replace(
            self,
            ids=tuple(self.ids[index] for index in indices),
            bounds=bounds_of(lengths),
            tokens=self.tokens[stretches(self.bounds[indices], lengths)],
        )

    def collate(self, indices: np.ndarray, *, pad_to: int | None = None) -> dict[str, Tensor]:
        """A padded batch of B sentences: L pieces wide, the longest sentence or `pad_to`.

        Returns:
            `input_ids`, `attention_mask` (and `token_type_ids`) [B, L] int64.
        """
        lengths = self.lengths[indices]
        inside = np.arange(pad_to or int(lengths.max()))[None, :] < lengths[:, None]
        batch = {
            "input_ids": padded(self.tokens[stretches(self.bounds[indices], lengths)], inside, self.pad),
            "attention_mask": torch.from_numpy(inside.astype(np.int64)),
        }
        if self.has_types:
            batch["token_type_ids"] = torch.zeros_like(batch["input_ids"])
        return batch


@dataclass(frozen=True)
class EnglishFeatures(SentenceFeatures):
    """Different English sentences of W words in all, and where their words are.

    An id is made of the text alone, and so is a row: which pairs have the sentence makes no difference.

    Attributes:
        word_bounds: [N + 1] where each sentence begins in `first`.
        first: [W] first piece of each word, counted inside the sentence with its CLS.
        store_words: whether the signals of a sentence are those of its words too.
    """

    word_bounds: np.ndarray
    first: np.ndarray
    store_words: bool = True

    @cached_property
    def word_counts(self) -> np.ndarray:
        """[N] words of each sentence."""
        return np.diff(self.word_bounds)

    @property
    def signal_lengths(self) -> np.ndarray:
        """[N] rows of stored signals of each sentence: one, and one for each word if words are stored."""
        return 1 + self.word_counts * self.store_words

    @cached_property
    def sha256(self) -> str:
        """Hash of the ids, the pieces and the places of the words."""
        return _digest(self.ids, [self.bounds, self.tokens, self.word_bounds, self.first])

    def with_words(self, stored: bool) -> "EnglishFeatures":
        """The same sentences, with `store_words` as given."""
        return replace(self, store_words=stored)

    def take(self, indices: np.ndarray) -> "EnglishFeatures":
        """The sentences at `indices`, in that order."""
        counts = self.word_counts[indices]
        words = stretches(self.word_bounds[indices], counts)
        taken = cast(EnglishFeatures, super().take(indices))
        return replace(taken, word_bounds=bounds_of(counts), first=self.first[words])

    def collate(self, indices: np.ndarray, *, pad_to: int | None = None) -> dict[str, Tensor]:
        """A padded batch of B sentences: L pieces wide, the longest sentence or `pad_to`; W words wide, the most words.

        Returns:
            `input_ids`, `attention_mask` (and `token_type_ids`) [B, L] int64; `first` [B, W] int64, 0 in padding, so
            that it always is a position; `word_mask` [B, W] bool.
        """
        counts = self.word_counts[indices]
        is_word = np.arange(int(counts.max()))[None, :] < counts[:, None]
        return super().collate(indices, pad_to=pad_to) | {
            "first": padded(self.first[stretches(self.word_bounds[indices], counts)], is_word, 0),
            "word_mask": torch.from_numpy(is_word),
        }


def sentence_features(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, *, max_length: int) -> SentenceFeatures:
    """Sentences in the order of `texts`, their numbers as ids; what does not fit is cut between words.

    Args:
        texts: equal ones are two sentences.
        tokenizer: any fast tokenizer. A word that it makes nothing of is the unknown token.
        max_length: pieces of a sentence at the most, special tokens included.

    Raises:
        DataError: if the tokenizer is not a fast one or does not read `max_length` pieces.
    """
    laid = english_from_pieces(texts, _known_pieces(texts, tokenizer), tokenizer, max_length=max_length)
    ids = tuple(str(number) for number in range(len(texts)))
    return SentenceFeatures(ids, laid.bounds, laid.tokens, laid.pad, laid.has_types)


def english_features(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int,
    num_words: Sequence[int] | None = None,
) -> EnglishFeatures:
    """English sentences in the order of `texts`; what does not fit is cut between words.

    Args:
        texts: all different.
        tokenizer: any fast tokenizer. A word that it makes nothing of is the unknown token, so that words keep their
            numbers.
        max_length: pieces of a sentence at the most, special tokens included.
        num_words: [N] how many words each sentence must have, the first ones; without it as many as fit.

    Raises:
        DataError: if the tokenizer is not a fast one, does not read `max_length` pieces, or has no room for the words
            that a sentence must have.
        ValueError: if a text is there twice.
    """
    if len(set(texts)) < len(texts):
        raise ValueError(f"{len(texts)} sentences, {len(set(texts))} different ones")
    pieces = _known_pieces(texts, tokenizer)
    if num_words is None:
        return english_from_pieces(texts, pieces, tokenizer, max_length=max_length)
    cut = (words[:number] for words, number in zip(pieces, num_words, strict=True))
    features = english_from_pieces(texts, cut, tokenizer, max_length=max_length)
    if (short := np.flatnonzero(features.word_counts < num_words)).size:
        row = int(short[0])
        words = f"{features.word_counts[row]} of {num_words[row]} words of {texts[row][:40]!r}"
        raise DataError(f"max_length {max_length}: tokenizer {name_of(tokenizer)} has room for {words}; allow more")
    return features


def sentence_id(text: str) -> str:
    """The id of an English sentence, made of its text alone."""
    return f"en:{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def english_from_pieces(
    texts: Iterable[str],
    pieces: Iterable[list[list[int]]],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int,
) -> EnglishFeatures:
    """The same as `english_features`, of texts whose words are `pieces` already, each of one piece or more."""
    room = checked_length(tokenizer, max_length, least=3) - 2
    before, after = frame_tokens(tokenizer)
    tokens: list[list[int]] = []
    first: list[np.ndarray] = []
    for words in pieces:
        lengths = [len(word) for word in words]
        number, kept = whole_words(lengths, room)
        tokens.append([before, *list(chain.from_iterable(words))[:kept], after])
        first.append(1 + bounds_of(lengths)[:number])
    return EnglishFeatures(
        ids=tuple(map(sentence_id, texts)),
        bounds=bounds_of([len(row) for row in tokens]),
        tokens=np.fromiter(chain.from_iterable(tokens), dtype=np.int32),
        pad=pad_token(tokenizer),
        has_types="token_type_ids" in tokenizer.model_input_names,
        word_bounds=bounds_of([len(row) for row in first]),
        first=np.concatenate([np.zeros(0), *first]).astype(np.int32),
    )


def _known_pieces(texts: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> Iterator[list[list[int]]]:
    unknown = tokenizer.unk_token_id
    for text, words in zip(texts, word_pieces([words_of(text) for text in texts], tokenizer), strict=True):
        if unknown is None and not all(words):
            raise DataError(f"tokenizer {name_of(tokenizer)}: makes nothing of a word of {text[:40]!r}")
        yield [word or [unknown] for word in words]


def _digest(ids: Sequence[str], arrays: Iterable[np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(ids).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array, np.int64).data)
    return digest.hexdigest()
