"""The teachers of a generation: signals that are stored, or models that answer every batch again."""

from collections.abc import Sequence
from dataclasses import replace

from raykd.errors import DataError
from raykd.tasks.teaching import Teacher, Teaching
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine
from raykd.worker.epochs import EpochPlan
from raykd.worker.handoff import build_frozen
from raykd.worker.job import PointJob
from raykd.worker.lineage import GenerationSpec
from raykd.worker.passes import teacher_features, teacher_signals
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
        features = teacher_features(self.context, spec.teachers[0], point)
        section = self.config.unlabelled
        pseudo_from = section.min_confidence if section is not None and section.targets == "pseudo" else None
        teaching = Teaching(
            distillation, features, self.context.device, pad_to=self.epochs.pad_to, pseudo_from=pseudo_from
        )
        if distillation.reads_live:
            self._refuse_other_tokenizers(spec.teachers)
            self._live = [build_frozen(self.context, self.config, name) for name in spec.teachers]
            return task.learning.teacher(train, replace(teaching, live=self._live))
        in_memory = (student.stored_as, student.engine) if student.stored_as else None
        self.context.heartbeat.begin("signals", f"generation {spec.index}, reading the teachers' signals")
        readings = teacher_signals(self.context, spec.teachers, point, in_memory=in_memory)
        return task.learning.teacher(train, replace(teaching, readings=readings))

    def _refuse_other_tokenizers(self, teachers: Sequence[str]) -> None:
        hashed, own = self.context.tokenizer_hash, self.job.point.student
        strange = [name for name in teachers if hashed(name) != hashed(own)]
        # A given teacher reads texts of its own.
        if strange and not self.epochs.task.learning.cuts_for_both:
            raise DataError(
                "distillation.signals live: the student has another tokenizer than its teacher "
                f"{strange[0]}; set it to stored"
            )

    def free(self) -> None:
        """Give the memory of live teachers back."""
        for engine in self._live:
            engine.destroy()
        self._live = []
