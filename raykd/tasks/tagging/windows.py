"""Cuts tagged sentences into the windows of pieces that an encoder can read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from transformers import PreTrainedTokenizerFast

from raykd.data.examples import Sentence
from raykd.data.tags import Scheme, repair, spans
from raykd.errors import DataError
from raykd.tasks.ragged import bounds_of
from raykd.tasks.tagging.features import NO_TAG, TagFeatures, TagWindowCounts
from raykd.tasks.word_pieces import word_pieces

_MAX_SHOWN = 10


def build_tag_features(
    sentences: Sequence[Sentence],
    tokenizer: PreTrainedTokenizerFast,
    *,
    languages: Sequence[str],
    labels: Sequence[str],
    scheme: Scheme,
    max_length: int,
    spare_chunks: bool = True,
) -> TagFeatures:
    """Cut sentences into windows, word by word.

    A sentence that does not fit is cut before a word, as late as possible. With `spare_chunks` no gold chunk is cut
    where that can be helped; of one that is cut, each part is labelled as a chunk, so that the labels of a window are
    always legal. Give False for sentences to be scored: gold must not choose what the model sees.

    Args:
        sentences: with different ids.
        tokenizer: any fast tokenizer. One that marks the space before a word gets words with that space.
        languages: those that `TagFeatures.language` counts.
        labels: the tags that `TagFeatures.tags` counts, legal or not where they stand.
        scheme: of the tags.
        max_length: pieces of a window at the most, special tokens included.
        spare_chunks: whether borders between windows avoid gold chunks.

    Raises:
        DataError: if there is no sentence, an id is there twice, a language or a tag is unknown, `max_length` is more
            than the model reads or leaves no room between the special tokens, or a word has no piece and the tokenizer
            no unknown token.
        TagError: if a tag is not of the scheme.
    """
    _check(sentences, languages, labels)
    if max_length > tokenizer.model_max_length:
        raise DataError(f"data.max_length: got {max_length}; the model reads at most {tokenizer.model_max_length}")
    frame = _Frame.of(tokenizer)
    room = max_length - len(frame.before) - len(frame.after)
    if room < 1:
        raise DataError(f"data.max_length: got {max_length}; the special tokens need {max_length - room}")
    label_numbers = {label: number for number, label in enumerate(labels)}
    windows = _Windows(frame, label_numbers, scheme, tokenizer.unk_token_id)
    pieces_of = word_pieces([sentence.words for sentence in sentences], tokenizer)
    for number, (sentence, pieces) in enumerate(zip(sentences, pieces_of, strict=True)):
        windows.add(number, sentence, pieces, room, spare_chunks=spare_chunks)
    return windows.features(tokenizer, sentences, tuple(languages), tuple(labels))


def _check(sentences: Sequence[Sentence], languages: Sequence[str], labels: Sequence[str]) -> None:
    problems = [] if sentences else ["no sentences: check that the data is not empty"]
    known_languages, known_labels, seen = set(languages), set(labels), set()
    for sentence in sentences:
        if sentence.id in seen:
            problems.append(f"{sentence.id}: occurs twice")
        seen.add(sentence.id)
        if sentence.language not in known_languages:
            problems.append(f"{sentence.id}: language {sentence.language!r} is not one of {', '.join(languages)}")
        if unknown := sorted(set(sentence.tags) - known_labels):
            problems.append(f"{sentence.id}: tags {', '.join(unknown)} are not among the labels {', '.join(labels)}")
    if problems:
        more = [f"and {len(problems) - _MAX_SHOWN} more"] if len(problems) > _MAX_SHOWN else []
        raise DataError([*problems[:_MAX_SHOWN], *more])


@dataclass(frozen=True)
class _Frame:
    """The special tokens around a window, with segment ids, and the segment of what is between."""

    before: list[int]
    after: list[int]
    types: tuple[list[int], int, list[int]]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> "_Frame":
        encoding = tokenizer(["a"], is_split_into_words=True).encodings[0]
        words = [at for at, word in enumerate(encoding.word_ids) if word is not None]
        first, past, types = words[0], words[-1] + 1, encoding.type_ids
        return cls(encoding.ids[:first], encoding.ids[past:], (types[:first], types[first], types[past:]))


def _borders(lengths: Sequence[int], room: int, kept: Sequence[tuple[int, int]]) -> list[int]:
    """Where windows begin, and the end: as many words as have room, but if possible no border inside of `kept`.

    Args:
        lengths: pieces of each word, none above `room`.
        room: pieces of a window.
        kept: first and last word of stretches to keep whole.
    """
    inside = {border for first, last in kept for border in range(first + 1, last + 1)}
    ends = np.cumsum(lengths)
    borders = [0]
    while borders[-1] < len(lengths):
        start = borders[-1]
        full = int(np.searchsorted(ends, room + (ends[start - 1] if start else 0), side="right"))
        free = full if full == len(lengths) else max(set(range(start + 1, full + 1)) - inside, default=full)
        borders.append(free)
    return borders


class _Windows:
    """Collects windows and lays them end to end."""

    def __init__(self, frame: _Frame, label_numbers: dict[str, int], scheme: Scheme, unknown: int | None) -> None:
        self._frame, self._label_numbers, self._scheme, self._unknown = frame, label_numbers, scheme, unknown
        self._counts: Counter[str] = Counter()
        self._ids: list[str] = []
        self._sentence: list[int] = []
        self._offset: list[int] = []
        self._tokens: list[list[int]] = []
        self._types: list[list[int]] = []
        self._first: list[np.ndarray] = []
        self._last: list[np.ndarray] = []
        self._tags: list[list[int]] = []

    def add(self, number: int, sentence: Sentence, pieces: list[list[int]], room: int, *, spare_chunks: bool) -> None:
        """All windows of one sentence."""
        pieces = [self._fitted(sentence, word, tokens, room) for word, tokens in enumerate(pieces)]
        chunks = [(first, last) for _, first, last in spans(sentence.tags, self._scheme)]
        borders = _borders([len(tokens) for tokens in pieces], room, chunks if spare_chunks else [])
        self._counts["split_sentences"] += len(borders) > 2
        self._counts["cut_chunks"] += sum(any(first < at <= last for at in borders) for first, last in chunks)
        for window, (start, past) in enumerate(pairwise(borders)):
            lengths = [len(tokens) for tokens in pieces[start:past]]
            ends = len(self._frame.before) + np.cumsum(lengths)
            before, between, after = self._frame.types
            # Gold chunks may move borders: windows that hold other words have another name.
            part = window if len(borders) == 2 else f"{start}-{past}"
            self._ids.append(f"{sentence.id}#{part}")
            self._sentence.append(number)
            self._offset.append(start)
            self._tokens.append([*self._frame.before, *chain.from_iterable(pieces[start:past]), *self._frame.after])
            self._types.append([*before, *[between] * sum(lengths), *after])
            self._first.append(ends - lengths)
            self._last.append(ends - 1)
            self._tags.append(self._labels(sentence, start, past))

    def _fitted(self, sentence: Sentence, word: int, tokens: list[int], room: int) -> list[int]:
        if not tokens:
            if self._unknown is None:
                what = f"the tokenizer makes no token of word {word} ({sentence.words[word]!r})"
                raise DataError(f"{sentence.id}: {what} and has no unknown token")
            self._counts["unknown_words"] += 1
            return [self._unknown]
        self._counts["cut_words"] += len(tokens) > room
        return tokens[:room]

    def _labels(self, sentence: Sentence, start: int, past: int) -> list[int]:
        tags = sentence.tags[start:past]
        if not tags:
            return [NO_TAG] * (past - start)
        if len(tags) < len(sentence.tags) and self._scheme != "io":
            tags, _ = repair(tags, self._scheme)
        if unknown := sorted(set(tags) - self._label_numbers.keys()):
            raise DataError(f"{sentence.id}: where a chunk is cut, the labels {', '.join(unknown)} are needed")
        return [self._label_numbers[tag] for tag in tags]

    def features(
        self,
        tokenizer: PreTrainedTokenizerFast,
        sentences: Sequence[Sentence],
        languages: tuple[str, ...],
        labels: tuple[str, ...],
    ) -> TagFeatures:
        numbers = {language: number for number, language in enumerate(languages)}
        counts = TagWindowCounts(sentences=len(sentences), windows=len(self._ids), **self._counts)
        return TagFeatures(
            ids=tuple(self._ids),
            sentence=np.array(self._sentence),
            offset=np.array(self._offset),
            language=np.array([numbers[sentences[number].language] for number in self._sentence]),
            bounds=bounds_of([len(tokens) for tokens in self._tokens]),
            tokens=np.fromiter(chain.from_iterable(self._tokens), dtype=np.int32),
            types=np.fromiter(chain.from_iterable(self._types), dtype=np.int8),
            word_bounds=bounds_of([len(tags) for tags in self._tags]),
            first=np.concatenate(self._first).astype(np.int32),
            last=np.concatenate(self._last).astype(np.int32),
            tags=np.fromiter(chain.from_iterable(self._tags), dtype=np.int32),
            languages=languages,
            labels=labels,
            pad=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
            has_types="token_type_ids" in tokenizer.model_input_names,
            counts=counts,
        )
