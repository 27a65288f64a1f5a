"""Models by the name of what made them: the artifact that a point of another sweep delivered."""

import logging
from collections.abc import Mapping
from pathlib import Path

from raykd.errors import DataError
from raykd.results.artifacts import Store
from raykd.results.find import BEST, Named, find_point, states
from raykd.results.journal import Journal
from raykd.results.records import PointRecord, read_point
from raykd.results.words import counted

log = logging.getLogger(__name__)


def delivered_by(results: Path | str, wanted: str) -> Path:
    """Local folder of the artifact that a point of a sweep delivered.

    Args:
        results: the sweep's results, a folder or a URL.
        wanted: the point, as `find_point` takes it; `best` or nothing is the best seed of the configuration with the
            best mean on the selection set, once none is left to run.

    Raises:
        DataError: if there is no such point, there are several, it is not finished, or its weights are gone.
        ArtifactError: if a record cannot be read.
    """
    journal = Journal.at(results)
    points = [read_point(journal, point_id) for point_id in journal.current_point_ids()]
    names = [Named.of(point) for point in points]
    if wanted in ("", BEST):
        _refuse_unfinished(names, results)
    named = find_point(names, wanted or BEST, where=str(results), finished=True)
    artifact = delivered_artifact(journal.store, next(point for point in points if point.id == named.id))
    log.info("%s of %s: artifact %s", named.id, results, artifact)
    return journal.store.artifact(artifact)


def delivered_artifact(store: Store, point: PointRecord) -> str:
    """Fingerprint of the artifact that a finished point delivered.

    Raises:
        DataError: if its weights are gone.
    """
    assert point.result is not None, f"{point.id} is not finished"
    artifact = point.result.artifact
    if not store.has(artifact, strict=True):
        why = "are missing"
        if store.has_record(artifact):
            why = "were removed when its lineage ended (lineage.keep: none)"
        raise DataError(
            f"the weights of {Named.of(point).shown} {why}; run its sweep with lineage.keep: delivered in another "
            "storage"
        )
    return artifact


def chosen_for(folder: Path) -> Mapping[str, float]:
    """What the selection set chose for a model folder, if a point of a sweep delivered it; see `Scores`."""
    if folder.parent.name != "artifacts":
        return {}
    journal = Journal.at(folder.parents[1])
    if not journal.sweep.exists():
        return {}
    results = (journal.points.result(point_id) for point_id in journal.points.ids())
    return next((each.scores.chosen for each in results if each is not None and each.artifact == folder.name), {})


def verify_delivered(folder: Path) -> None:
    """Compare a model folder with its record, if it is an artifact among a sweep's results.

    Raises:
        ArtifactError: if a file is missing or differs.
    """
    # Elsewhere a folder may hold a file of that name which is no record of ours.
    if folder.parent.name == "artifacts" and Journal.at(folder.parents[1]).sweep.exists():
        Store(folder.parents[1]).verify(folder.name)


def _refuse_unfinished(points: list[Named], results: Path | str) -> None:
    left = [point for point in points if point.status in ("pending", "running")]
    if left:
        raise DataError(
            f"{len(left)} of {counted(len(points), 'point')} in {results} are not finished, so the best is unknown "
            f"({states(left)}); finish that sweep, or choose a point by its label"
        )
