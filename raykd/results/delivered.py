"""Models by the name of what made them: the artifact that a point of another sweep delivered."""

import difflib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.errors import DataError
from raykd.results.artifacts import RECORD, Store
from raykd.results.journal import Journal, Status

log = logging.getLogger(__name__)

BEST = "best"
_MOST_SHOWN = 5


@dataclass(frozen=True)
class _Point:
    """A point of a sweep; `result` is None until it is finished."""

    id: str
    label: str
    method: str
    status: Status
    error: str | None
    result: Mapping[str, Any] | None

    @property
    def main_score(self) -> float | None:
        scores = self.result["scores"]
        return scores[scores["main"]]


def delivered_by(results: Path | str, wanted: str) -> Path:
    """Local folder of the artifact that a point of a sweep delivered.

    Args:
        results: the sweep's results, a folder or a URL.
        wanted: the point's label, its id, or its method where only one point of that is finished; `best` or nothing
            is the point with the highest main score, once none is left to run.

    Raises:
        DataError: if there is no such point, there are several, it is not finished, or its weights are gone.
        ArtifactError: if a record cannot be read.
    """
    point_id, artifact = find_delivered(results, wanted)
    log.info("%s of %s: artifact %s", point_id, results, artifact)
    return Store(results).artifact(artifact)


def find_delivered(results: Path | str, wanted: str) -> tuple[str, str]:
    """Id of a point of a sweep, named as for `delivered_by`, and fingerprint of the artifact that it delivered.

    Raises:
        DataError, ArtifactError: as `delivered_by`.
    """
    journal = Journal.at(results)
    points = [_read(journal, point_id) for point_id in journal.current_point_ids()]
    point = _best(points, results) if wanted in ("", BEST) else _named(points, wanted, results)
    store, artifact = journal.store, point.result["artifact"]
    if not store.has(artifact, strict=True):
        why = "are not there"
        if store.exists(f"artifacts/{artifact}/{RECORD}"):
            why = "were removed when its lineage was done (lineage.keep: none)"
        raise DataError(
            f"the weights of {_shown(point)} {why}; run its sweep with lineage.keep: last into another storage"
        )
    return point.id, artifact


def verify_delivered(folder: Path) -> None:
    """Compare a model folder with its record, if it is an artifact among a sweep's results.

    Raises:
        ArtifactError: if a file is missing or differs.
    """
    # Elsewhere a folder may hold a file of that name which is no record of ours.
    if folder.parent.name == "artifacts" and Journal.at(folder.parents[1]).has_sweep():
        Store(folder.parents[1]).verify(folder.name)


def _read(journal: Journal, point_id: str) -> _Point:
    described, state = journal.point(point_id), journal.state(point_id)
    result = journal.result(point_id) if state.status == "finished" else None
    # A sweep runs a finished point again whose result is gone.
    status = "pending" if state.status == "finished" and result is None else state.status
    return _Point(point_id, described["label"], described["method"], status, state.error, result)


def _best(points: Sequence[_Point], results: Path | str) -> _Point:
    left = [point for point in points if point.status in ("pending", "running")]
    if left:
        raise DataError(
            f"{len(left)} of {len(points)} point(s) in {results} are still to run, so none is the best yet "
            f"({_states(left)}); let that sweep end, or name a point"
        )
    scored = [point for point in points if point.result is not None and point.main_score is not None]
    if not scored:
        raise DataError(f"no point in {results} has a main score ({_states(points) or 'there are none'})")
    return max(scored, key=lambda point: point.main_score)


def _named(points: Sequence[_Point], wanted: str, results: Path | str) -> _Point:
    found = [point for point in points if wanted in (point.label, point.id)]
    if not found:
        found = [point for point in points if wanted == point.method]
    if not found:
        raise DataError(f"{results} has no point {wanted!r}; {_nearest(points, wanted)}")
    finished = [point for point in found if point.result is not None]
    if not finished:
        raise DataError(f"no point {wanted!r} in {results} is finished ({_states(found)}); run that sweep to its end")
    if len(finished) > 1:
        raise DataError(
            f"{len(finished)} finished points in {results} go by {wanted!r}: {_listed(finished)}; "
            f"choose one by its label or id, or the best of the sweep by {BEST!r}"
        )
    return finished[0]


def _nearest(points: Sequence[_Point], wanted: str) -> str:
    names = {name for point in points for name in (point.label, point.id, point.method)}
    near = difflib.get_close_matches(wanted, sorted(names), n=_MOST_SHOWN, cutoff=0.0)
    if not near:
        return "no point was ever added"
    return f"nearest are {', '.join(map(repr, near))}. A point goes by its label, id or method, or {BEST!r}"


def _shown(point: _Point) -> str:
    return f"{point.label!r} ({point.id})"


def _states(points: Sequence[_Point]) -> str:
    words = [f"{_shown(point)} is {point.status}" + (f": {point.error}" if point.error else "") for point in points]
    return _short(words)


def _listed(points: Sequence[_Point]) -> str:
    return _short([_shown(point) for point in points])


def _short(words: Sequence[str]) -> str:
    more = [f"and {len(words) - _MOST_SHOWN} more"] if len(words) > _MOST_SHOWN else []
    return ", ".join([*words[:_MOST_SHOWN], *more])
