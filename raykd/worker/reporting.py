"""What a point says after every epoch, and what its journal keeps of it."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.tasks.teaching import Teacher
from raykd.worker.checkpoints import Position
from raykd.worker.context import WorkerContext
from raykd.worker.job import PointJob
from raykd.worker.lineage import GenerationSpec
from raykd.worker.loop import EpochStats, WeightedLoss


class Reporter:
    """Reports the epochs of a point; times count from its making."""

    def __init__(self, context: WorkerContext, job: PointJob, *, num_epochs: int) -> None:
        self.context, self.job, self.num_epochs = context, job, num_epochs
        self.started, self.reported = time.time(), 0

    @property
    def seconds(self) -> float:
        """Since this process took up the point."""
        return time.time() - self.started

    def report(
        self,
        spec: GenerationSpec,
        at: Position,
        stats: EpochStats,
        *,
        loss: WeightedLoss,
        steps: Sequence[np.ndarray],
        dev_score: float | None,
        watched: Mapping[str, float],
    ) -> EpochReport:
        """The report of the epoch before a position; rank 0 writes it to the journal too.

        Args:
            loss: what the epoch minimised, over `steps`.
            dev_score, watched: what was scored after it, as the report holds it.
        """
        label_loss, kd_loss, *parts = np.mean([row[1:] for row in stats.losses], axis=0).tolist()
        label_weight, kd_weight = loss.weights_at(
            lineage=(at.epochs - 0.5) / self.num_epochs,
            generation=(at.generation_epochs - 0.5) / self.job.point.config.lineage.epochs_per_generation,
        )
        self.reported += 1
        elapsed = self.seconds
        report = EpochReport(
            epoch=at.epochs,
            num_epochs=self.num_epochs,
            generation=spec.index,
            loss=stats.mean_loss,
            label_loss=label_loss,
            kd_loss=kd_loss,
            parts=dict(zip(stats.parts, parts, strict=True)),
            label_weight=label_weight,
            kd_weight=kd_weight,
            coefficient=_coefficient(loss.teacher),
            dev_score=dev_score,
            watched={**watched, **(loss.teacher.watched() if loss.teacher is not None else {})},
            examples_per_second=stats.num_examples / stats.seconds,
            tokens_per_second=stats.num_tokens / stats.seconds,
            train_seconds=stats.seconds,
            elapsed_seconds=elapsed,
            # Of those that this process did: it may have gone on from another one's.
            seconds_left=elapsed / self.reported * (self.num_epochs - at.epochs),
            gpu_memory_bytes=self.context.gpu_memory_bytes(),
            written=time.time(),
            teachers=spec.teachers,
            losses=stats.losses,
            coefficients=loss.teacher.coefficients(steps) if loss.teacher is not None else [],
        )
        if self.context.rank == 0:
            Journal(self.context.store).epochs.write(self.job.point.id, report)
        return report


def _coefficient(teacher: Teacher | None) -> float | None:
    return teacher.mean_coefficient() if teacher is not None else None
