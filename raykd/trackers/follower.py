"""A thread that keeps one tracker up to date. The sweep never waits for it, and it never ends the sweep."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from raykd.errors import LeaseLostError, RaykdError
from raykd.reasons import plain_reason
from raykd.trackers.run import Ledger, TrackedPoint

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 300.0
"""Seconds until a tracker that failed is tried again."""


class Tracker(Protocol):
    """What a tracker does, whichever it is.

    Attributes:
        name: its key in a sweep file.
        place: where its runs are; what was told to another place does not count.
    """

    name: str
    place: str

    def write(self, run: TrackedPoint, *, told: int) -> None:
        """Bring a point's run up to date.

        Args:
            told: so many epochs were written before, as far as is known.
        """

    def close(self) -> None:
        """End what is open."""


class Follower(threading.Thread):
    """Follows the points that it hears of.

    Attributes:
        waiting: points of which there is something to tell.
        said: lines for whoever watches the sweep.
    """

    def __init__(self, name: str, make: Callable[[], Tracker], ledger: Ledger, points: Iterable[str]) -> None:
        """
        Args:
            make: called in the thread, for libraries that take seconds to import.
            points: looked at first: the last run may have ended before all was told.
        """
        super().__init__(name=f"raykd-{name}", daemon=True)
        self.tracker_name, self.make, self.ledger = name, make, ledger
        self.waiting = dict.fromkeys(points)
        self.condition = threading.Condition()
        self.is_failing = self.is_abandoned = self.lost = False
        self.complained: set[str] = set()
        self.pause, self.again = FIRST_PAUSE, 0.0
        self.ends: float | None = None
        self.said: list[str] = []

    def changed(self, point_id: str) -> None:
        """There is more to tell of a point."""
        with self.condition:
            self.waiting[point_id] = None
            self.condition.notify()

    def close(self, seconds: float) -> None:
        """Tell what is left, once, as far as that takes no longer; `leave` waits for it."""
        with self.condition:
            self.ends = time.monotonic() + seconds
            self.condition.notify()

    def leave(self) -> bool:
        """Wait for the end for as long as `close` allowed; whether all was told."""
        self.join(max(0.0, self.ends - time.monotonic()))
        # Libraries that are cut off when the process ends have nobody left to complain to.
        self.is_abandoned = self.is_alive()
        return not (self.is_abandoned or self.lost or self.waiting)

    def run(self) -> None:
        """The thread."""
        try:
            self._follow()
        except LeaseLostError:
            # The sweep's own thread finds out, too, and ends.
            return
        except BaseException as error:
            if self.is_abandoned:
                return
            self.lost = True
            self._say(f"it is told nothing more ({plain_reason(error)[:200]}); the sweep goes on")
            raise

    def _follow(self) -> None:
        tracker = self.make()
        while (point_id := self._next()) is not None:
            try:
                if self._tell(tracker, point_id):
                    self.is_failing, self.pause, self.again = False, FIRST_PAUSE, 0.0
            except Exception as error:
                if not self._is_failure(error):
                    raise
                self._failed(point_id, error)
        tracker.close()

    def _next(self) -> str | None:
        """A point to tell of; None at the end."""
        with self.condition:
            while True:
                pause = self.again - time.monotonic()
                if self.ends is not None and (not self.waiting or time.monotonic() > self.ends):
                    return None
                if self.waiting and (pause <= 0 or self.ends is not None):
                    point_id = next(iter(self.waiting))
                    del self.waiting[point_id]
                    return point_id
                self.condition.wait(pause if self.waiting else None)

    def _tell(self, tracker: Tracker, point_id: str) -> bool:
        """Whether there was something to tell."""
        ledger, name = self.ledger, self.tracker_name
        # Before the run is read, so that it promises no more than was told.
        standing, told = ledger.standing(point_id, place=tracker.place), ledger.told(name, point_id)
        if told == standing or (standing.status == "pending" and not standing.epochs):
            return False
        ledger.journal.store.check_fence()
        known = told.epochs if told is not None and told.place == tracker.place else 0
        tracker.write(ledger.run(point_id), told=known)
        ledger.tell(name, point_id, standing)
        return True

    def _failed(self, point_id: str, error: BaseException) -> None:
        with self.condition:
            if self.ends is None:
                self.waiting[point_id] = None
            self.again = time.monotonic() + self.pause
            self.pause = min(2 * self.pause, LONGEST_PAUSE)
        self.lost |= self.ends is not None
        # Neither once for each try, nor for each point that a tracker which is gone is not told of.
        if not self.is_failing and point_id not in self.complained:
            self.complained.add(point_id)
            reason = plain_reason(error)[:200]
            self._say(f"it took nothing ({reason}); the sweep goes on, and it is tried again")
        self.is_failing = True

    def _is_failure(self, error: Exception) -> bool:
        """Whether the tracker or the storage is gone, or refuses what it is sent."""
        if isinstance(error, (OSError, RaykdError)):
            return not isinstance(error, LeaseLostError)
        return type(error).__module__.partition(".")[0] == self.tracker_name

    def _say(self, text: str) -> None:
        self.said.append(f"{self.tracker_name}: {text}")
