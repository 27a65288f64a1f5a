"""What stands in a `tokenizer.json`: its pieces, which of them no text decides about, and how BPE spells one."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerFast

from raykd.errors import DataError

TRIMMABLE = ("BPE", "Unigram", "WordPiece")
"""Types of a tokenizer's model, as `tokenizer.json` calls them, whose vocabulary can be trimmed."""

WORD_MARK = "▁"
"""Of SentencePiece, before a word."""

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
LETTER_OF_BYTE = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(0x100 + number) for number, byte in enumerate(_OTHERS)
}
"""How byte-level BPE writes a byte (Radford et al. 2019)."""
_BYTE_OF_LETTER = {letter: byte for byte, letter in LETTER_OF_BYTE.items()}


class PieceTable:
    """The pieces of a tokenizer, read from its serialization.

    Attributes:
        name: of the tokenizer, for a message.
        json: what `tokenizer.json` holds.
        ids: piece -> id, added tokens included.
        special: ids of the tokenizer's special tokens.

    Raises:
        DataError: if the tokenizer is not a fast one, or its model is of a type that cannot be trimmed.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.name = tokenizer.name_or_path or type(tokenizer).__name__
        if not tokenizer.is_fast:
            raise DataError(f"tokenizer {self.name}: is not a fast one, so its vocabulary cannot be trimmed")
        self.json: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
        self.model: dict[str, Any] = self.json["model"]
        if self.model["type"] not in TRIMMABLE:
            raise DataError(
                f"tokenizer {self.name}: its model is of type {self.model['type']}; "
                f"a vocabulary can be trimmed of {', '.join(TRIMMABLE)}"
            )
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.special: frozenset[int] = frozenset(tokenizer.all_special_ids)

    @cached_property
    def is_byte_level(self) -> bool:
        """Whether pieces are written in letters that stand for bytes."""
        return any("ByteLevel" in _types(self.json[part]) for part in ("normalizer", "pre_tokenizer"))

    @cached_property
    def unknown_piece(self) -> int | None:
        """The id of what stands for text that has no pieces."""
        if self.model["type"] == "Unigram":
            return self.model["unk_id"]
        return self.ids.get(self.model["unk_token"] or "")

    @cached_property
    def byte_pieces(self) -> frozenset[int]:
        """Ids of the pieces that spell a character without a piece, byte by byte."""
        names = [f"<0x{byte:02X}>" for byte in range(256)] if self.model.get("byte_fallback") else []
        return frozenset(self.ids[name] for name in names if name in self.ids)

    def required(self) -> set[int]:
        """Ids that are kept whatever the texts are."""
        found = self.special | self.byte_pieces | {token["id"] for token in self.json["added_tokens"]}
        found |= {*_processor_ids(self.json["post_processor"])}
        if self.unknown_piece is not None:
            found |= {self.unknown_piece}
        if self.is_byte_level:
            found |= {self.ids[letter] for letter in LETTER_OF_BYTE.values() if letter in self.ids}
        if self.model["type"] == "Unigram":
            # What an unknown character costs is counted from the lowest score of all.
            scores = [score for _, score in self.model["vocab"]]
            found |= {scores.index(min(scores))}
        return {*found}

    def of_characters(self, characters: Iterable[str]) -> set[int]:
        """Ids of the pieces that are one of these characters, alone or with the mark of its place in a word."""
        before, after = self._marks()
        found = set()
        for character in characters:
            written = self._written(character)
            found |= {start + written + end for start in before for end in after}
        return {self.ids[piece] for piece in found if piece in self.ids}

    def characters_of(self, ids: Iterable[int]) -> set[str]:
        """The characters that pieces are written in; none for byte-level pieces, whose letters are bytes."""
        wanted = {*ids} if not self.is_byte_level else set()
        return {character for piece, number in self.ids.items() if number in wanted for character in piece}

    def unknown(self) -> frozenset[int]:
        """Ids of what stands for text that the tokenizer has no pieces for.

        That is its unknown token, the bytes of byte fallback, and byte-level pieces that are a part of a character.
        """
        found = {self.unknown_piece} if self.unknown_piece is not None else set()
        if self.is_byte_level:
            found |= {number for piece, number in self.ids.items() if _is_fragment(piece)}
        return self.byte_pieces | found

    def spelled(self, ids: Iterable[int]) -> set[int]:
        """`ids` and, for BPE, what the merges make on the way to each of them."""
        if self.model["type"] != "BPE":
            return {*ids}
        pieces = {number: piece for piece, number in self.ids.items()}
        rank = {merge: place for place, merge in enumerate(self.merges())}
        return {number for one in ids for number in (one, *self._on_the_way(pieces[one], rank))}

    def merges(self) -> Iterator[tuple[str, str]]:
        """What BPE joins, first the first."""
        for merge in self.model["merges"]:
            left, right = merge.split(" ") if isinstance(merge, str) else merge
            yield left, right

    def joined(self, left: str, right: str) -> str:
        """The piece that a merge makes."""
        return left + right[len(self.model["continuing_subword_prefix"] or "") :]

    def without(self, new_ids: Mapping[int, int]) -> dict[str, Any]:
        """The serialization with these pieces alone.

        Args:
            new_ids: id -> its new one, ascending like the old.
        """
        model = dict(self.model)
        if model["type"] == "Unigram":
            model["vocab"] = [entry for number, entry in enumerate(model["vocab"]) if number in new_ids]
            model["unk_id"] = None if self.unknown_piece is None else new_ids[self.unknown_piece]
        else:
            kept = {piece: new_ids[number] for piece, number in model["vocab"].items() if number in new_ids}
            model["vocab"] = kept
        if model["type"] == "BPE":
            model["merges"] = [
                [left, right]
                for left, right in self.merges()
                if left in kept and right in kept and self.joined(left, right) in kept
            ]
        return self.json | {
            "model": model,
            "added_tokens": [token | {"id": new_ids[token["id"]]} for token in self.json["added_tokens"]],
            "post_processor": _renumbered(self.json["post_processor"], new_ids.__getitem__),
            # What the latest call asked for; a call says it itself.
            "truncation": None,
            "padding": None,
        }

    def _marks(self) -> tuple[set[str], set[str]]:
        """What may stand before and after the one character of a piece."""
        before = {"", WORD_MARK, self.model.get("continuing_subword_prefix") or ""}
        if self.is_byte_level:
            before |= {LETTER_OF_BYTE[ord(" ")]}
        return before, {"", self.model.get("end_of_word_suffix") or ""}

    def _written(self, text: str) -> str:
        return "".join(LETTER_OF_BYTE[byte] for byte in text.encode()) if self.is_byte_level else text

    def _on_the_way(self, piece: str, rank: Mapping[tuple[str, str], int]) -> set[int]:
        """Ids of the symbols that `piece` begins with and of all that is joined; none if it ends as something else."""
        symbols = self._symbols(piece)
        seen = {*symbols}
        while len(symbols) > 1:
            pairs = [*itertools.pairwise(symbols)]
            best = min(pairs, key=lambda pair: rank.get(pair, len(rank)))
            if best not in rank:
                return set()
            at = pairs.index(best)
            symbols[at : at + 2] = [self.joined(*best)]
            seen.add(symbols[at])
        return {self.ids[symbol] for symbol in seen if symbol in self.ids}

    def _symbols(self, piece: str) -> list[str]:
        """The characters of a piece, each with the mark of its place in the word."""
        prefix, suffix = (self.model[name] or "" for name in ("continuing_subword_prefix", "end_of_word_suffix"))
        is_inside = bool(prefix) and piece.startswith(prefix)
        body = piece.removeprefix(prefix).removesuffix(suffix)
        symbols = [character if at == 0 and not is_inside else prefix + character for at, character in enumerate(body)]
        if suffix and symbols and piece.endswith(suffix):
            symbols[-1] += suffix
        return symbols


def _types(part: Any) -> set[str]:
    """The types of a component of a `tokenizer.json` and of the parts of a sequence of them."""
    if not part:
        return set()
    inner = [*part.get("normalizers", ()), *part.get("pretokenizers", ())]
    return {part["type"]}.union(*map(_types, inner))


def _is_fragment(piece: str) -> bool:
    """Whether a byte-level piece is not made of whole characters."""
    if not all(letter in _BYTE_OF_LETTER for letter in piece):
        return False
    try:
        bytes(_BYTE_OF_LETTER[letter] for letter in piece).decode()
    except UnicodeDecodeError:
        return True
    return False


def _renumbered(processor: Any, new_id: Callable[[int], int]) -> Any:
    """A post-processor of a `tokenizer.json` with other ids."""
    kind = processor["type"] if processor else None
    if kind == "Sequence":
        return processor | {"processors": [_renumbered(each, new_id) for each in processor["processors"]]}
    if kind == "TemplateProcessing":
        tokens = processor["special_tokens"]
        renumbered = {name: token | {"ids": [*map(new_id, token["ids"])]} for name, token in tokens.items()}
        return processor | {"special_tokens": renumbered}
    if kind in ("BertProcessing", "RobertaProcessing"):
        return processor | {role: [processor[role][0], new_id(processor[role][1])] for role in ("sep", "cls")}
    return processor


def _processor_ids(processor: Any) -> list[int]:
    """The ids that a post-processor puts around a text."""
    found: list[int] = []

    def seen(number: int) -> int:
        found.append(number)
        return number

    _renumbered(processor, seen)
    return found
