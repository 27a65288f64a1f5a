"""What a check found."""

from dataclasses import dataclass
from typing import Literal

from raykd.errors import RaykdError

LIMIT_SECONDS = 10.0
"""Until a check that waits for somebody else is given up."""

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """A line of the doctor's report.

    Attributes:
        level: `warning` works, or works until something else is asked for; with an `error` a sweep would not run.
        what: what was looked at, in a word or two.
        todo: empty where there is nothing to do.
    """

    level: Level
    what: str
    found: str
    todo: str = ""


@dataclass(frozen=True)
class Step:
    """A check announces what it waits for next, how long that may take, and what to do should it take longer."""

    doing: str
    seconds: float = LIMIT_SECONDS
    todo: str = "check what it waits for, then run raykd doctor again"


def errors_of(what: str, error: RaykdError, todo: str = "") -> list[Finding]:
    """An error's lines, which say themselves what to do unless `todo` does."""
    return [Finding("error", what, line, todo) for line in error.problems]
