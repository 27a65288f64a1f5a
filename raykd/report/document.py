"""What a report is made of, whoever renders it: sections of text, tables and figures."""

from dataclasses import dataclass
from typing import Any, ClassVar

MISSING = "–"
"""Stands where there is no value."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Code:
    """Lines to read or to copy; with a `summary` they are folded away under it."""

    kind: ClassVar[str] = "code"
    text: str
    summary: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of text.

    Attributes:
        num_labels: so many columns from the left are names, the others numbers.
        emphasised: rows to bring out, by index.
        prose: the last column is text that may wrap.
    """

    kind: ClassVar[str] = "table"
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    num_labels: int = 1
    emphasised: frozenset[int] = frozenset()
    prose: bool = False


@dataclass(frozen=True)
class Picture:
    """An inline SVG, and what one sees in it."""

    svg: str
    alt: str


@dataclass(frozen=True)
class Figure:
    """Small pictures side by side under one caption, and their numbers as tables."""

    kind: ClassVar[str] = "figure"
    pictures: tuple[Picture, ...]
    caption: str
    numbers: tuple[Table, ...] = ()


Block = Text | Code | Table | Figure


@dataclass(frozen=True)
class Section:
    """A part of the report. `name` is what links lead to, `short` what the table of contents says."""

    name: str
    title: str
    short: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Fact:
    """A number of the headline, what it is, and what to know about it."""

    value: str
    what: str
    note: str = ""


@dataclass(frozen=True)
class Report:
    """All of it. `decision` is what the sweep says in a sentence or two."""

    title: str
    subtitle: str
    decision: tuple[str, ...]
    facts: tuple[Fact, ...]
    sections: tuple[Section, ...]
    best: dict[str, Any] | None
