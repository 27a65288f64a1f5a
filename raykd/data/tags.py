"""Chunks written as one tag per word: reading, checking, mending and converting the schemes.

A tag is `O` or a prefix and a type, `B-LOC`; a bare prefix (`B`) has the type "". With X a type:

| scheme | first word of a chunk | others | last | only word |
|---|---|---|---|---|
| iob1 | I-X; B-X right after another chunk of X | I-X | I-X | as the first |
| iob2 | B-X | I-X | I-X | B-X |
| bioes | B-X | I-X | E-X | S-X |
| io | I-X, or T-X as in the aspect terms of SemEval | I-X | I-X | I-X |
| none | tags are no chunks but, say, parts of speech | | | |

`io` cannot tell one chunk from two of the same type side by side, and reads them as one. Needs no torch.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

Scheme = Literal["iob1", "iob2", "bioes", "io", "none"]
SCHEMES: tuple[str, ...] = get_args(Scheme)

Span = tuple[str, int, int]
"""Type, first word, last word (included)."""

OUTSIDE = "O"
_PREFIXES = {"iob1": "BI", "iob2": "BI", "bioes": "BIES", "io": "IT"}
_WRITTEN = {**_PREFIXES, "io": "I"}
_CHUNK_TAG = re.compile(r"([BIEST])(?:-(.+))?")
# Written like a chunk, but in a scheme that is not here: BILOU has L- and U-.
_LIKE_A_CHUNK = re.compile(r"[A-Z]-.+")


class TagError(ValueError):
    """A tag that its scheme does not allow where it stands.

    Attributes:
        position: its index.
    """

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(problem)
        self.position = position


def detect(sequences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme that tag sequences are written in; sequences with slips get the scheme that they look most like.

    Without any E- or S-: `io` if there is no B-, `iob1` if every B- follows a chunk of its type and some chunk begins
    with I-, otherwise `iob2`. Nothing but O is `iob2`.

    Raises:
        TagError: if the tags look like chunks of a scheme that is not known, such as BILOU; its position counts the
            words of all sequences.
    """
    sequences = [tuple(tags) for tags in sequences]
    seen = {tag for tags in sequences for tag in tags} - {OUTSIDE}
    if strange := {tag for tag in seen if not _CHUNK_TAG.fullmatch(tag)}:
        if len(strange) == len(seen) and not any(_LIKE_A_CHUNK.fullmatch(tag) for tag in strange):
            return "none"
        position, tag = next(
            (at, tag) for at, tag in enumerate(tag for tags in sequences for tag in tags) if tag in strange
        )
        raise TagError(f"tag {tag!r} has no known scheme; use `scheme: none` if tags are not chunks", position)
    prefixes = {tag[0] for tag in seen}
    if prefixes & {"E", "S"}:
        return "bioes"
    if "T" in prefixes or prefixes == {"I"}:
        return "io"
    legal = {scheme: all(first_bad(tags, scheme) is None for tags in sequences) for scheme in ("iob2", "iob1")}
    return "iob1" if legal["iob1"] and not legal["iob2"] else "iob2"


def first_bad(tags: Sequence[str], scheme: Scheme) -> tuple[int, str] | None:
    """The first position that breaks the scheme, and why; None if the sequence is legal.

    A chunk that the end of the sequence leaves open (bioes) is bad at the last word.
    """
    if scheme == "none":
        return None
    before = OUTSIDE
    for position, tag in enumerate(tags):
        if _split(tag, scheme) is None:
            return position, _foreign(tag, scheme)
        if not _may_follow(before, tag, scheme):
            what = f"tag {tag!r} cannot follow {before!r}" if position else f"tag {tag!r} cannot be the first"
            return position, f"{what} in {scheme}"
        before = tag
    if tags and not _may_end(before, scheme):
        return len(tags) - 1, f"tag {before!r} cannot be the last in {scheme}"
    return None


def repair(tags: Sequence[str], scheme: Scheme) -> tuple[tuple[str, ...], int]:
    """A legal sequence with the chunks that `spans` reads, and how many tags had to change (I-X -> B-X, ...).

    Raises:
        TagError: if a tag is not of the scheme.
    """
    mended = tuple(tags) if scheme == "none" else encode(spans(tags, scheme), len(tags), scheme)
    if scheme == "io":
        return mended, 0
    return mended, sum(old != new for old, new in zip(tags, mended, strict=True))


def spans(tags: Sequence[str], scheme: Scheme) -> list[Span]:
    """The chunks in their order. In `none` every word is one, of the type that its tag names.

    An illegal sequence is read leniently, as conlleval does: a tag that cannot continue a chunk begins one, and a
    chunk that is not closed ends before the next one.

    Raises:
        TagError: if a tag is not of the scheme.
    """
    if scheme == "none":
        return [(tag, at, at) for at, tag in enumerate(tags)]
    found: list[Span] = []
    open_type: str | None = None
    for at, tag in enumerate(tags):
        parts = _split(tag, scheme)
        if parts is None:
            raise TagError(_foreign(tag, scheme), at)
        prefix, kind = parts
        if prefix == OUTSIDE:
            open_type = None
            continue
        if prefix in "IET" and open_type == kind:
            found[-1] = (kind, found[-1][1], at)
        else:
            found.append((kind, at, at))
        open_type = None if prefix in "ES" else kind
    return found


