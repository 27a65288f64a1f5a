"""Unneeded checkpoints, weights and teacher outputs of a sweep: found with reasons and sizes, deleted on request."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from raykd.config.identity import Identity
from raykd.results.artifacts import WEIGHTS, ArtifactRecord, Store, fingerprint
from raykd.results.journal import Journal
from raykd.results.lease import Lease
from raykd.results.points import PointResult, Status
from raykd.results.records import read_point
from raykd.results.signal_parts import SignalPart
from raykd.tasks import point_from_record

OVER = ("finished", "stopped")
"""A point in another state may go on: a failed one with the next run."""
_TEMPORARY = re.compile(r"(.*/)?\.[^/]+\.[0-9a-f]{8}")


@dataclass(frozen=True)
class Waste:
    """Something to delete.

    Attributes:
        name: where it is in the store.
        why: what it is and who no longer needs it.
        num_bytes: what deleting it frees.
        artifact: set where the weights of this artifact go, and its record stays.
    """

    name: str
    why: str
    num_bytes: int
    artifact: str | None = None


@dataclass(frozen=True)
class _Point:
    """A point as far as it matters here; `recipe` is the fingerprint that its artifacts carry."""

    id: str
    label: str
    status: Status
    identity: Identity
    recipe: str
    result: PointResult | None

    @property
    def keep(self) -> str:
        """Whose weights stay when its lineage is done."""
        return self.identity.config.lineage.keep

    def keeps(self, artifact: str) -> bool:
        """Whether a finished point's lineage keeps these weights."""
        keep = self.keep
        return keep == "all" or (keep == "delivered" and self.result is not None and artifact == self.result.artifact)


def collect(store: Store, *, delete: bool, say: Callable[[str], None] = lambda text: None) -> list[Waste]:
    """What can go without any unfinished point, the leaderboard or a sweep that starts from this one missing it.

    Args:
        delete: delete it, too.
        say: told why there is a wait.

    Raises:
        ConfigError: if there is no sweep.
        ArtifactError: if a record is damaged.
        LeaseHeldError: if the sweep is running: what it writes would look like waste.
    """
    Journal(store).sweep.read()
    with Lease.take(store, say=say) as lease:
        store = lease.fenced_store()
        waste = _find(store)
        for each in waste if delete else ():
            if each.artifact is not None:
                store.remove_weights(each.artifact)
            else:
                store.remove(each.name)
    return waste


def _find(store: Store) -> list[Waste]:
    journal = Journal(store)
    points = [_read(journal, point_id) for point_id in journal.points.ids()]
    sizes = {path: file.size for path, file in store.files("").items()}
    artifacts = dict(store.artifacts())
    return [
        *_left_over(sizes),
        *_checkpoints(points, sizes),
        *_weights(points, artifacts, sizes),
        *_signals(store, points, artifacts, sizes),
    ]


def _read(journal: Journal, point_id: str) -> _Point:
    point = read_point(journal, point_id)
    where = journal.store.describe(journal.store.point(point_id) / "point.json")
    identity = Identity(point_from_record(point.description.config, where=where))
    return _Point(point_id, point.label, point.status, identity, fingerprint(identity.recipe), point.result)


def _left_over(sizes: Mapping[str, int]) -> Iterator[Waste]:
    """What killed runs left half-written, and Ray's own files."""
    found: dict[str, int] = {}
    for path, size in sizes.items():
        parts = PurePosixPath(path).parts
        if parts[0] in (".scratch", ".ray"):
            name = "/".join(parts[:2])
        elif parts[0].startswith(".probe-") or _TEMPORARY.fullmatch(path):
            name = path
        else:
            continue
        found[name] = found.get(name, 0) + size
    for name, size in found.items():
        whose = "Ray's files of a run that has ended" if name.startswith(".ray") else "half-written by a killed run"
        yield Waste(name, whose, size)


def _checkpoints(points: Sequence[_Point], sizes: Mapping[str, int]) -> Iterator[Waste]:
    for point in points:
        name = f"points/{point.id}/checkpoints"
        size = _size(sizes, name)
        if size and point.status in (*OVER, "failed"):
            again = "; if it runs again it starts from its last complete generation" if point.status == "failed" else ""
            yield Waste(name, f"checkpoints of {point.label}, which is {point.status}{again}", size)


def _weights(
    points: Sequence[_Point], artifacts: Mapping[str, ArtifactRecord], sizes: Mapping[str, int]
) -> Iterator[Waste]:
    """Students that their lineages do not keep. Generation 0, teachers and strangers stay."""
    for name, record in artifacts.items():
        owners = [point for point in points if _made_by(record, point)]
        if not owners or any(point.status not in OVER or point.keeps(name) for point in owners):
            continue
        size = _size({path: size for path, size in sizes.items() if path.endswith(WEIGHTS)}, f"artifacts/{name}")
        point = owners[0]
        reason = f"lineage.keep: {point.keep}" if point.status == "finished" else "it was stopped early"
        why = f"weights of generation {record.generation} of {point.label} ({reason}); the record stays"
        yield Waste(f"artifacts/{name}", why, size, artifact=name)


def _signals(
    store: Store,
    points: Sequence[_Point],
    artifacts: Mapping[str, ArtifactRecord],
    sizes: Mapping[str, int],
) -> Iterator[Waste]:
    """Signals of teachers that no unfinished point listens to."""
    unfinished = [point for point in points if point.status not in OVER]
    heard = {teacher for point in unfinished for teacher in point.identity.first_teachers}
    heard |= {name for name, record in artifacts.items() if any(_made_by(record, point) for point in unfinished)}
    for name in store.children("signals"):
        parts = [part for part in store.children(f"signals/{name}") if part.endswith(".json")]
        teacher = store.read_record(f"signals/{name}/{parts[0]}", SignalPart).teacher if parts else None
        if teacher not in heard:
            why = f"signals of teacher {teacher}, which no unfinished point reads; they can be computed again"
            yield Waste(f"signals/{name}", why, _size(sizes, f"signals/{name}"))


def _made_by(record: ArtifactRecord, point: _Point) -> bool:
    return record.kind == "generation" and fingerprint(record.point or {}) == point.recipe


def _size(sizes: Mapping[str, int], name: str) -> int:
    return sum(size for path, size in sizes.items() if path.startswith(f"{name}/"))
