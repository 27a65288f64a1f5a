"""The student of a point: loaded, or gone on with, trained, handed over, freed."""

import logging
from dataclasses import replace
from typing import Any

from raykd.results.artifacts import ArtifactRecord, fingerprint
from raykd.tasks.outcomes import Scored
from raykd.worker.checkpoints import Checkpoints, Saved
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine
from raykd.worker.epochs import EpochPlan
from raykd.worker.handoff import build_engine, export, load
from raykd.worker.job import PointJob
from raykd.worker.lineage import GenerationSpec
from raykd.worker.loop import EpochData
from raykd.worker.passes import frozen_rows, score

log = logging.getLogger(__name__)


class Student:
    """The student in one rank's memory.

    Attributes:
        stored_as: fingerprint of the artifact that has exactly its weights; None where no artifact has.
    """

    def __init__(self, context: WorkerContext, job: PointJob, epochs: EpochPlan) -> None:
        self.context, self.job, self.config = context, job, job.point.config
        self.task, self.train = epochs.task, epochs.train
        self.stored_as: str | None = None
        self._engine: Engine | None = None
        self._frozen: Any = None

    @property
    def engine(self) -> Engine:
        """The student under training; there is one from `start` to `free`."""
        assert self._engine is not None, "no generation was started"
        return self._engine

    def continues(self, spec: GenerationSpec) -> bool:
        """Whether the student of a generation is the one in memory."""
        return spec.start == "continue" and self._engine is not None

    def start(self, spec: GenerationSpec, saved: Saved | None, checkpoints: Checkpoints) -> None:
        """Put the student of a generation into memory, out of a checkpoint or an artifact; every rank calls it.

        Args:
            saved: the checkpoint that the point goes on from, of whichever generation.
        """
        self.free()
        begins_as = spec.start_from or self.job.point.student
        model = load(self.context, self.config, begins_as, dropout=self.config.training.dropout)
        model = self.task.model.to_train(model, self.config, teacher=self.context.store.artifact(spec.teachers[0]))
        self._engine = build_engine(model, self.config.training, self.config.compute)
        self.stored_as = begins_as
        if saved is not None and (saved.position.generation == spec.index or spec.start == "continue"):
            checkpoints.load(self._engine, saved)
            self.stored_as = None

    def changed(self) -> None:
        """It was trained: no artifact has its weights any more."""
        self.stored_as = None

    def as_read(self, data: EpochData) -> EpochData:
        """An epoch's data with what a frozen part of the student says of it, where that is asked once."""
        part = self.task.learning.frozen
        if part is None or not part.reads_once(self.train, self.config, self.engine.model):
            return data
        if self._frozen is None:
            self.context.heartbeat.begin("signals", "reading with the frozen encoder")
            section, features = self.config.selection_set, self.train.features
            said = frozen_rows(self.context, part, self.engine, features, tokens=section.batch_tokens)
            log.info("the frozen encoder has read %d windows once for all epochs", len(features))
            self._frozen = part.with_said(features, said.cpu())
        return replace(data, features=self._frozen)

    def score_epoch(self) -> Scored:
        """Its scores on the part of the selection set that is scored after every epoch."""
        section = self.config.selection_set
        reader, most = self.job.point.student, section.epoch_max_items
        return score(self.context, self.engine, self.job.point, section, reader=reader, most=most)

    def export(self, recipe: dict[str, Any], spec: GenerationSpec, dev_score: float | None) -> str:
        """Turn it into the artifact of a recipe, unless that is there; returns the artifact's fingerprint."""
        name, reader = fingerprint(recipe), self.job.point.student
        if name == self.stored_as:
            return name
        record = ArtifactRecord(
            **recipe, teachers=spec.teachers, dev_score=dev_score, tokenizer=self.context.tokenizer_hash(reader)
        )
        probe = self.task.learning.probe(self.train)
        tokenizer = self.context.tokenizer(reader)
        made = export(self.context, self.task, self.engine, name, record, tokenizer=tokenizer, probe=probe)
        # An artifact of an earlier try need not have the bits of this one.
        self.stored_as = name if made else None
        return name

    def free(self) -> None:
        """Give its memory back."""
        if self._engine is not None:
            self._engine.destroy()
            self._engine, self._frozen = None, None