def encode(chunks: Iterable[Span], length: int, scheme: Scheme) -> tuple[str, ...]:
    """The tags of `length` words with these chunks; the inverse of `spans`.

    Args:
        chunks: in their order, without overlap.
        length: number of words.
        scheme: one of `SCHEMES`; in `none` the chunks must be single words and cover all. `io` merges adjacent chunks
            of one type.

    Raises:
        ValueError: if chunks overlap, are out of order or leave the sentence, or `none` cannot write them.
    """
    tags = [OUTSIDE] * length
    past, before = 0, None
    for kind, first, last in chunks:
        if not past <= first <= last < length:
            raise ValueError(f"chunk {first}..{last} overlaps, is out of order or leaves {length} words")
        if scheme == "none":
            if first != past or first != last:
                raise ValueError(f"chunk {first}..{last} is not one word right after the one before")
            tags[first] = kind
        else:
            inside = [_tag("I", kind)] * (last - first + 1)
            if scheme in ("iob2", "bioes") or (scheme == "iob1" and before == kind and first == past):
                inside[0] = _tag("B", kind)
            if scheme == "bioes":
                inside[-1] = _tag("S" if first == last else "E", kind)
            tags[first : last + 1] = inside
        past, before = last + 1, kind
    if scheme == "none" and past != length:
        raise ValueError(f"{length - past} words have no tag")
    return tuple(tags)


def convert(tags: Sequence[str], source: Scheme, target: Scheme) -> tuple[str, ...]:
    """The same chunks in another scheme. Between iob1, iob2 and bioes nothing is lost.

    Raises:
        TagError: if `tags` is not legal in `source`.
        ValueError: if one of the two is `none` and the other is not.
    """
    if bad := first_bad(tags, source):
        raise TagError(bad[1], bad[0])
    if source == target == "none":
        return tuple(tags)
    if "none" in (source, target):
        raise ValueError(f"tags of the scheme {source} cannot become {target}")
    return encode(spans(tags, source), len(tags), target)


def types_of(sequences: Iterable[Sequence[str]], scheme: Scheme) -> set[str]:
    """The chunk types of sequences, or in `none` the tags.

    Raises:
        TagError: if a tag is not of the scheme.
    """
    return {kind for tags in sequences for kind, _, _ in spans(tags, scheme)}


def label_set(types: Iterable[str], scheme: Scheme) -> tuple[str, ...]:
    """All tags of a scheme over these types, in an order that depends on nothing else: O, then type by type.

    In `none` the types are the tags.
    """
    kinds = sorted(set(types))
    if scheme == "none":
        return tuple(kinds)
    return (OUTSIDE, *(_tag(prefix, kind) for kind in kinds for prefix in _WRITTEN[scheme]))


def named_labels(names: Iterable[str], scheme: Scheme) -> tuple[str, ...]:
    """The label set of a scheme that names stand for: chunk types, or tags of any chunk scheme, which stand for theirs.

    In `none` the names are the tags.
    """
    if scheme == "none":
        return label_set(names, scheme)
    kinds = []
    for name in names:
        tag = _CHUNK_TAG.fullmatch(name)
        if name != OUTSIDE:
            kinds.append(tag[2] if tag and tag[2] else name)
    return label_set(kinds, scheme)


@dataclass(frozen=True)
class Transitions:
    """What a scheme allows over L labels, as bool arrays.

    Attributes:
        start: [L] whether a sequence may begin with the label.
        between: [L, L] whether the row's label may be followed by the column's.
        end: [L] whether a sequence may end with it.
    """

    start: np.ndarray
    between: np.ndarray
    end: np.ndarray


def transitions(labels: Sequence[str], scheme: Scheme) -> Transitions:
    """The masks that make decoding legal: a path within them is one that `first_bad` accepts.

    Raises:
        TagError: if a label is not of the scheme.
    """
    for at, label in enumerate(labels):
        if _split(label, scheme) is None:
            raise TagError(_foreign(label, scheme), at)
    return Transitions(
        start=np.array([_may_follow(OUTSIDE, label, scheme) for label in labels], dtype=bool),
        between=np.array([[_may_follow(a, b, scheme) for b in labels] for a in labels], dtype=bool),
        end=np.array([_may_end(label, scheme) for label in labels], dtype=bool),
    )


def _foreign(tag: str, scheme: Scheme) -> str:
    allowed = ", ".join(f"{prefix}-" for prefix in _PREFIXES[scheme])
    return f"tag {tag!r} is not of the scheme {scheme}: O, or one of {allowed} and a type"


def _tag(prefix: str, kind: str) -> str:
    return f"{prefix}-{kind}" if kind else prefix


@lru_cache(4096)
def _split(tag: str, scheme: Scheme) -> tuple[str, str] | None:
    """Prefix and type; None if the tag is not of the scheme."""
    if scheme == "none" or tag == OUTSIDE:
        return OUTSIDE, ""
    match = _CHUNK_TAG.fullmatch(tag)
    return (match[1], match[2] or "") if match and match[1] in _PREFIXES[scheme] else None


@lru_cache(4096)
def _may_follow(before: str, tag: str, scheme: Scheme) -> bool:
    """Whether `tag` may come after `before`; the start of a sequence is like O. Both are of the scheme."""
    if scheme in ("none", "io"):
        return True
    continued = before[0] in "BI" and before[1:] == tag[1:]
    if scheme == "bioes":
        return continued if tag[0] in "IE" else before[0] not in "BI"
    return continued or tag[0] != ("B" if scheme == "iob1" else "I")


def _may_end(tag: str, scheme: Scheme) -> bool:
    return scheme != "bioes" or tag[0] not in "BI"
