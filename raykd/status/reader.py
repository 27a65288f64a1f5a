"""Reads a sweep's folder so that what it says is true of one moment."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from raykd.errors import ConfigError
from raykd.results.journal import Journal
from raykd.results.lease import LeaseRecord, living
from raykd.results.points import PointState
from raykd.results.sweep import SweepDescription
from raykd.status.point import OVER, PointReading, PointStatus, read_point
from raykd.status.sweep import SweepStatus, sweep_status
from raykd.storage import location

READS_AT_ONCE = 16
"""An object store answers slowly, and many at once."""


class StatusReader:
    """Reads the status of a sweep, again and again: points that are over are read once."""

    def __init__(self, root: Path | str) -> None:
        """
        Args:
            root: folder or URL of the results.

        Raises:
            ConfigError: if it is a URL of another kind.
        """
        self.journal = Journal.at(location(root))
        self.described: SweepDescription | None = None
        self.over: dict[str, PointReading] = {}

    def read(self) -> SweepStatus:
        """How the sweep stands.

        Raises:
            ConfigError: if there is no sweep, nor a run that is about to begin one.
            ArtifactError: if a record is damaged.
        """
        store = self.journal.store
        while True:
            held, begun = living(store), self.journal.sweep.exists()
            if held is None and not begun:
                raise ConfigError(f"{store.root}: no results of a sweep; give the place that `raykd sweep` names")
            name = str(store.root).rpartition("/")[2]
            described = self.journal.sweep.read() if begun else SweepDescription(name=name)
            if described != self.described:
                self.described, self.over = described, {}
            points, activity = self._points(described, held), self.journal.sweep.activity()
            # A state means what it says only under the run that wrote it.
            if living(store) == held:
                return sweep_status(str(store.root), held, described, points, activity)

    def _points(self, described: SweepDescription, held: LeaseRecord | None) -> list[PointReading]:
        known, listed = self.journal.store.children("points"), described.points
        run = held.number if held else None

        def read(point_id: str) -> PointReading | None:
            found = self._point(point_id, run) if point_id in known else None
            if found is None and listed:
                # Those of a file are listed before they are recorded.
                status = PointStatus(point_id, point_id, "pending", described.settings.num_epochs)
                found = PointReading(status, PointState())
            return found

        if self.journal.store.is_local:
            found = [read(point_id) for point_id in listed or known]
        else:
            with ThreadPoolExecutor(READS_AT_ONCE) as pool:
                found = list(pool.map(read, listed or known))
        return [point for point in found if point is not None]

    def _point(self, point_id: str, run: int | None) -> PointReading | None:
        """A point as it stood at one moment, None where it is not recorded yet.

        Whoever runs it changes its state when it begins and when it ends: a state that is the same before and after
        belongs to all that was read between.
        """
        while True:
            state = self.journal.points.state(point_id)
            before = self.over.get(point_id)
            if before is not None and before.state == state:
                return before
            described = self.journal.points.find_description(point_id)
            if described is None:
                return None
            found = read_point(self.journal, described, state, run)
            if self.journal.points.state(point_id) == state:
                break
        if found.status.state in OVER:
            self.over[point_id] = found
        return found


def read_status(root: Path | str) -> SweepStatus:
    """How a sweep stands, see `StatusReader.read`."""
    return StatusReader(root).read()
