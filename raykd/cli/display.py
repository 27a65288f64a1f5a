"""What a sweep shows while it runs: log lines, live progress below them on a terminal, or events as JSON."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from raykd.cli.text import epoch_line
from raykd.errors import RaykdError
from raykd.results.words import counted

if TYPE_CHECKING:
    from raykd.results.epochs import EpochReport

DRAW_SECONDS = 1.0
SHARE_OF_READING = 0.1
"""Reading the status takes at most this share of the time, however slow the storage is."""


class Lines:
    """Tells the progress of a sweep in lines, one for whatever happens."""

    def __init__(self, *, quiet: bool = False) -> None:
        """
        Args:
            quiet: tell of failures alone.
        """
        self.quiet = quiet

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *failure: object) -> None:
        """Nothing was begun."""

    def write(self, text: str) -> None:
        """Put a line where the user sees it."""
        print(text, flush=True)

    def begin(self, name: str, num_points: int, root: Any) -> None:
        """A sweep begins, with results in a folder or at a URL."""
        self.line(f"{name}: {counted(num_points, 'point')}, results in {root}")

    def line(self, text: str) -> None:
        """Something happened."""
        if not self.quiet:
            self.write(text)

    def epoch(self, point: Any, report: "EpochReport") -> None:
        """A point did an epoch."""
        self.line(f"{point.label}: {epoch_line(report)}")

    def waiting(self, reasons: Sequence[str]) -> None:
        """What the run waits for has changed; it is said by a line once that takes long."""

    def ended(self, point: Any, status: str, detail: str) -> None:
        """A point is done."""
        if status == "failed" or not self.quiet:
            self.write(f"{point.label}: {status}, {detail}")

    def given_up(self, points: Sequence[Any], why: str) -> None:
        """Points of a configuration will not run."""
        more = f" and {counted(len(points) - 1, 'further seed')}" if len(points) > 1 else ""
        self.line(f"{points[0].label}{more}: {why}")


class Events(Lines):
    """Tells the progress of a sweep as one JSON object a line, alone on standard output."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.others = sys.stdout, contextlib.ExitStack()

    def __enter__(self) -> "Events":
        self.others.enter_context(contextlib.redirect_stdout(sys.stderr))
        return self

    def __exit__(self, *failure: object) -> None:
        self.others.close()

    def event(self, event: str, **content: Any) -> None:
        """Write an event."""
        print(json.dumps({"event": event, **content}, ensure_ascii=False), file=self.out, flush=True)

    def begin(self, name: str, num_points: int, root: Any) -> None:
        self.event("begin", name=name, num_points=num_points, root=str(root))

    def line(self, text: str) -> None:
        self.event("line", text=text)

    def epoch(self, point: Any, report: "EpochReport") -> None:
        self.event("epoch", id=point.id, label=point.label, report=report.metrics())

    def waiting(self, reasons: Sequence[str]) -> None:
        self.event("waiting", reasons=list(reasons))

    def ended(self, point: Any, status: str, detail: str) -> None:
        self.event("ended", id=point.id, label=point.label, status=status, detail=detail)

    def given_up(self, points: Sequence[Any], why: str) -> None:
        for point in points:
            self.ended(point, "stopped", why)


class LiveView(Lines):
    """Lines that scroll above a picture of how the sweep stands, drawn from what its folder tells."""

    def __init__(self, root: Any, *, brief: bool) -> None:
        """
        Args:
            root: folder or URL of the results.
            brief: leave out of the lines what is not worth a terminal's width.
        """
        super().__init__()
        from rich.console import Console
        from rich.live import Live

        from raykd.status import StatusReader

        self.brief, self.reader = brief, StatusReader(root)
        self.console = Console(highlight=False)
        self.live = Live(console=self.console, auto_refresh=False, transient=True, vertical_overflow="crop")
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._draw, name="picture", daemon=True)

    def __enter__(self) -> "LiveView":
        self.live.start()
        self.thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.ending.set()
        self.thread.join(timeout=5)
        self.live.stop()

    def write(self, text: str) -> None:
        self.console.print(text, markup=False)

    def epoch(self, point: Any, report: "EpochReport") -> None:
        self.line(f"{point.label}: {epoch_line(report, brief=self.brief)}")

    def _draw(self) -> None:
        from raykd.cli.view import View

        pause = 0.0
        while not self.ending.wait(pause):
            begun = time.monotonic()
            # What cannot be read is no reason to end a run; the next look may succeed.
            with contextlib.suppress(RaykdError, OSError):
                self.live.update(View(self.reader.read()), refresh=True)
            pause = max(DRAW_SECONDS, (time.monotonic() - begun) / SHARE_OF_READING)


def display(root: Any, *, as_json: bool, quiet: bool, verbose: bool) -> Lines:
    """What shows a sweep to whoever started it; a context manager."""
    if as_json:
        return Events()
    return LiveView(root, brief=not verbose) if sys.stdout.isatty() and not quiet else Lines(quiet=quiet)
