"""Signs of life: what a worker does, and how long it may stay silent before something is wrong."""

import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from raykd.results.heartbeat import HeartbeatRecord
from raykd.waits import seconds

Kind = Literal["starting", "loading", "signals", "training", "scoring", "exporting"]

WRITE_SECONDS = 4.0
SHORTEST_STALL = seconds("RAYKD_SILENCE_SECONDS", 30.0)
"""The least silence, in seconds, that is taken for a stall."""
SLOW_STEPS = 20
"""So many times the longest silence so far in work of one kind make a stall, where that is longer."""
UNKNOWN = 900.0
"""Allowed silence, in seconds, in work of a kind that is done for the first time: it may be large, or compile."""


def nowhere(record: HeartbeatRecord) -> None:
    """Nobody listens."""


class Heartbeat:
    """One worker's heartbeat; `moved` costs nothing but a look at the clock."""

    def __init__(self, write: Callable[[HeartbeatRecord], None] = nowhere) -> None:
        """
        Args:
            write: puts a record where the sweep looks for it.
        """
        self.write = write
        self.kind: Kind = "starting"
        self.doing, self.count = "starting", 0
        self.epoch: int | None = None
        self.step, self.num_steps, self.first, self.begun = 0, 0, 0, time.monotonic()
        self.longest: dict[Kind, float] = {}
        self.last, self.written, self.promised = time.monotonic(), 0.0, 0.0

    def begin(self, kind: Kind, doing: str, *, epoch: int | None = None, steps: tuple[int, int] | None = None) -> None:
        """Other work is done from now on, described by `doing`.

        Args:
            epoch: epochs of the point that are done; told at once where it changes.
            steps: of the epoch under way, how many are done and how many there are.
        """
        self._sign()
        got_on = epoch is not None and epoch != self.epoch
        self.kind, self.doing, self.epoch = kind, doing, self.epoch if epoch is None else epoch
        self.first, self.num_steps = steps or (0, 0)
        self.step, self.begun = self.first, self.last
        self._tell(at_once=got_on)

    def moved(self) -> None:
        """A step, or a batch, is behind us."""
        self._sign()
        self.step += 1
        self._tell()

    def _sign(self) -> None:
        now = time.monotonic()
        self.count += 1
        self.longest[self.kind] = max(self.longest.get(self.kind, 0.0), now - self.last)
        self.last = now

    def _tell(self, *, at_once: bool = False) -> None:
        longest = self.longest.get(self.kind)
        allowed = UNKNOWN if longest is None else max(SHORTEST_STALL, SLOW_STEPS * longest)
        if not at_once and self.last - self.written < WRITE_SECONDS and allowed == self.promised:
            return
        self.written, self.promised = self.last, allowed
        share, seconds_left = self._progress()
        self.write(
            HeartbeatRecord(
                doing=self.doing,
                count=self.count,
                allowed_silence=allowed,
                process=f"process {os.getpid()} on {socket.gethostname()}",
                epoch=self.epoch,
                share=share,
                seconds_left=seconds_left,
                written=time.time(),
            )
        )

    def _progress(self) -> tuple[float, float | None]:
        """How far the epoch under way is: its share, and the seconds left of it, None while that is not known."""
        if not self.num_steps:
            return 0.0, None
        done, left = self.step - self.first, max(self.num_steps - self.step, 0)
        seconds = (self.last - self.begun) / done * left if done else None
        return 1 - left / self.num_steps, seconds


@dataclass
class StallDetector:
    """Judges the heartbeat of one worker by the clock of whoever watches."""

    heard: HeartbeatRecord | None = None
    since: float = 0.0

    def silent_for(self, record: HeartbeatRecord | None, now: float) -> float | None:
        """Seconds since the record last changed, once they are more than it allows; None before."""
        if record is None:
            return None
        if record != self.heard:
            self.heard, self.since = record, now
        silence = now - self.since
        return silence if silence > record.allowed_silence + WRITE_SECONDS else None
