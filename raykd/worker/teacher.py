"""The teachers of a generation: signals that are stored, or models that answer every batch again."""

from dataclasses import replace

from raykd.tasks.teaching import Teacher, Teaching
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine
from raykd.worker.epochs import EpochPlan
from raykd.worker.handoff import build_frozen
from raykd.worker.job import PointJob
from raykd.worker.lineage import GenerationSpec
from raykd.worker.passes import teacher_signals
from raykd.worker.student import Student


class Teachers:
    """Makes the teachers of one generation after another, on one rank."""

    def __init__(self, context: WorkerContext, job: PointJob, epochs: EpochPlan) -> None:
        self.context, self.job, self.config, self.epochs = context, job, job.point.config, epochs
        self._live: list[Engine] = []

    def of(self, spec: GenerationSpec, student: Student) -> Teacher | None:
        """Who teaches a generation; None where nobody does. Every rank calls it.

        Args:
            student: computes signals that are missing where it has the teacher's weights.
        """
        distillation, task, train = self.config.distillation, self.epochs.task, self.epochs.train
        if not distillation.uses_teacher:
            return None
        point = self.job.point
        features = task.learning.teacher_features(train, first=spec.teachers[0] in point.first_teachers)
        teaching = Teaching(distillation, features, self.context.device, pad_to=self.epochs.pad_to)
        if distillation.reads_live:
            self._live = [build_frozen(self.context, self.config, name) for name in spec.teachers]
            return task.learning.teacher(train, replace(teaching, live=self._live))
        in_memory = (student.stored_as, student.engine) if student.stored_as else None
        self.context.heartbeat.begin("signals", f"generation {spec.index}, reading the teachers' signals")
        readings = teacher_signals(self.context, spec.teachers, point, in_memory=in_memory)
        return task.learning.teacher(train, replace(teaching, readings=readings))

    def free(self) -> None:
        """Give the memory of live teachers back."""
        for engine in self._live:
            engine.destroy()
        self._live = []
