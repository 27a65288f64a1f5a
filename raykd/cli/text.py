"""Numbers, times and names as a terminal shows them."""

from collections.abc import Mapping
from typing import Any


def duration(seconds: float) -> str:
    """Like `45 s`, `12 min` or `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def counted(number: int, noun: str) -> str:
    """Like `1 point` or `3 points`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def memory(num_bytes: int) -> str:
    """In GB."""
    return f"{num_bytes / 1e9:.1f} GB"


def shortened(text: str, width: int) -> str:
    """A text in at most `width` columns; what is left out of its middle is a sign: labels differ at both ends."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def epoch_line(report: Mapping[str, Any], *, brief: bool = False) -> str:
    """What an epoch's report says.

    Args:
        brief: what fits a terminal: loss, score and time left.
    """
    words = [f"generation {report['generation']}, epoch {report['epoch']}/{report['num_epochs']}"]
    loss, dev = f"loss {report['loss']:.3f}", report["dev_score"]
    if not brief:
        parts = {"label": report["label"], "kd": report["kd"], **report["parts"]}
        loss += f" ({', '.join(f'{name} {value:.3f}' for name, value in parts.items())})"
    words.append(loss)
    if report["coefficient"] not in (None, 1.0) and not brief:
        words.append(f"coefficient {report['coefficient']:.2f}")
    watched = [] if brief else [f"{name.replace('_', ' ')} {value:.2f}" for name, value in report["watched"].items()]
    if dev is not None or watched:
        words.append(", ".join([*([f"dev {dev:.1f}"] if dev is not None else []), *watched]))
    if not brief:
        words.append(f"{report['examples_per_second']:.0f} examples/s")
        if report.get("gpu_memory_bytes"):
            words.append(f"GPU {memory(report['gpu_memory_bytes'])}")
        if report.get("seconds_left"):
            words.append(f"{duration(report['seconds_left'])} left")
    return "  ".join(words)
