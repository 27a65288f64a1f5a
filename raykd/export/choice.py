"""Which point of a sweep is taken home."""

from raykd.errors import DataError
from raykd.results.artifacts import Store
from raykd.results.configurations import by_configuration, ranked
from raykd.results.delivered import delivered_artifact
from raykd.results.find import BEST, Named, find_point, states
from raykd.results.records import PointRecord, SweepRecords


def chosen_point(records: SweepRecords, wanted: str | None) -> PointRecord:
    """The point to export; it is finished, and its weights are there.

    Args:
        wanted: its name, as `find_point` takes it; None or `best` is the best seed of the configuration with the best
            mean on the selection set so far, among the points that are finished and whose weights are kept.

    Raises:
        DataError: if there is none, it is not finished, or its weights are gone; the line says what to do.
    """
    store, where = Store(records.root), str(records.root)
    if wanted in (None, BEST):
        return _best_kept(records, store)
    found = find_point([Named.of(point) for point in records.points], wanted, where=where, finished=True)
    point = next(point for point in records.points if point.id == found.id)
    delivered_artifact(store, point)
    return point


def _best_kept(records: SweepRecords, store: Store) -> PointRecord:
    """The best seed with weights of the best configuration that has any."""
    kept = {point.id for point in _kept(records, store)}
    for each in ranked(by_configuration(records.points), records.main):
        scored = [
            (point.main_score, point) for point in each.points if point.id in kept and point.main_score is not None
        ]
        if scored:
            return max(scored, key=lambda pair: pair[0])[1]
    raise DataError(f"no point in {records.root} has a main score")


def _kept(records: SweepRecords, store: Store) -> list[PointRecord]:
    """The finished points whose weights are there.

    Raises:
        DataError: if there are none.
    """
    finished = [point for point in records.points if point.status == "finished"]
    if not finished:
        found = states([Named.of(point) for point in records.points]) or "there are no points"
        raise DataError(f"{records.root}: no point is finished ({found}); run the sweep, then export")
    kept = [point for point in finished if point.result and store.has(point.result.artifact, strict=True)]
    if not kept:
        raise DataError(
            f"{records.root}: the weights of all {len(finished)} finished points were removed (lineage.keep: none); "
            "run the sweep with lineage.keep: delivered in another storage"
        )
    return kept
