"""A point on one rank: the walk over its generations, which the driver names one after another."""

from collections.abc import Callable, Hashable, Iterator, Sequence

from raykd.results.artifacts import Store
from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.results.points import GenerationRecord
from raykd.worker.checkpoints import Checkpoints
from raykd.worker.context import WorkerContext
from raykd.worker.epochs import EpochPlan
from raykd.worker.finishing import finish
from raykd.worker.generation import GenerationRun, PointParts
from raykd.worker.heartbeat import Heartbeat
from raykd.worker.job import PointJob
from raykd.worker.lineage import GenerationSpec, Lineage
from raykd.worker.passes import base_scores
from raykd.worker.reporting import Reporter
from raykd.worker.resuming import ResumeState, load_resume_state
from raykd.worker.student import Student
from raykd.worker.teacher import Teachers
from raykd.worker.timer import no_notice

Ask = Callable[[Sequence[GenerationRecord]], GenerationSpec | None]


def lineage_of(job: PointJob, store: Store) -> Lineage:
    """The rules that the driver of a point follows; generation 0 must have been scored."""
    point, scores = job.point, base_scores(store, job.point)
    dev_score = scores.epoch.main_value if scores.epoch is not None else None
    return Lineage(
        point.config.lineage,
        point.base,
        dev_score,
        first_teachers=tuple(point.first_teachers),
        generation_zero=tuple(point.generation_zero),
        delivers=point.config.delivers,
    )


class PointRun:
    """One point on one rank, from its first generation, or from where its checkpoint stands, to its result."""

    def __init__(self, context: WorkerContext, job: PointJob, *, notice: Callable[[], Hashable] = no_notice) -> None:
        """
        Args:
            notice: what is about to be taken away from this group of workers, None for nothing; all call it together.
        """
        self.context, self.job = context, job
        self.epochs = EpochPlan(context, job)
        self.checkpoints = Checkpoints(context, job.point.id, job.point.config.compute, notice=notice)
        self.released: set[str] = set()

    def run(self, ask: Ask) -> Iterator[EpochReport]:
        """Walk the generations that the driver names; yields a report after every epoch.

        Args:
            ask: hands the driver the records of the finished generations and returns what comes next. Called on rank 0
                alone.
        """
        parts = self._parts()
        try:
            self._begin_heartbeat()
            self.context.begin_gpu_memory()
            resumed = self._resume_state()
            records, saved = resumed.records, resumed.saved
            spec = self._next(ask, records)
            while spec is not None:
                record = yield from GenerationRun(parts, spec, records).run(saved)
                records, saved = [*records, record], None
                self._keep(records)
                spec = self._next(ask, records)
            finish(parts, records, self._lineage())
        finally:
            parts.teachers.free()
            parts.student.free()
            self.checkpoints.close()
            self.context.heartbeat = Heartbeat()

    def _parts(self) -> PointParts:
        context, job, epochs = self.context, self.job, self.epochs
        return PointParts(
            context,
            job,
            epochs,
            student=Student(context, job, epochs),
            teachers=Teachers(context, job, epochs),
            checkpoints=self.checkpoints,
            reporter=Reporter(context, job, num_epochs=len(epochs)),
        )

    def _begin_heartbeat(self) -> None:
        if self.context.rank == 0:
            journal, point_id = Journal(self.context.store), self.job.point.id
            self.context.heartbeat = Heartbeat(lambda record: journal.heartbeats.write(point_id, record))
        self.context.heartbeat.begin("starting", "starting")

    def _resume_state(self) -> ResumeState:
        nothing = ResumeState([], None)
        mine = load_resume_state(self.checkpoints, self._lineage()) if self.context.rank == 0 else nothing
        return self.context.from_rank_0(mine)

    def _lineage(self) -> Lineage:
        return lineage_of(self.job, self.context.store)

    def _next(self, ask: Ask, records: Sequence[GenerationRecord]) -> GenerationSpec | None:
        return self.context.from_rank_0(ask(records) if self.context.rank == 0 else None)

    def _keep(self, records: list[GenerationRecord]) -> None:
        """Record the finished generations, and release students that nobody reads again: rank 0 does.

        Without its share of a checkpoint no other rank's counts.
        """
        if self.context.rank != 0:
            return
        Journal(self.context.store).points.write_generations(self.job.point.id, tuple(records))
        lineage = self._lineage()
        if not lineage.is_done(records) and lineage.config.keep != "all":
            made = {name for record in records for name in record.artifacts}
            self.checkpoints.release(sorted(made - lineage.needed(records) - self.released))
            self.released |= made - lineage.needed(records)
