"""The sweep's own ledger: which points there are, how far each is, and how it ended."""

from dataclasses import dataclass
from pathlib import Path

from raykd.results.artifacts import Store
from raykd.results.epochs import EpochFiles
from raykd.results.heartbeat import HeartbeatFiles
from raykd.results.points import PointFiles
from raykd.results.sweep import SweepFiles
from raykd.results.tests import FilesOfTests


@dataclass(frozen=True)
class Journal:
    """All records of the sweep under a store, each kind by who reads and writes it."""

    store: Store

    @classmethod
    def at(cls, root: Path | str) -> "Journal":
        """The ledger of a place of results, a folder or a URL."""
        return cls(Store(root))

    @property
    def sweep(self) -> SweepFiles:
        """The sweep as a whole."""
        return SweepFiles(self.store)

    @property
    def points(self) -> PointFiles:
        """What each point is, how far it is, and how it ended."""
        return PointFiles(self.store)

    @property
    def epochs(self) -> EpochFiles:
        """The reports of points' epochs."""
        return EpochFiles(self.store)

    @property
    def heartbeats(self) -> HeartbeatFiles:
        """The last heartbeats of points."""
        return HeartbeatFiles(self.store)

    @property
    def tests(self) -> FilesOfTests:
        """The scores on test sets."""
        return FilesOfTests(self.store)

    def current_point_ids(self) -> list[str]:
        """The points of the sweep as it was run last; all that were ever added where a searcher chooses them."""
        wanted = set(self.sweep.read().points)
        return [point_id for point_id in self.points.ids() if not wanted or point_id in wanted]
