"""How the tags of a source are written and how they are wanted."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from raykd.data import tags as tagging
from raykd.data.tags import Scheme, TagError


@dataclass(frozen=True)
class TagFormat:
    """How tags are written, and how they are wanted.

    Args:
        word_column: column of the words, from 0; below 0 from the right.
        tag_column: column of the tags, likewise; None reads words alone. The SemEval files have theirs in column 1,
            the last is a category.
        scheme: the scheme of the tags; None finds it out, file by file.
        target: the scheme to convert to; None leaves each file in its own. Tags of the scheme `none` always stay.
        types: "keep" the types of chunks, "drop" them all (`T-NEG` -> `I`), or a new name for each old type, such as
            {"NEG": "TERM", "POS": "TERM"}. Chunks are read before: two of different types side by side stay two.
        bad_sequences: what to do with a sequence that the scheme does not allow: "refuse" the file, or "repair" it, as
            published data with I-X after O needs (I-X -> B-X).

    Raises:
        ValueError: if `target` needs another `scheme` than the given one: one of them is `none`, the other is not.
    """

    word_column: int = 0
    tag_column: int | None = -1
    scheme: Scheme | None = None
    target: Scheme | None = None
    types: Literal["keep", "drop"] | Mapping[str, str] = "keep"
    bad_sequences: Literal["refuse", "repair"] = "refuse"

    def __post_init__(self) -> None:
        if self.target == "none" and self.scheme != "none":
            raise ValueError("target: none: chunks cannot be converted to plain tags; remove target")


class Shaper:
    """Brings the tags of one sentence after the other into the wanted shape."""

    def __init__(self, scheme: Scheme, target: Scheme, tag_format: TagFormat, labels: Collection[str] | None) -> None:
        self._scheme, self._target, self._format = scheme, target, tag_format
        self._labels = None if labels is None else set(labels)
        self.num_repaired = 0

    def shaped(self, tags: tuple[str, ...]) -> tuple[tuple[str, ...], list[tuple[int, str]]]:
        """The tags as wanted, and what is wrong with them by position."""
        if bad := tagging.first_bad(tags, self._scheme):
            try:
                tags, changed = tagging.repair(tags, self._scheme)
            except TagError as error:
                return tags, [(error.position, str(error))]
            if self._format.bad_sequences == "refuse":
                return tags, [(bad[0], f"{bad[1]}; data.columns.bad_sequences: repair corrects it")]
            self.num_repaired += changed
        types, keeps = self._format.types, self._scheme == self._target and self._format.types == "keep"
        if not keeps:
            chunks = tagging.spans(tags, self._scheme)
            if types != "keep":
                names = {} if types == "drop" else types
                unknown = [] if types == "drop" else [chunk for chunk in chunks if chunk[0] not in names]
                if unknown:
                    return tags, [(at, f"type {kind!r} has no name in types") for kind, at, _ in unknown]
                chunks = [(names.get(kind, ""), first, last) for kind, first, last in chunks]
            tags = tagging.encode(chunks, len(tags), self._target)
        if self._labels is None:
            return tags, []
        wrong = [at for at, tag in enumerate(tags) if tag not in self._labels]
        return tags, [(at, f"tag {tags[at]!r} is not one of {', '.join(sorted(self._labels))}") for at in wrong]
