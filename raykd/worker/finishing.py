"""The end of a point: what its lineage delivers is scored and recorded, and what nobody reads again is dropped."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from raykd.results.journal import Journal
from raykd.results.points import GenerationRecord, PointResult
from raykd.tasks.outcomes import Scores
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine
from raykd.worker.generation import PointParts
from raykd.worker.handoff import frozen
from raykd.worker.job import PointJob
from raykd.worker.lineage import Lineage
from raykd.worker.passes import score, signal_store
from raykd.worker.testing import score_on_tests


def finish(parts: PointParts, records: Sequence[GenerationRecord], lineage: Lineage) -> None:
    """Score what the lineage delivers, write the result, and drop what is not kept. Every rank calls it."""
    context, job, seconds = parts.context, parts.job, parts.reporter.seconds
    context.heartbeat.begin("scoring", "scoring the final model")
    final = lineage.final(records)
    with _delivered(parts, final) as model:
        scored = score(context, model, job.point, job.point.config.selection_set, reader=final)
        for _ in score_on_tests(context, job.point, final, model, chosen=scored.scores):
            pass
    if context.rank != 0:
        return
    journal = Journal(context.store)
    # A result promises the rest.
    journal.points.write_outcomes(job.point.id, scored.outcomes)
    journal.points.write_result(_result(parts, records, final, scores=scored.scores, seconds=seconds))
    journal.heartbeats.forget(job.point.id)
    parts.checkpoints.drop()
    _drop_artifacts(context, job, records, final)


def _delivered(parts: PointParts, final: str) -> AbstractContextManager[Engine]:
    """What is delivered: the student in memory, or an artifact."""
    if final == parts.student.stored_as:
        return nullcontext(parts.student.engine)
    return frozen(parts.context, parts.job.point.config, final)


def _result(
    parts: PointParts, records: Sequence[GenerationRecord], final: str, *, scores: Scores, seconds: float
) -> PointResult:
    context, job, train = parts.context, parts.job, parts.epochs.train
    reports = Journal(context.store).epochs.of(job.point.id)
    return PointResult(
        point=job.point.id,
        artifact=final,
        base=job.point.base,
        scores=scores,
        generations=tuple(records),
        data=train.description,
        num_windows=len(train.features),
        num_workers=context.world_size,
        device=context.device.type,
        num_threads=context.num_threads,
        train_seconds=sum(report.train_seconds for report in reports),
        seconds=seconds,
    )


def _drop_artifacts(context: WorkerContext, job: PointJob, records: Sequence[GenerationRecord], final: str) -> None:
    made = {name for record in records for name in record.artifacts} - {job.point.base, job.point.student}
    keep = {"none": set(), "delivered": {final}, "all": made}[job.point.config.lineage.keep]
    for name in made - keep:
        if context.store.has(name):
            context.store.remove_weights(name)
    for name in made:
        # No other point has these teachers.
        signal_store(context, name, job.point).drop()
