"""A sweep as its records tell it: finished, unfinished, partly failed or empty. Needs neither Ray nor torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.results.journal import Journal, PointState


@dataclass(frozen=True)
class PointRecord:
    """One point.

    Attributes:
        method: its name in the sweep file.
        label: method and searched values, as progress lines show it.
        varied: searched key -> value, the seed among them.
        base: fingerprint of its generation 0.
        config: the whole configuration, as JSON.
        result: scores, generations and cost; None while it is not finished.
        epochs: the reports of its epochs so far, in order.
        outcomes: what became of every example, see `Journal.write_outcomes`; None where there are none.
    """

    id: str
    method: str
    label: str
    varied: Mapping[str, Any]
    base: str
    config: Mapping[str, Any]
    state: PointState
    result: Mapping[str, Any] | None
    epochs: tuple[Mapping[str, Any], ...]
    outcomes: Mapping[str, Any] | None


@dataclass(frozen=True)
class BaseRecord:
    """Generation 0 of some points: its fingerprint, the model it began as, its scores and its outcomes."""

    base: str
    model: str
    scores: Mapping[str, Any]
    outcomes: Mapping[str, Any] | None


@dataclass(frozen=True)
class SweepRecords:
    """What a folder of results holds.

    Attributes:
        description: the resolved file, versions, data hashes and the rest of `sweep.json`.
        points: those of the sweep as it was run last.
    """

    root: Path | str
    description: Mapping[str, Any]
    points: tuple[PointRecord, ...]
    bases: tuple[BaseRecord, ...]


def read_records(root: Path | str) -> SweepRecords:
    """All records of a place of results, a folder or a URL, at whatever moment of a run.

    A state is read before the result that it promises, so a finished point always has its result.

    Raises:
        ConfigError: if there is no sweep.
        ArtifactError: if a record is damaged.
    """
    journal = Journal.at(root)
    points = tuple(_point(journal, point_id) for point_id in journal.current_point_ids())
    known = {point.base for point in points}
    bases = [BaseRecord(**record) for record in journal.base_scores() if record["base"] in known]
    return SweepRecords(journal.store.root, journal.sweep(), points, tuple(bases))


def _point(journal: Journal, point_id: str) -> PointRecord:
    described, state = journal.point(point_id), journal.state(point_id)
    return PointRecord(
        **{key: described[key] for key in ("id", "method", "label", "varied", "base", "config")},
        state=state,
        result=journal.result(point_id),
        epochs=tuple(journal.epochs(point_id)),
        outcomes=journal.outcomes(point_id),
    )
