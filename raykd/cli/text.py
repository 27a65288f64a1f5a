"""Numbers, names and reports as a terminal shows them."""

from typing import TYPE_CHECKING

from raykd.results.words import duration

if TYPE_CHECKING:
    from raykd.results.epochs import EpochReport


def memory(num_bytes: int) -> str:
    """In GB."""
    return f"{num_bytes / 1e9:.1f} GB"


def shortened(text: str, width: int) -> str:
    """A text in at most `width` columns; what is left out of its middle is a sign: labels differ at both ends."""
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def epoch_line(report: "EpochReport", *, brief: bool = False) -> str:
    """What an epoch's report says.

    Args:
        brief: what fits a terminal: loss, score and time left.
    """
    said = [f"generation {report.generation}, epoch {report.epoch}/{report.num_epochs}"]
    loss = f"loss {report.loss:.3f}"
    if not brief:
        parts = {"label": report.label_loss, "kd": report.kd_loss, **report.parts}
        loss += f" ({', '.join(f'{name} {value:.3f}' for name, value in parts.items())})"
    said.append(loss)
    if report.coefficient not in (None, 1.0) and not brief:
        said.append(f"coefficient {report.coefficient:.2f}")
    watched = [] if brief else [f"{name.replace('_', ' ')} {value:.2f}" for name, value in report.watched.items()]
    if report.dev_score is not None or watched:
        said.append(", ".join([*([f"dev {report.dev_score:.1f}"] if report.dev_score is not None else []), *watched]))
    if not brief:
        said.append(f"{report.examples_per_second:.0f} examples/s")
        if report.gpu_memory_bytes:
            said.append(f"GPU {memory(report.gpu_memory_bytes)}")
        if report.seconds_left:
            said.append(f"{duration(report.seconds_left)} left")
    return "  ".join(said)
