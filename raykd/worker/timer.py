"""When to save inside an epoch: after so much time, or because a node is about to be taken away."""

import time
from collections.abc import Callable, Hashable

from raykd.worker.context import WorkerContext

LOOK_SECONDS = 2.0
"""All ranks look at rank 0's clock together about this often: a step itself costs nothing more."""


def no_notice() -> None:
    """Nobody announces that nodes will be taken away."""
    return None


class CheckpointTimer:
    """Tells at the boundaries of steps whether to save. Every rank asks after every step and gets the same answer."""

    def __init__(self, context: WorkerContext, seconds: float | None, notice: Callable[[], Hashable]) -> None:
        """
        Args:
            seconds: save when so many have passed since the last time; 0 is after every step, None is never.
            notice: what is announced to be taken away, None for nothing; equal on all ranks, which call it together.
        """
        self.context, self.seconds, self.notice = context, seconds, notice
        self.heard: Hashable = None
        self.stride = self.left = 1
        self.looked = self.last = time.monotonic()

    def saved(self) -> None:
        """A checkpoint was saved just now."""
        self.last = time.monotonic()

    def is_due(self, *, busy: bool) -> bool:
        """Whether to save now. Each announcement is answered by one checkpoint.

        Args:
            busy: on rank 0, whether a checkpoint is still on its way: time alone is then no reason for another, unless
                every step is to be saved.
        """
        self.left -= 1
        if self.left or (self.seconds is None and self.notice is no_notice):
            return False
        notice = self.notice()
        announced = notice is not None and notice != self.heard
        self.heard = notice
        now = time.monotonic()
        waits = busy and self.seconds != 0
        late = self.seconds is not None and not waits and now - self.last >= self.seconds
        # The first steps may be slow: the stride grows slowly.
        often = min(LOOK_SECONDS, self.seconds if self.seconds is not None else LOOK_SECONDS)
        stride = min(4 * self.stride, int(often * self.stride / max(now - self.looked, 1e-9)))
        due, self.stride = self.context.from_rank_0((announced or late, max(1, stride)))
        self.looked, self.left = now, self.stride
        return due
