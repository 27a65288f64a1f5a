"""The heartbeats of a point that runs: what its process does, and how long it may stay silent."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from raykd.results.artifacts import Store
from raykd.results.record import Record


@dataclass(frozen=True, kw_only=True)
class HeartbeatRecord(Record, version=1):
    """A sign of life.

    Attributes:
        doing: what the process does, in words.
        count: how often it moved; rises with every one.
        allowed_silence: seconds that the work it does may stay silent.
        process: which process, on which machine.
        epoch: epochs of the point that are done; None while the process has yet to find out.
        share: of the epoch under way, in [0, 1].
        seconds_left: of that epoch; None while nothing is known.
        written: when, in seconds of the Unix clock.
    """

    doing: str
    count: int
    allowed_silence: float
    process: str
    epoch: int | None
    share: float
    seconds_left: float | None
    written: float


@dataclass(frozen=True)
class HeartbeatFiles:
    """Reads and writes the last heartbeat of each point."""

    store: Store

    def find(self, point_id: str) -> HeartbeatRecord | None:
        """The last heartbeat of a point that runs, or ran.

        Raises:
            ArtifactError: if it was removed while it was read, or is damaged.
        """
        return self.store.find_record(self._file(point_id), HeartbeatRecord)

    def write(self, point_id: str, heartbeat: HeartbeatRecord) -> None:
        """Record a heartbeat."""
        self.store.write_record(self._file(point_id), heartbeat)

    def forget(self, point_id: str) -> None:
        """Another process will give heartbeats: those of an earlier one say nothing about it."""
        self.store.remove(self._file(point_id))

    def _file(self, point_id: str) -> PurePosixPath:
        return self.store.point(point_id) / "heartbeat.json"
