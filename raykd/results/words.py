"""How times and numbers are written and files are named, the same everywhere."""

import re


def duration(seconds: float) -> str:
    """Seconds in the units that one would say them in, like `4.2 s`, `45 s`, `12 min` or `3 h 24 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def counted(number: float, singular: str, plural: str | None = None) -> str:
    """Like `1 point`, `3 points` or `0.5 CPUs`."""
    shown = f"{number:g}" if isinstance(number, float) else number
    return f"{shown} {singular if number == 1 else plural or f'{singular}s'}"


def file_name(text: str, *, also: str = "") -> str:
    """A text as the name of a file that every system takes.

    Args:
        also: marks that stay beside letters, digits, dots, hyphens and underscores; all others become hyphens.
    """
    return re.sub(f"[^A-Za-z0-9._{re.escape(also)}-]+", "-", text)
