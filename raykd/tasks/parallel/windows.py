"""Cuts sentence pairs to what a student and a teacher can read, such that both have the same English words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from transformers import PreTrainedTokenizerFast

from raykd.data.examples import SentencePair
from raykd.errors import DataError
from raykd.tasks.parallel.features import PairCounts, PairFeatures, PairFrame
from raykd.tasks.parallel.masking import Masking, pair_keys
from raykd.tasks.parallel.sentences import EnglishFeatures, english_from_pieces
from raykd.tasks.ragged import bounds_of
from raykd.tasks.word_pieces import (
    checked_length,
    frame_tokens,
    name_of,
    pad_token,
    whole_words,
    word_pieces,
    words_of,
)

_Pieces = list[list[int]]
"""Those of each word of a sentence."""


def build_pair_features(
    pairs: Sequence[SentencePair],
    student: PreTrainedTokenizerFast,
    teacher: PreTrainedTokenizerFast,
    *,
    max_length: int,
    teacher_max_length: int | None = None,
) -> PairFeatures:
    """Pairs as pieces, their English sentences also as the teacher's pieces, matched word by word.

    Sentences are split into words by `words_of`, whatever the tokenizer, and cut between words; of a first word without
    room there are the first pieces. In a pair that does not fit, a sentence may have half of the room, and what the
    shorter one leaves. A pair has no more words than the teacher reads; a teacher may read more words than a pair has.

    Args:
        pairs: with different ids.
        student, teacher: any fast tokenizers, or one and the same.
        max_length: pieces of a pair, and of a sentence alone, that the student reads at the most, special tokens
            included.
        teacher_max_length: pieces of a sentence that the teacher reads at the most; without it `max_length`, or as
            many as its tokenizer allows.

    Raises:
        DataError: if a tokenizer is not a fast one or does not allow such lengths, the student's has no mask token,
            an id is there twice, or no pair is left.
    """
    _refuse_repeated(pairs)
    check_student(student, max_length=max_length)
    words = {text: words_of(text) for pair in pairs for text in (pair.english, pair.other)}
    full = [pair for pair in pairs if words[pair.english] and words[pair.other]]
    english = {pair.english: words[pair.english] for pair in full}
    read = _pieces_of(english | {pair.other: words[pair.other] for pair in full}, student)
    taught = _pieces_of(english, teacher)
    spoken = [pair for pair in full if any(read[pair.other])]
    kept = [pair for pair in spoken if all(read[pair.english]) and all(taught[pair.english])]
    counts = PairCounts(pairs=len(pairs), empty=len(pairs) - len(spoken), unmatched=len(spoken) - len(kept))
    if not kept:
        found = f"{counts.pairs} given, {counts.empty} empty, {counts.unmatched} with words that a tokenizer drops"
        raise DataError(f"no sentence pairs: {found}; check that the data is not empty")
    texts = tuple(dict.fromkeys(pair.english for pair in kept))
    limit = min(max_length, teacher.model_max_length) if teacher_max_length is None else teacher_max_length
    sentences = english_from_pieces(texts, (taught[text] for text in texts), teacher, max_length=limit)
    return _features(kept, read, texts, sentences, student, max_length, counts)


def check_student(tokenizer: PreTrainedTokenizerFast, *, max_length: int) -> None:
    """Refuse a tokenizer that no student can read pairs with.

    Raises:
        DataError: if it has no mask token, or does not allow `max_length` pieces.
    """
    if tokenizer.mask_token_id is None:
        raise DataError(
            f"tokenizer {name_of(tokenizer)}: has no mask token, which a student needs to learn from pairs; use an "
            "encoder that was trained with one"
        )
    checked_length(tokenizer, max_length, least=5)


def _refuse_repeated(pairs: Sequence[SentencePair]) -> None:
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise DataError(f"{pair.id}: occurs twice")
        seen.add(pair.id)


def _pieces_of(words: Mapping[str, list[str]], tokenizer: PreTrainedTokenizerFast) -> dict[str, _Pieces]:
    return dict(zip(words, word_pieces(list(words.values()), tokenizer), strict=True))


def _features(
    pairs: Sequence[SentencePair],
    read: Mapping[str, _Pieces],
    texts: Sequence[str],
    english: EnglishFeatures,
    student: PreTrainedTokenizerFast,
    max_length: int,
    counts: PairCounts,
) -> PairFeatures:
    """Lay pairs end to end; `read` are the student's pieces of each sentence, `texts` those of the teacher's rows."""
    rows = {text: row for row, text in enumerate(texts)}
    english_of = np.array([rows[pair.english] for pair in pairs])
    tokens: list[list[int]] = []
    word_starts: list[np.ndarray] = []
    lengths: list[tuple[int, int]] = []
    cut = 0
    for pair, most_words in zip(pairs, english.word_counts[english_of], strict=True):
        first, second = read[pair.english], read[pair.other]
        words, ours, theirs, alone = _room_of(first[:most_words], second, max_length)
        first_pieces, second_pieces = list(chain.from_iterable(first)), list(chain.from_iterable(second))
        tokens.append([*first_pieces[:ours], *second_pieces[:alone]])
        word_starts.append(bounds_of([len(word) for word in first])[:words])
        lengths.append((ours, theirs))
        cut += ours < len(first_pieces) or theirs < len(second_pieces)
    languages = tuple(sorted({pair.language for pair in pairs}))
    ids = tuple(pair.id for pair in pairs)
    before, after = frame_tokens(student)
    return PairFeatures(
        ids=ids,
        language=np.array([languages.index(pair.language) for pair in pairs]),
        keys=pair_keys(ids),
        bounds=bounds_of([len(row) for row in tokens]),
        tokens=np.fromiter(chain.from_iterable(tokens), dtype=np.int32),
        english_lengths=np.array([ours for ours, _ in lengths]),
        other_lengths=np.array([theirs for _, theirs in lengths]),
        word_bounds=bounds_of([len(row) for row in word_starts]),
        word_starts=np.concatenate(word_starts).astype(np.int32),
        english=english,
        english_of=english_of,
        languages=languages,
        frame=PairFrame(before, after, pad_token(student), "token_type_ids" in student.model_input_names),
        masking=Masking(student.mask_token_id, _plain_pieces(student)),
        counts=replace(counts, cut=cut),
    )


def _room_of(english: _Pieces, other: _Pieces, max_length: int) -> tuple[int, int, int, int]:
    """English words and pieces of a pair, and pieces of the other sentence in the pair and alone."""
    ours, theirs = [len(word) for word in english], [len(word) for word in other if word]
    room = max_length - 3
    words, pieces = whole_words(ours, max(room // 2, room - sum(theirs)))
    # What whole English words leave is for the other sentence.
    return words, pieces, whole_words(theirs, room - pieces)[1], whole_words(theirs, max_length - 2)[1]


def _plain_pieces(tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """All pieces but the special tokens, in the order of their numbers."""
    return np.array(sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)), dtype=np.int64)
