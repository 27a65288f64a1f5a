"""Extractive QA examples as token windows: ragged arrays, and padded batches cut from them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from raykd.data.examples import QAExample
from raykd.errors import DataError
from raykd.tasks.qa.whole_words import word_breaks

NO_ANSWER = -1


@dataclass(frozen=True)
class QAFeatures:
    """N windows of T tokens in all, stored end to end.

    Attributes:
        ids: `{example id}#{window}`, unique.
        example: [N] index of each window's example.
        bounds: [N + 1] where each window begins in the flat arrays.
        tokens, types: [T] token and segment ids.
        chars: [T, 2] character offsets into the context; (0, 0) outside of it.
        context: [N, 2] first context token, and the one past the last, counted inside the window.
        gold: [N, 2] first and last answer token, both included; -1 where the window does not hold the answer.
        pad: the padding token.
        has_types: whether the model reads segment ids.
        word_edges: [T, 2] whether a token of the context begins with a word and ends with one; None where answers may
            begin and end inside words.
    """

    ids: tuple[str, ...]
    example: np.ndarray
    bounds: np.ndarray
    tokens: np.ndarray
    types: np.ndarray
    chars: np.ndarray
    context: np.ndarray
    gold: np.ndarray
    pad: int
    has_types: bool
    word_edges: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def lengths(self) -> np.ndarray:
        """[N] tokens of each window."""
        return np.diff(self.bounds)

    @property
    def signal_lengths(self) -> np.ndarray:
        """[N] rows of stored signals of each window: its tokens."""
        return self.lengths

    @cached_property
    def sha256(self) -> str:
        """Hash of all that a model sees of these windows."""
        digest = hashlib.sha256("\n".join(self.ids).encode())
        for array in (self.bounds, self.tokens, self.types, self.context, self.gold):
            digest.update(np.ascontiguousarray(array, np.int64).data)
        return digest.hexdigest()

    def take(self, indices: np.ndarray) -> "QAFeatures":
        """The windows at `indices`, in that order; their examples keep their numbers."""
        spans = [np.arange(self.bounds[i], self.bounds[i + 1]) for i in indices]
        flat = np.concatenate(spans) if spans else np.zeros(0, dtype=np.int64)
        return QAFeatures(
            ids=tuple(self.ids[i] for i in indices),
            example=self.example[indices],
            bounds=np.concatenate([[0], np.cumsum(self.lengths[indices])]).astype(np.int64),
            tokens=self.tokens[flat],
            types=self.types[flat],
            chars=self.chars[flat],
            context=self.context[indices],
            gold=self.gold[indices],
            pad=self.pad,
            has_types=self.has_types,
            word_edges=self.word_edges[flat] if self.word_edges is not None else None,
        )

    def collate(self, indices: np.ndarray, *, pad_to: int | None = None) -> dict[str, Tensor]:
        """A padded batch of B windows, L tokens wide: the widest window, or `pad_to`.

        Returns:
            `input_ids`, `attention_mask` (and `token_type_ids`) [B, L] int64, `context_mask` [B, L] bool, `gold`
            [B, 2], and where answers are whole words `word_edges` [B, L, 2] bool.
        """
        lengths = self.lengths[indices]
        width = pad_to or int(lengths.max())
        columns = np.arange(width)
        inside = columns[None, :] < lengths[:, None]
        flat = np.concatenate([np.arange(self.bounds[i], self.bounds[i + 1]) for i in indices])
        ids = np.full((len(indices), width), self.pad, dtype=np.int64)
        ids[inside] = self.tokens[flat]
        context = self.context[indices]
        batch = {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(inside.astype(np.int64)),
            "context_mask": torch.from_numpy((columns >= context[:, :1]) & (columns < context[:, 1:])),
            "gold": torch.from_numpy(self.gold[indices].astype(np.int64)),
        }
        if self.has_types:
            types = np.zeros((len(indices), width), dtype=np.int64)
            types[inside] = self.types[flat]
            batch["token_type_ids"] = torch.from_numpy(types)
        if self.word_edges is not None:
            edges = np.zeros((len(indices), width, 2), dtype=bool)
            edges[inside] = self.word_edges[flat]
            batch["word_edges"] = torch.from_numpy(edges)
        return batch


def build_features(
    examples: Sequence[QAExample],
    tokenizer: PreTrainedTokenizerFast,
    *,
    max_length: int,
    stride: int,
    max_question_length: int,
    no_answer: Literal["drop", "cls", "keep"],
) -> QAFeatures:
    """Cut examples into windows.

    The first answer is the label; its tokens are found by character offsets, so a repeated string is hit where the
    answer is, and scripts without spaces need no rule of their own.

    Args:
        max_length: tokens of a window at the most.
        stride: tokens that neighbouring windows share.
        max_question_length: tokens of a question at the most; the rest of it is cut.
        no_answer: windows that do not hold the whole answer: `drop` them, label them with the first token (`cls`),
            or `keep` them without a label, as prediction needs.

    Raises:
        DataError: if a window longer than the model's positions was asked for, or nothing is left.
    """
    limit = tokenizer.model_max_length
    if max_length > limit:
        raise DataError(f"data.max_length: got {max_length}; the model reads at most {limit} tokens")
    questions = _shortened([example.question for example in examples], tokenizer, max_question_length)
    encoded = tokenizer(
        questions,
        [example.context for example in examples],
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids="token_type_ids" in tokenizer.model_input_names,
    )
    windows = _Windows(examples, no_answer)
    for number, encoding in enumerate(encoded.encodings):
        windows.add(int(encoded["overflow_to_sample_mapping"][number]), encoding)
    return windows.features(tokenizer)


def joined(some: QAFeatures, others: QAFeatures, num_examples: int) -> QAFeatures:
    """Windows of some examples, then those of others, with one tokenizer.

    Args:
        num_examples: of the first; the numbers of the others begin there.
    """

    def both(name: str) -> np.ndarray:
        return np.concatenate([getattr(some, name), getattr(others, name)])

    return replace(
        some,
        ids=some.ids + others.ids,
        example=np.concatenate([some.example, others.example + num_examples]),
        bounds=np.concatenate([some.bounds, some.bounds[-1] + others.bounds[1:]]),
        tokens=both("tokens"),
        types=both("types"),
        chars=both("chars"),
        context=both("context"),
        gold=both("gold"),
    )


def with_word_edges(features: QAFeatures, examples: Sequence[QAExample]) -> QAFeatures:
    """The same windows, of which only whole words can be answers."""
    # Many questions share a context.
    breaks = {text: word_breaks(text) for text in {example.context for example in examples}}
    edges = [
        breaks[examples[number].context][features.chars[first:past]]
        for number, (first, past) in zip(features.example.tolist(), pairwise(features.bounds.tolist()), strict=True)
    ]
    return replace(features, word_edges=np.concatenate(edges))


class _Windows:
    """Collects windows and lays them end to end."""

    def __init__(self, examples: Sequence[QAExample], no_answer: str) -> None:
        self.examples, self.no_answer = examples, no_answer
        self.ids: list[str] = []
        self.example: list[int] = []
        self.tokens: list[list[int]] = []
        self.types: list[list[int]] = []
        self.chars: list[np.ndarray] = []
        self.context: list[tuple[int, int]] = []
        self.gold: list[tuple[int, int]] = []
        self.last, self.window = -1, 0

    def add(self, number: int, encoding) -> None:
        self.window = self.window + 1 if number == self.last else 0
        self.last = number
        chars = np.asarray(encoding.offsets, dtype=np.int32)
        inside = np.array([sequence == 1 for sequence in encoding.sequence_ids])
        positions = np.flatnonzero(inside)
        if not len(positions):
            return
        first, past = int(positions[0]), int(positions[-1]) + 1
        gold = self._gold(self.examples[number], chars, first, past)
        if gold[0] == NO_ANSWER and self.no_answer == "drop":
            return
        if gold[0] == NO_ANSWER and self.no_answer == "cls":
            gold = (0, 0)
        chars[~inside] = 0
        self.ids.append(f"{self.examples[number].id}#{self.window}")
        self.example.append(number)
        self.tokens.append(encoding.ids)
        self.types.append(encoding.type_ids)
        self.chars.append(chars)
        self.context.append((first, past))
        self.gold.append(gold)

    @staticmethod
    def _gold(example: QAExample, chars: np.ndarray, first: int, past: int) -> tuple[int, int]:
        if not example.answers:
            return NO_ANSWER, NO_ANSWER
        answer = example.answers[0]
        start, end = answer.start, answer.start + len(answer.text)
        window = chars[first:past]
        if start < window[0, 0] or end > window[-1, 1]:
            return NO_ANSWER, NO_ANSWER
        left = int(np.argmax(window[:, 1] > start))
        right = len(window) - 1 - int(np.argmax(window[::-1, 0] < end))
        return (first + left, first + right) if left <= right else (NO_ANSWER, NO_ANSWER)

    def features(self, tokenizer: PreTrainedTokenizerFast) -> QAFeatures:
        if not self.ids:
            raise DataError("no window contains an answer: check data.max_length, and that the data is not empty")
        lengths = [len(tokens) for tokens in self.tokens]
        return QAFeatures(
            ids=tuple(self.ids),
            example=np.array(self.example),
            bounds=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            tokens=np.concatenate([np.asarray(tokens, dtype=np.int32) for tokens in self.tokens]),
            types=np.concatenate([np.asarray(types, dtype=np.int8) for types in self.types]),
            chars=np.concatenate(self.chars),
            context=np.array(self.context, dtype=np.int32),
            gold=np.array(self.gold, dtype=np.int32),
            pad=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
            has_types="token_type_ids" in tokenizer.model_input_names,
        )


def with_questions(
    features: QAFeatures, questions: Mapping[int, str], tokenizer: PreTrainedTokenizerFast, *, max_question_length: int
) -> QAFeatures:
    """The same windows with other questions before the same context tokens.

    Args:
        questions: example number -> the question to read instead.

    Returns:
        Windows in the same order, with as many context tokens each, so that outputs over contexts can be compared
        one to one. Their `ids` are the same.

    Raises:
        DataError: if a longer question makes a window longer than the model's positions.
    """
    numbers = sorted(set(features.example.tolist()))
    texts = _shortened([questions[number] for number in numbers], tokenizer, max_question_length)
    prefixes = {}
    for number, encoding in zip(numbers, tokenizer(texts, ["."] * len(texts)).encodings, strict=True):
        past = encoding.sequence_ids.index(1)
        prefixes[number] = np.array(encoding.ids[:past]), np.array(encoding.type_ids[:past])
    tokens, types, chars, context, gold = [], [], [], [], []
    for row, number in enumerate(features.example.tolist()):
        ids, kinds = prefixes[number]
        first, past = features.context[row]
        body = slice(features.bounds[row] + first, features.bounds[row + 1])
        tokens.append(np.concatenate([ids, features.tokens[body]]))
        types.append(np.concatenate([kinds, features.types[body]]))
        chars.append(np.concatenate([np.zeros((len(ids), 2), dtype=np.int32), features.chars[body]]))
        context.append((len(ids), len(ids) + past - first))
        label = features.gold[row]
        gold.append(np.where(label >= first, label + (len(ids) - first), label))
    longest = max(map(len, tokens))
    if longest > tokenizer.model_max_length:
        raise DataError(
            f"data.teacher_view: a teacher's question makes a window of {longest} tokens, the model reads at most "
            f"{tokenizer.model_max_length}; lower data.max_length"
        )
    return QAFeatures(
        ids=features.ids,
        example=features.example,
        bounds=np.concatenate([[0], np.cumsum([len(row) for row in tokens])]).astype(np.int64),
        tokens=np.concatenate(tokens),
        types=np.concatenate(types),
        chars=np.concatenate(chars),
        context=np.array(context, dtype=np.int32),
        gold=np.array(gold, dtype=np.int32),
        pad=features.pad,
        has_types=features.has_types,
    )


def _shortened(questions: Sequence[str], tokenizer: PreTrainedTokenizerFast, most: int) -> list[str]:
    """Questions cut after `most` tokens, at a token's end."""
    unique = sorted(set(questions))
    encoded = tokenizer(unique, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    cut = {
        text: text if len(offsets) <= most else text[: offsets[most - 1][1]]
        for text, offsets in zip(unique, encoded, strict=True)
    }
    return [cut[question] for question in questions]
