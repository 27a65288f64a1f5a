"""Results of a sweep as its runs leave them, written by hand: single records, and folders of them."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from raykd.config.digest import dump
from raykd.results.artifacts import Store
from raykd.results.epochs import EpochReport
from raykd.results.heartbeat import HeartbeatRecord
from raykd.results.journal import Journal
from raykd.results.points import GenerationRecord, PointDescription, PointResult
from raykd.results.sweep import BaseScores, SweepDescription
from raykd.tasks.outcomes import Scores
from support.tiny_sweeps import point as point_of

COLUMNS = {"xlt_f1": "XLT F1", "gxlt_f1": "G-XLT F1"}


def scores_of(values: Mapping[str, float | None], columns: Mapping[str, str] = COLUMNS, **changes: Any) -> Scores:
    """Scores of a matrix of languages."""
    return Scores(**{"main": "gxlt_f1", "columns": columns, "values": values, "is_matrix": True, **changes})


def description(point_id: str, method: str = "skd", **changes: Any) -> PointDescription:
    """What a point is."""
    made = PointDescription(
        id=point_id, method=method, label=f"{method} {point_id}", varied={}, base="b", config={}, suggested=None
    )
    return replace(made, **changes)


def report(epoch: int, *, of: int = 3, seconds: float = 10.0, loss: float = 0.5, **changes: Any) -> EpochReport:
    """An epoch's report, of a process that has done them all, each in so many seconds."""
    made = EpochReport(
        epoch=epoch,
        num_epochs=of,
        generation=epoch,
        loss=loss,
        label_loss=loss,
        kd_loss=0.0,
        parts={},
        label_weight=1.0,
        kd_weight=1.0,
        coefficient=None,
        dev_score=20.0 + epoch,
        watched={},
        examples_per_second=100.0,
        tokens_per_second=900.0,
        train_seconds=seconds / 2,
        elapsed_seconds=seconds * epoch,
        seconds_left=seconds * (of - epoch),
        gpu_memory_bytes=None,
        written=time.time(),
        teachers=("b",),
        losses=[[loss, loss, 0.0]],
    )
    return replace(made, **changes)


def heartbeat(
    epoch: int | None, *, share: float = 0.0, seconds_left: float | None = None, **changes: Any
) -> HeartbeatRecord:
    """A sign of life of a process that trains the epoch after this one."""
    made = HeartbeatRecord(
        doing="training",
        count=1,
        allowed_silence=30.0,
        process="process 1 on here",
        epoch=epoch,
        share=share,
        seconds_left=seconds_left,
        written=time.time(),
    )
    return replace(made, **changes)


def result(point_id: str, scores: Scores | float, *, epochs: int = 3, **changes: Any) -> PointResult:
    """What a finished point came to."""
    if not isinstance(scores, Scores):
        scores = scores_of({"xlt_f1": scores + 5, "gxlt_f1": scores})
    made = PointResult(
        point=point_id,
        artifact=f"a{epochs}",
        base="b",
        scores=scores,
        generations=tuple(GenerationRecord(index, f"a{index}", 21.0) for index in range(1, epochs + 1)),
        data={},
        num_windows=8,
        num_workers=1,
        train_seconds=15.0,
        seconds=30.0,
    )
    return replace(made, **changes)


def base_scores(scores: Scores, **changes: Any) -> BaseScores:
    """A generation 0 that was scored."""
    return replace(BaseScores(base="b", model="builtin:tiny", final=scores), **changes)


def begin(root: Path | str, *ids: str, **search: Any) -> Journal:
    """A sweep of these points, none of them recorded yet; without any, one whose searcher chooses them."""
    config = {**dump(point_of().config), "search": {"num_points": len(ids), **search}}
    journal = Journal(Store(root))
    journal.sweep.write(SweepDescription(name="few-shot", points=ids, config=config))
    return journal


def add(journal: Journal, point_id: str, label: str | None = None, *, epochs: int = 3, **varied: Any) -> None:
    """Record a point of so many generations of one epoch."""
    config = dump(point_of(lineage={"num_generations": epochs}).config)
    journal.points.add(description(point_id, label=label or f"skd {point_id}", varied=varied, config=config))


def finish(journal: Journal, point_id: str, score: float, *, run: int = 0, seconds: float = 30.0) -> None:
    """Let a recorded point run to its end."""
    journal.points.start(point_id, run)
    for epoch in (1, 2, 3):
        journal.epochs.write(point_id, report(epoch))
    journal.points.write_result(result(point_id, score, seconds=seconds))
    journal.points.end(point_id, "finished")
