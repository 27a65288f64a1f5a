"""The status of a sweep as a picture on a terminal, and as plain lines."""

from collections.abc import Callable, Iterator

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from raykd.cli.text import memory, shortened
from raykd.results.words import duration
from raykd.status import OVER, PointStatus, SweepStatus

COLOURS = {
    **{"pending": "dim", "running": "cyan", "interrupted": "yellow"},
    **{"finished": "green", "failed": "red", "stopped": "magenta"},
}
BAR_WIDTH = 10
MIN_LABEL_WIDTH = 16
SHOWN_FAILURES = 5


class View:
    """Draws a status in the width and the height that there are."""

    def __init__(self, status: SweepStatus, *, all_points: bool = False) -> None:
        """
        Args:
            all_points: draw a row for each point; otherwise for those that run, as many as fit.
        """
        self.status, self.all_points = status, all_points

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, console.height
        status = self.status
        points = [point for point in status.points if self.all_points or point.state == "running"]
        failed = [point for point in status.points if point.state == "failed"]
        failed = failed if self.all_points else failed[-SHOWN_FAILURES:]
        head = [_line(text, width, style) for text, style in self._head()]
        tail = [_line(f"failed  {point.label}: {point.error}", width, "red") for point in failed]
        room = len(points) if self.all_points else max(1, height - len(head) - len(tail) - 5)
        rows = [_table(points[:room], width)] if points else []
        more = [_line(f"and {len(points) - room} more run", width, "dim")] if len(points) > room else []
        yield Group(*head, *rows, *more, *tail, *([_overall(status)] if status.num_epochs else []))

    def _head(self) -> Iterator[tuple[Text | str, str]]:
        status = self.status
        counts = [Text(f"{count} {state}", COLOURS[state]) for state, count in status.counts.items() if count] + (
            [Text(f"{status.to_draw} to be chosen", "dim")] if status.to_draw else []
        )
        yield Text.assemble((status.name, "bold"), "  ", Text(", ").join(counts or [Text("no point yet")])), ""
        if not status.is_over and status.run is None:
            yield "no run is alive; resume it with the same `raykd sweep` command", "yellow"
        if status.best is not None:
            # The score is what counts: a long label gives way to it.
            yield f"best    {status.best.heading} {status.best.score:.1f} (selection)  {status.best.label}", ""
        if status.doing:
            yield f"doing   {status.doing}", ""
        for reason in status.waiting:
            yield f"waiting {reason}", "dim"


def status_lines(status: SweepStatus) -> Iterator[str]:
    """The status in plain lines: the sweep, then each point that has begun."""
    run = f"run {status.run.number} is alive, {status.run.who}" if status.run else "no run is alive"
    yield f"{status.name}: {status.root}; {run}"
    counts = ", ".join(f"{count} {state}" for state, count in status.counts.items() if count)
    drawn = f", {status.to_draw} to be chosen" if status.to_draw else ""
    yield f"points: {counts or 'none yet'}{drawn}"
    left = f", about {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
    yield f"epochs: {status.epochs} of {status.num_epochs}{left}"
    if status.best is not None:
        yield f"best: {status.best.label}, {status.best.heading} {status.best.score:.1f} on the selection set"
    if status.doing:
        yield f"doing: {status.doing}"
    yield from (f"waiting: {reason}" for reason in status.waiting)
    for point in status.points:
        if point.state != "pending":
            yield f"{point.label}: {', '.join(_facts(point))}"


def _facts(point: PointStatus) -> Iterator[str]:
    yield point.state
    if point.state in OVER:
        if point.score is not None:
            yield f"score {point.score:.1f}"
        if point.error:
            yield point.error
        return
    if point.epoch is not None:
        yield f"epoch {point.epoch}/{point.num_epochs}"
    if point.loss is not None:
        yield f"loss {point.loss:.3f}"
    if point.dev_score is not None:
        yield f"dev {point.dev_score:.1f}"
    if point.state == "running":
        if point.examples_per_second is not None:
            yield f"{point.examples_per_second:.0f} examples/s"
        if point.seconds_left is not None:
            yield f"{duration(point.seconds_left)} left"
        if point.gpu_memory_bytes:
            yield f"GPU {memory(point.gpu_memory_bytes)}"
        if point.doing:
            yield f"now {point.doing}"


def _line(text: Text | str, width: int, style: str) -> Text:
    line = text if isinstance(text, Text) else Text(text, style)
    line.truncate(width, overflow="ellipsis")
    return line


def _table(points: list[PointStatus], width: int) -> Table:
    """A row for each point, in one line each: the label gives way where it is narrow."""
    widths = {name: max(len(value(point)) for point in points) for name, value in _COLUMNS.items()}
    columns = {name: max(len(name), widest) + 2 for name, widest in widths.items() if widest}
    wanted = min(max(len(point.label) for point in points), max(width // 3, MIN_LABEL_WIDTH))
    for name in _DISPENSABLE:
        if width - BAR_WIDTH - 2 - sum(columns.values()) < wanted:
            columns.pop(name, None)
    room = max(width - BAR_WIDTH - 2 - sum(columns.values()), MIN_LABEL_WIDTH)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("point", no_wrap=True)
    table.add_column("", width=BAR_WIDTH)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for point in points:
        label = Text(shortened(point.label, room), COLOURS[point.state] if point.state != "running" else "")
        table.add_row(label, _bar(point), *(_COLUMNS[name](point) for name in columns))
    return table


def _bar(point: PointStatus) -> ProgressBar:
    # A point that failed has no epochs left; its bar shows how far it came.
    done = point.done if point.state == "finished" else (point.epoch or 0) + point.share
    return ProgressBar(total=max(point.num_epochs, 1), completed=done, width=BAR_WIDTH)


def _overall(status: SweepStatus) -> Table:
    table = Table.grid(padding=(0, 1))
    left = f"about {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
    bar = ProgressBar(total=status.num_epochs, completed=sum(point.done for point in status.points), width=30)
    table.add_row("epochs ", bar, f"{status.epochs}/{status.num_epochs}", left)
    return table


def _of(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


_COLUMNS: dict[str, Callable[[PointStatus], str]] = {
    "state": lambda point: "" if point.state == "running" else point.state,
    "gen": lambda point: f"{point.generation}/{point.num_generations}" if point.generation else "",
    "epoch": lambda point: f"{point.epoch}/{point.num_epochs}" if point.epoch is not None else "",
    "loss": lambda point: _of(point.loss, ".3f"),
    "dev": lambda point: _of(point.dev_score, ".1f"),
    "ex/s": lambda point: _of(point.examples_per_second, ".0f"),
    "left": lambda point: "" if point.seconds_left is None else duration(point.seconds_left),
    "GPU": lambda point: memory(point.gpu_memory_bytes) if point.gpu_memory_bytes else "",
    "score": lambda point: _of(point.score, ".1f"),
}
"""Heading of a column, and what it shows of a point; a column without anything is left out."""
_DISPENSABLE = ("gen", "ex/s", "loss")
"""Columns that go, in this order, where labels would not fit otherwise."""
