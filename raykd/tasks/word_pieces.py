"""Words, and the pieces that a tokenizer makes of each."""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from transformers import PreTrainedTokenizerFast

from raykd.errors import DataError

_AT_ONCE = 4096
_CJK = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)
"""First and last code of the blocks whose characters are words, as in BERT's tokenizer."""


def words_of(text: str) -> list[str]:
    """The words of a text, for any tokenizer: what is between white space, punctuation and CJK characters.

    A punctuation character is a word, and so is a CJK character. What counts as one is BERT's choice: all of ASCII
    that is no letter, digit, space or control character, the Unicode category P, and the ideographs. Joined, the
    words are the text without its white space.
    """
    return "".join(f" {char} " if _stands_alone(char) else char for char in text).split()


@cache
def _stands_alone(char: str) -> bool:
    if char.isascii():
        return char.isprintable() and not char.isalnum() and char != " "
    return unicodedata.category(char).startswith("P") or any(first <= ord(char) <= last for first, last in _CJK)


def word_pieces(sentences: Sequence[Sequence[str]], tokenizer: PreTrainedTokenizerFast) -> Iterator[list[list[int]]]:
    """The pieces of each word of each sentence; none for a word that the tokenizer makes nothing of.

    A tokenizer that marks the space before a word gets words with that space.

    Raises:
        DataError: if the tokenizer is not a fast one.
    """
    if not tokenizer.is_fast:
        raise DataError(f"tokenizer {name_of(tokenizer)}: is not a fast one, which raykd needs to map words to tokens")
    space = " " if needs_spaces(tokenizer) else ""
    for start in range(0, len(sentences), _AT_ONCE):
        some = sentences[start : start + _AT_ONCE]
        encoded = tokenizer(
            [[space * (at > 0) + word for at, word in enumerate(words)] for words in some],
            is_split_into_words=True,
            add_special_tokens=False,
            # A word such as [SEP] is text. A long sentence is no reason for a warning: who calls this cuts it.
            split_special_tokens=True,
            verbose=False,
        )
        for words, encoding in zip(some, encoded.encodings, strict=True):
            pieces: list[list[int]] = [[] for _ in words]
            for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
                pieces[word].append(token)
            yield pieces


def needs_spaces(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether words become the pieces of a text only if each brings its space (byte-level BPE, Gemma)."""
    text = tokenizer("a a")["input_ids"]
    plain, spaced = (tokenizer(words, is_split_into_words=True)["input_ids"] for words in (["a", "a"], ["a", " a"]))
    return spaced == text != plain


def whole_words(lengths: Sequence[int], room: int) -> tuple[int, int]:
    """How many of the first words, and of their pieces, have room; the first word counts even if only a part has.

    Args:
        lengths: [W] pieces of each word, at least 1.
        room: pieces, at least 1.
    """
    ends = np.cumsum(lengths)
    words = int(np.searchsorted(ends, room, side="right"))
    if words == 0 < len(ends):
        return 1, room
    return words, int(ends[words - 1]) if words else 0


def frame_tokens(tokenizer: PreTrainedTokenizerFast) -> tuple[int, int]:
    """The tokens that begin a sequence and end a sentence: CLS and SEP, or BOS and EOS of a tokenizer without them.

    Raises:
        DataError: if there are no such tokens.
    """
    first = tokenizer.bos_token_id if tokenizer.cls_token_id is None else tokenizer.cls_token_id
    last = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    if first is None or last is None:
        raise DataError(f"tokenizer {name_of(tokenizer)}: has no token for the start or for the end of a sentence")
    return first, last


def pad_token(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token that fills a batch; any would do, as it is masked."""
    return 0 if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def checked_length(tokenizer: PreTrainedTokenizerFast, max_length: int, *, least: int) -> int:
    """`max_length`, if the tokenizer's model reads as much and it is `least` or more.

    Raises:
        DataError: otherwise.
    """
    if least <= max_length <= tokenizer.model_max_length:
        return max_length
    problem = f"max_length: got {max_length}; tokenizer {name_of(tokenizer)} allows {least}"
    raise DataError(f"{problem} to {tokenizer.model_max_length}")


def name_of(tokenizer: PreTrainedTokenizerFast) -> str:
    """Where the tokenizer is from, for a message."""
    return tokenizer.name_or_path or type(tokenizer).__name__
