"""Signs of life: what a worker does, and how long it may stay silent before something is wrong."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

WRITE_SECONDS = 4.0
PATIENCE = 30.0
"""The least silence, in seconds, that is taken for a stall while steps are done."""
SLOW_STEPS = 20
"""So many of the slowest steps seen make a stall, where that is longer."""
LONG = 900.0
"""Patience with what has no steps: loading, exporting, and the first step, which may compile."""


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
        self.doing, self.count = "starting", 0
        self.slowest = self.written = 0.0
        self.last: float | None = None

    def begin(self, doing: str) -> None:
        """Something else is done from now on."""
        self.doing, self.slowest, self.last = doing, 0.0, None
        self._write(time.monotonic())

    def moved(self) -> None:
        """A step, or a batch, is behind us."""
        now = time.monotonic()
        self.count += 1
        if self.last is not None:
            self.slowest = max(self.slowest, now - self.last)
        self.last = now
        if now - self.written >= WRITE_SECONDS or self.count == 1:
            self._write(now)

    def _write(self, now: float) -> None:
        self.written = now
        patience = max(PATIENCE, SLOW_STEPS * self.slowest) if self.slowest else LONG
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
