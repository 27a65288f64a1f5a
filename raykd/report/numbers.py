"""How a report writes numbers and values."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from raykd.report.document import MISSING
from raykd.results import words


def number(value: float | None, digits: int = 1) -> str:
    """A number, or a dash; with a minus sign, not a hyphen."""
    return MISSING if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def signed(value: float | None, digits: int = 1) -> str:
    """A difference, its sign in front."""
    return MISSING if value is None else f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def interval(low: float | None, high: float | None) -> str:
    """Two bounds."""
    return MISSING if low is None or high is None else f"{number(low)} to {number(high)}"


def probability(value: float | None) -> str:
    """A p-value; below a thousandth no more than that it is."""
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float | None) -> str:
    """A time, or a dash."""
    return MISSING if seconds is None else words.duration(seconds)


def moment(seconds: float | None) -> str:
    """A time of the Unix clock, in UTC."""
    return MISSING if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def value(found: Any) -> str:
    """The value of a key of a sweep file."""
    if found is None:
        return MISSING
    if isinstance(found, Mapping) and {"start", "end"} <= found.keys():
        return _schedule(**found)
    if isinstance(found, Mapping | list | tuple | bool):
        return json.dumps(found, ensure_ascii=False)
    return f"{found:g}" if isinstance(found, float) else str(found)


def _schedule(
    start: float,
    end: float,
    shape: str = "linear",
    until: float = 1.0,
    num_stairs: int | None = None,
    over: str | None = None,
) -> str:
    """A schedule over progress; what is at its default goes without saying."""
    said = [f"{start:g} to {end:g}"]
    said += [shape] if shape != "linear" else []
    said += [f"until {until:g}"] if until != 1 else []
    said += [f"in {words.counted(num_stairs, 'stair')}"] if num_stairs else []
    said += [f"over each {over}" if over == "generation" else f"over the {over}"] if over else []
    return " ".join(said)


def listed(names: list[str], word: str = "and") -> str:
    """Names as a sentence lists them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}" if names else ""
