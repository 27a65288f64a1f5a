"""Vocabularies of fewer pieces: what given texts need, the tokenizer of these alone, and what it does not cover."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from transformers import PreTrainedTokenizerFast

from raykd.errors import DataError
from raykd.models.pieces import PieceTable

MOST_MORE_UNKNOWN = 0.05
"""A language is not covered if the share of its pieces that are unknown grows by more than this."""

_AT_ONCE = 4096


@dataclass(frozen=True)
class Kept:
    """The pieces that stay.

    Attributes:
        ids: their ids in the full tokenizer, ascending; the place of one is its id in the trimmed tokenizer.
        total: how many pieces the full tokenizer has.
    """

    ids: tuple[int, ...]
    total: int

    @cached_property
    def new_ids(self) -> Mapping[int, int]:
        """Id in the full tokenizer -> id in the trimmed one."""
        return {old: new for new, old in enumerate(self.ids)}


@dataclass(frozen=True)
class LanguageCoverage:
    """How the texts of one language are read.

    Attributes:
        pieces, trimmed_pieces: into how many pieces the texts are cut, before and after.
        unknown, trimmed_unknown: the share of them that are unknown, 0 to 1. That is the unknown token, a byte of byte
            fallback, or a part of a character in byte-level BPE.
    """

    pieces: int
    trimmed_pieces: int
    unknown: float
    trimmed_unknown: float


@dataclass(frozen=True)
class Coverage:
    """What a trimmed vocabulary does to texts; `dataclasses.asdict` makes plain values of it.

    Attributes:
        kept, total: pieces of the trimmed and of the full tokenizer.
        languages: by language.
    """

    kept: int
    total: int
    languages: dict[str, LanguageCoverage]


def needed_pieces(
    tokenizer: PreTrainedTokenizerFast, texts: Mapping[str, Iterable[str]], *, max_pieces: int | None
) -> Kept:
    """The pieces that a tokenizer needs to read given texts as it does, and unseen words of their scripts.

    These are the pieces of the texts; special and added tokens, the unknown token, all bytes of byte fallback and of
    byte-level BPE; and the pieces that are one character of the texts, alone or with the mark of its place in a word.
    BPE also needs what it joins on the way to a piece, and Unigram its lowest score.

    Args:
        texts: by language, as the model will read them. Words that are read one by one are given as one text, with
            spaces between them.
        max_pieces: how many pieces of each language stay, the most frequent first, of equals the one with the lower
            id; None keeps all that occur. What is kept for other reasons comes on top.

    Raises:
        DataError: if there is no text, or the tokenizer cannot be trimmed.
    """
    table = PieceTable(tokenizer)
    seen: set[int] = set()
    characters: set[str] = {""}
    for language, some in texts.items():
        counts: Counter[int] = Counter()
        for batch in _batches(some):
            characters.update(*batch)
            counts.update(itertools.chain.from_iterable(_read(tokenizer, batch)))
        if not counts:
            raise DataError(f"student.vocabulary: there is no text of {language}; remove the language, or give texts")
        characters |= table.characters_of(counts)
        seen.update(sorted(counts, key=lambda number: (-counts[number], number))[:max_pieces])
    if not texts:
        raise DataError("student.vocabulary: there are no texts; give those of at least one language")
    normalizer = tokenizer.backend_tokenizer.normalizer
    if normalizer is not None:
        characters.update(*[normalizer.normalize_str(character) for character in characters])
    found = table.spelled(seen | table.required() | table.of_characters(characters))
    return Kept(ids=tuple(sorted(found)), total=len(tokenizer))


def trim_tokenizer(tokenizer: PreTrainedTokenizerFast, kept: Kept) -> PreTrainedTokenizerFast:
    """The tokenizer with the kept pieces alone; it reads a text alike if all pieces that the text had are kept.

    The one exception is a word that a WordPiece tokenizer does not know: without the long piece that it took first,
    shorter ones may spell it.

    Args:
        kept: of `needed_pieces` with the same tokenizer.

    Returns:
        A plain `PreTrainedTokenizerFast`: the classes of models would make a tokenizer of their own of the files.

    Raises:
        DataError: if the tokenizer cannot be trimmed.
    """
    # Why a text whose pieces are all kept is read alike. Only the vocabulary changes, so a text is cut into the same
    # words, and what is left of each is this:
    # - WordPiece takes the longest piece that fits. It is kept, and what is kept holds no longer one.
    # - Unigram takes the path of the highest score. All its pieces are kept with their scores; other paths are gone, or
    #   lead over an unknown character that had a piece, which costs more than any piece. Of equal paths the earlier
    #   stays the earlier. An unknown character costs as much as before, since the lowest score is kept.
    # - BPE does the merge of the lowest rank, again and again. What it did inside a piece that it ended with is what it
    #   does with that piece alone, as nothing was joined across its ends. So all of these merges are kept
    #   (`PieceTable.spelled`), and there are no others than before: each step finds the same one.
    table = PieceTable(tokenizer)
    assert kept.total == len(tokenizer), "pieces of another tokenizer"
    backend = type(tokenizer.backend_tokenizer).from_str(json.dumps(table.without(kept.new_ids)))
    trimmed = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        name_or_path=tokenizer.name_or_path,
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        clean_up_tokenization_spaces=tokenizer.clean_up_tokenization_spaces,
        extra_special_tokens=tokenizer.extra_special_tokens,
        **tokenizer.special_tokens_map,
    )
    # An added token that is no piece of the model gets the id after the last one, whatever the file says. Where that
    # was the id of a piece too, the two part here.
    if trimmed.get_vocab() != {
        piece: kept.new_ids[number] for piece, number in table.ids.items() if number in kept.new_ids
    }:
        raise DataError(f"tokenizer {table.name}: two of its pieces have one id, so its vocabulary cannot be trimmed")
    return trimmed


def coverage(
    tokenizer: PreTrainedTokenizerFast, trimmed: PreTrainedTokenizerFast, texts: Mapping[str, Iterable[str]]
) -> Coverage:
    """How texts are read before and after; texts that the vocabulary was not made of say more.

    Args:
        texts: by language.

    Raises:
        DataError: if a tokenizer cannot be trimmed.
    """
    readers = tokenizer, trimmed
    unknown = [PieceTable(each).unknown() for each in readers]
    languages = {}
    for language, some in texts.items():
        counts: tuple[Counter[int], Counter[int]] = Counter(), Counter()
        for batch in _batches(some):
            for count, each in zip(counts, readers, strict=True):
                count.update(itertools.chain.from_iterable(_read(each, batch)))
        pieces = [count.total() for count in counts]
        shares = [
            sum(count[number] for number in ids) / max(total, 1)
            for count, ids, total in zip(counts, unknown, pieces, strict=True)
        ]
        languages[language] = LanguageCoverage(*pieces, *shares)
    return Coverage(kept=len(trimmed), total=len(tokenizer), languages=languages)


def check_coverage(found: Coverage) -> None:
    """Refuse a vocabulary that lacks a language's script.

    Raises:
        DataError: with a line for each language whose unknown share grew by more than `MOST_MORE_UNKNOWN`.
    """
    problems = [
        f"student.vocabulary: {language}: {one.trimmed_unknown:.1%} of its pieces are unknown, {one.unknown:.1%} "
        f"before {found.total:,} pieces became {found.kept:,}: a vocabulary without a language's script; "
        f"add texts of {language} to those that it is made of"
        for language, one in found.languages.items()
        if one.trimmed_unknown - one.unknown > MOST_MORE_UNKNOWN
    ]
    if problems:
        raise DataError(problems)


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    left = iter(texts)
    while batch := list(itertools.islice(left, _AT_ONCE)):
        yield batch


def _read(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[list[int]]:
    """The pieces of texts, without what stands around a text; [SEP] in a text is text."""
    return tokenizer(
        texts,
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )["input_ids"]
