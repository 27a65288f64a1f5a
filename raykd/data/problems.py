"""Every problem of all files of a set in one error, instead of the first problem of the first file."""

from collections.abc import Iterator
from contextlib import contextmanager

from raykd.data.sources import NotFoundError
from raykd.errors import DataError

_ALIKE = "not found in the same places: "
_MAX_PROBLEMS = 10


@contextmanager
def all_at_once() -> Iterator[list[str]]:
    """A list of problems to fill; if there are any when the block ends, they are raised as one DataError.

    Raises:
        DataError: with the first 10 lines, and the number of the others.
    """
    problems: list[str] = []
    yield problems
    if problems:
        more = [f"and {len(problems) - _MAX_PROBLEMS} more"] if len(problems) > _MAX_PROBLEMS else []
        raise DataError([*problems[:_MAX_PROBLEMS], *more])


def add_missing(problems: list[str], error: NotFoundError, source: str) -> None:
    """Add that a source was found nowhere. One missing folder makes every file of a set missing: the first line
    names the places, the second all other sources.
    """
    alike = [at for at, line in enumerate(problems) if line.startswith(_ALIKE)]
    if not any(": not found; tried" in line for line in problems):
        problems.extend(error.problems)
    elif alike:
        problems[alike[0]] += f", {source}"
    else:
        problems.append(f"{_ALIKE}{source}")


def short(value: object) -> str:
    """The repr of a value, at most 60 characters of it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
