"""Signs of life: what a worker does, and how long it may stay silent before something is wrong."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["starting", "loading", "signals", "training", "scoring", "exporting"]

WRITE_SECONDS = 4.0
PATIENCE = 30.0
"""The least silence, in seconds, that is taken for a stall."""
SLOW_STEPS = 20
"""So many times the longest silence so far in work of one kind make a stall, where that is longer."""
UNKNOWN = 900.0
"""Patience with work of a kind that this worker does for the first time: it may be large, or compile."""


def nowhere(record: Mapping[str, Any]) -> None:
    """Nobody listens."""


class Pulse:
    """One worker's signs of life; `moved` costs nothing but a look at the clock."""

    def __init__(self, write: Callable[[Mapping[str, Any]], None] = nowhere) -> None:
        """
        Args:
            write: puts a record where the sweep looks for it.
        """
        self.write = write
        self.kind: Kind = "starting"
        self.doing, self.count = "starting", 0
        self.longest: dict[Kind, float] = {}
        self.last, self.written, self.promised = time.monotonic(), 0.0, 0.0

    def begin(self, kind: Kind, doing: str) -> None:
        """Other work is done from now on, described by `doing`."""
        self._sign()
        self.kind, self.doing = kind, doing
        self._tell()

    def moved(self) -> None:
        """A step, or a batch, is behind us."""
        self._sign()
        self._tell()

    def _sign(self) -> None:
        now = time.monotonic()
        self.count += 1
        self.longest[self.kind] = max(self.longest.get(self.kind, 0.0), now - self.last)
        self.last = now

    def _tell(self) -> None:
        longest = self.longest.get(self.kind)
        patience = UNKNOWN if longest is None else max(PATIENCE, SLOW_STEPS * longest)
        if self.last - self.written < WRITE_SECONDS and patience == self.promised:
            return
        self.written, self.promised = self.last, patience
        process = f"process {os.getpid()} on {socket.gethostname()}"
        record = {"doing": self.doing, "count": self.count, "patience": patience, "process": process}
        self.write({**record, "written": time.time()})


@dataclass
class Listener:
    """Judges the signs of life of one worker by the listener's own clock."""

    heard: Mapping[str, Any] | None = None
    since: float = 0.0

    def silent_for(self, record: Mapping[str, Any] | None, now: float) -> float | None:
        """Seconds since the record last changed, once they are more than it allows; None before."""
        if record is None:
            return None
        if record != self.heard:
            self.heard, self.since = record, now
        silence = now - self.since
        return silence if silence > record["patience"] + WRITE_SECONDS else None
