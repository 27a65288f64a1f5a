"""The record of a part of a teacher's signals; read without torch."""

from dataclasses import dataclass

from raykd.results.record import Record


@dataclass(frozen=True, kw_only=True)
class SignalPart(Record, version=1):
    """A part of one teacher's signals: its file, and the windows that it holds in order, with the length of each."""

    teacher: str
    file: str
    sha256: str
    ids: list[str]
    lengths: list[int]
