"""One generation of a point on one rank: its student, its teacher, its epochs, and the artifact at its end."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from raykd.results.epochs import EpochReport
from raykd.results.points import GenerationRecord
from raykd.tasks.teaching import Teacher
from raykd.worker.checkpoints import Checkpoints, Position, Saved
from raykd.worker.context import WorkerContext
from raykd.worker.epochs import EpochPlan
from raykd.worker.job import PointJob
from raykd.worker.lineage import GenerationSpec
from raykd.worker.loop import Begun, EpochData, EpochStats, WeightedLoss, train_epoch
from raykd.worker.reporting import Reporter
from raykd.worker.student import Student
from raykd.worker.teacher import Teachers
from raykd.worker.training import loss_terms


@dataclass(frozen=True)
class PointParts:
    """What the generations of a point share on one rank."""

    context: WorkerContext
    job: PointJob
    epochs: EpochPlan
    student: Student
    teachers: Teachers
    checkpoints: Checkpoints
    reporter: Reporter


class GenerationRun:
    """Trains one generation, from its beginning or from where a checkpoint stands."""

    def __init__(self, parts: PointParts, spec: GenerationSpec, parents: Sequence[GenerationRecord]) -> None:
        """
        Args:
            parents: the generations before it.
        """
        self.spec, self.parents = spec, parents
        self.context, self.job, self.config = parts.context, parts.job, parts.job.point.config
        self.epochs, self.student, self.teachers = parts.epochs, parts.student, parts.teachers
        self.checkpoints, self.reporter = parts.checkpoints, parts.reporter

    def run(self, saved: Saved | None) -> Generator[EpochReport, None, GenerationRecord]:
        """Train, score and export it; yields a report after every epoch. Every rank calls it.

        Args:
            saved: the checkpoint that the point goes on from, of whichever generation.

        Returns:
            What the driver hears of it.
        """
        spec, per_generation = self.spec, self.config.lineage.epochs_per_generation
        here = saved.position if saved is not None and saved.position.generation == spec.index else None
        at = here or Position(spec.index, 0, (spec.index - 1) * per_generation)
        if not self.student.continues(spec):
            self._begin("loading", "loading the student", epoch=at.epochs)
            self.student.start(spec, saved, self.checkpoints)
        teacher = self.teachers.of(spec, self.student) if not self._is_over(at) else None
        loss = self._loss(teacher)
        while not self._is_over(at):
            at, report = self._epoch(at, loss)
            yield report
        self.teachers.free()
        self._begin("exporting", "exporting", epoch=at.epochs)
        dev_score = at.epoch_scores[-1]
        return GenerationRecord(
            index=spec.index,
            artifact=self.student.export(self._recipe(), spec, dev_score),
            dev_score=dev_score,
            best_artifact=at.best_artifact,
            best_score=at.best_score,
            epoch_scores=at.epoch_scores,
            ended_early=self._is_stuck(at),
        )

    def _is_over(self, at: Position) -> bool:
        """Whether the generation has no epoch after a position: all are done, or its student gets no better."""
        return at.generation_epochs == self.config.lineage.epochs_per_generation or self._is_stuck(at)

    def _is_stuck(self, at: Position) -> bool:
        """Whether the student had no better score for as many epochs as it may."""
        goes_on = self.config.lineage.student_init == "previous"
        before = [score for record in self.parents if goes_on for score in record.epoch_scores]
        scores = [-math.inf if score is None else score for score in (*before, *at.epoch_scores)]
        return bool(at.epoch_scores) and self.config.training.is_out_of_patience(scores)

    def _epoch(self, at: Position, loss: WeightedLoss) -> tuple[Position, EpochReport]:
        """Train the epoch after a position and score it: the position after it, and the report."""
        which = f"epoch {at.epochs + 1} of {len(self.epochs)}"
        done, num_steps = len(at.begun.losses), len(self.epochs.steps[at.epochs])
        data = self.student.as_read(self.epochs.data(at.epochs))
        self._begin("training", f"training, {which}", epoch=at.epochs, steps=(done, num_steps))
        stats = self._train(at, data, loss)
        self.epochs.refuse_nan(stats.losses, at)
        self.student.changed()
        self._begin("scoring", f"scoring after {which}", steps=(num_steps, num_steps))
        dev_score, watched = self._dev_scores()
        after = self._advance(at, dev_score)
        steps = self.epochs.steps[at.epochs]
        report = self.reporter.report(
            self.spec, after, stats, loss=loss, steps=steps, dev_score=dev_score, watched=watched
        )
        return after, report

    def _begin(self, kind: Any, doing: str, **progress: Any) -> None:
        self.context.heartbeat.begin(kind, f"generation {self.spec.index}, {doing}", **progress)

    def _loss(self, teacher: Teacher | None) -> WeightedLoss:
        task, distillation = self.epochs.task, self.config.distillation
        label_weight, kd_weight = distillation.weights
        return WeightedLoss(
            loss_terms(task, distillation, padding=self.epochs.pad_to is not None),
            teacher=teacher,
            label_weight=label_weight,
            kd_weight=kd_weight if teacher is not None else 0.0,
            parts=task.learning.parts,
        )

    def _train(self, at: Position, data: EpochData, loss: WeightedLoss) -> EpochStats:
        return train_epoch(
            self.student.engine,
            data,
            loss=loss,
            batching=self.config.training,
            timeline=self.epochs.timeline(at.epochs),
            seed=self.config.seed,
            begun=at.begun,
            between=lambda done: self._between(at, done),
        )

    def _between(self, at: Position, done: Callable[[], Begun]) -> None:
        """Give a sign of life at the boundary of two steps, and save where it is time to."""
        self.context.heartbeat.moved()
        if self.checkpoints.is_due():
            begun = done()
            self.epochs.refuse_nan(begun.losses, at)
            self.checkpoints.save(self.student.engine, replace(at, begun=begun))

    def _dev_scores(self) -> tuple[float | None, Mapping[str, float]]:
        """The main score on the epoch sample, and what else is watched."""
        if self.config.selection.epoch_max_items == 0:
            return None, {}
        scores = self.student.score_epoch().scores
        return scores.main_value, scores.watched

    def _advance(self, at: Position, dev_score: float | None) -> Position:
        """The position after an epoch, its student exported if it is the best so far, its checkpoint saved."""
        best_artifact, best_score = at.best_artifact, at.best_score
        superseded = None
        if self._keeps_best() and dev_score is not None and dev_score > self._bar(at):
            superseded, best_score = self._superseded_by_better(at), dev_score
            is_last = at.generation_epochs + 1 == self.config.lineage.epochs_per_generation
            recipe = self._recipe() | ({} if is_last else {"epoch": at.epochs + 1})
            best_artifact = self.student.export(recipe, self.spec, dev_score)
        after = Position(
            generation=self.spec.index,
            generation_epochs=at.generation_epochs + 1,
            epochs=at.epochs + 1,
            best_artifact=best_artifact,
            best_score=best_score,
            epoch_scores=(*at.epoch_scores, dev_score),
        )
        is_saved = after.epochs < len(self.epochs)
        if is_saved:
            self.checkpoints.save(self.student.engine, after)
        if superseded is not None:
            # The last epoch has no checkpoint: until the point's result is there, it may be done again from before.
            self.checkpoints.release([superseded], at_end=not is_saved)
        return after

    def _keeps_best(self) -> bool:
        return self.config.delivers == "best" or self.config.lineage.teacher == "best"

    def _bar(self, at: Position) -> float:
        """What an epoch must be above to be the best so far."""
        scores = [record.best_score for record in self.parents] + [at.best_score]
        return max((score for score in scores if score is not None), default=-math.inf)

    def _superseded_by_better(self, at: Position) -> str | None:
        """The best student so far, if nobody reads it once there is a better one."""
        best = at.best_artifact
        if best is None and self.config.compute.checkpoints:
            # Without checkpoints a generation begins again, with the best of those before it.
            best = next((each.best_artifact for each in reversed(self.parents) if each.best_artifact), None)
        return None if best in self.spec.holds else best

    def _recipe(self) -> dict[str, Any]:
        train = self.epochs.train
        return {
            "kind": "generation",
            "point": self.job.point.recipe,
            "base": self.job.point.base,
            "generation": self.spec.index,
            "parents": [record.artifact for record in self.parents],
            "data": train.sha256,
            "windows": train.features.sha256,
        }
