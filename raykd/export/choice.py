"""Which point of a sweep is taken home."""

from collections import Counter

from raykd.errors import DataError
from raykd.results.artifacts import Store
from raykd.results.delivered import BEST, find_delivered
from raykd.results.records import PointRecord, SweepRecords


def chosen_point(records: SweepRecords, wanted: str | None) -> PointRecord:
    """The point to export.

    Args:
        wanted: its label, id or method; None or `best` is the one with the highest main score so far, among those
            that are finished and whose weights are kept.

    Raises:
        DataError: if there is none, it is not finished, or its weights are gone; the line says what to do.
    """
    if wanted not in (None, BEST):
        point_id, _ = find_delivered(records.root, wanted)
        return next(point for point in records.points if point.id == point_id)
    finished = [point for point in records.points if point.result is not None]
    if not finished:
        states = Counter(point.state.status for point in records.points)
        found = ", ".join(f"{count} {status}" for status, count in states.items()) or "there are no points"
        raise DataError(f"{records.root}: no point is finished ({found}); run the sweep, then export")
    store = Store(records.root)
    kept = [point for point in finished if store.has(point.result["artifact"], strict=True)]
    if not kept:
        raise DataError(
            f"{records.root}: the weights of all {len(finished)} finished points were removed (lineage.keep: none); "
            "run the sweep with lineage.keep: last in another storage"
        )
    scored = [point for point in kept if main_score(point) is not None]
    if not scored:
        raise DataError(f"{records.root}: no finished point has a main score; choose one with --point")
    return max(scored, key=main_score)


def main_score(point: PointRecord) -> float | None:
    """The score that decides, of a finished point."""
    scores = point.result["scores"]
    return scores[scores["main"]]
