"""The worker loop of a point: unpack, build, resume, train, report; the maths is elsewhere."""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raykd.config.base import weight_at
from raykd.config.identity import first_teachers, generation_zero
from raykd.config.point import PointConfig
from raykd.results.artifacts import ArtifactRecord, Store, fingerprint
from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.results.points import GenerationRecord, PointResult
from raykd.tasks.task import TASKS
from raykd.worker.checkpoints import Checkpoints, Position, Saved, load_resumption
from raykd.worker.context import Workspace, tokenizer_hash
from raykd.worker.engine import Engine
from raykd.worker.handoff import build_engine, build_frozen, export, first_student, frozen, load
from raykd.worker.heartbeat import Pulse
from raykd.worker.lineage import GenerationSpec, Lineage
from raykd.worker.loop import Begun, EpochStats, TeacherView, order_epoch, train_epoch
from raykd.worker.passes import base_scores, score, signal_store, teacher_signals
from raykd.worker.timer import no_notice
from raykd.worker.training import loss_terms, refuse_nan, widths

Ask = Callable[[Sequence[GenerationRecord]], GenerationSpec | None]


def unguarded() -> None:
    """Nothing keeps a point from writing."""


@dataclass(frozen=True)
class Job:
    """A point to run.

    Attributes:
        recipe: all of the configuration that its artifacts depend on.
        base: fingerprint of its generation 0.
        guard: called before anything of the point is written; raises if the point is another run's by now.
        run: number of the sweep's run.
        max_deaths: processes that may die with the point, one after another, before it gets on.
    """

    point_id: str
    config: PointConfig
    recipe: dict[str, Any]
    base: str
    guard: Callable[[], None] = unguarded
    run: int = 0
    max_deaths: int = 3

    def lineage(self, store: Store) -> Lineage:
        """The rules that the driver of this point follows; generation 0 must have been scored."""
        epoch = base_scores(store, self.base, self.config).epoch
        dev_score = epoch.main_value if epoch is not None else None
        models = first_teachers(self.config), generation_zero(self.config)
        return Lineage(self.config.lineage, self.base, dev_score, *map(tuple, models))


class PointRun:
    """One point on one rank, from its first generation, or from where its checkpoint stands, to its result."""

    def __init__(self, space: Workspace, job: Job, *, notice: Callable[[], Hashable] = no_notice) -> None:
        """
        Args:
            notice: what is about to be taken away from this group of workers, None for nothing; all call it together.
        """
        self.space, self.job, self.config = space, job, job.config
        self.task, self.journal = TASKS[job.config.task], Journal(space.store)
        self.train = space.train_set(self.config, job.base)
        training, lineage = self.config.training, self.config.lineage
        self.lengths = widths(self.train.features, training, self.config.data.max_length)
        self.steps = [
            order_epoch(
                self.lengths,
                training,
                seed=self.config.seed,
                epoch=epoch,
                chosen=self.task.chosen(self.train, epoch),
            )
            for epoch in range(lineage.num_generations * lineage.epochs_per_generation)
        ]
        self.pad_to = self.config.data.max_length if training.pad_to_max else None
        self.engine: Engine | None = None
        self.in_memory: str | None = None
        self.live: list[Engine] = []
        self.reported = 0
        self.checkpoints = Checkpoints(space, job.point_id, self.config.compute, guard=job.guard, notice=notice)

    def run(self, ask: Ask) -> Iterator[EpochReport]:
        """Walk the generations that the driver names; yields a report after every epoch.

        Args:
            ask: hands the driver the records of the finished generations and returns what comes next. Called on rank 0
                alone.
        """
        started = time.time()
        if self.space.rank == 0:
            self.space.pulse = Pulse(lambda record: self.journal.heartbeats.write(self.job.point_id, record))
        self.space.pulse.begin("starting", "starting")
        self.space.begin_gpu_memory()
        found = load_resumption(self.checkpoints, self.config.lineage) if self.space.rank == 0 else None
        progress = self.space.from_rank_0(found)
        records, saved = progress.records, progress.saved
        try:
            spec = self._ask(ask, records)
            while spec is not None:
                record = yield from self._generation(spec, records, saved, started)
                records, saved = [*records, record], None
                self._guard()
                if self.space.rank == 0:
                    self.journal.points.write_generations(self.job.point_id, tuple(records))
                spec = self._ask(ask, records)
            self._finish(records, time.time() - started)
        finally:
            self._free_live()
            self._free_student()
            self.checkpoints.close()
            self.space.pulse = Pulse()

    def _guard(self) -> None:
        """Stop a run that lost its point before it writes: rank 0 knows, and without its share nothing counts."""
        if self.space.rank == 0:
            self.job.guard()

    def _ask(self, ask: Ask, records: Sequence[GenerationRecord]) -> GenerationSpec | None:
        return self.space.from_rank_0(ask(records) if self.space.rank == 0 else None)

    def _generation(
        self, spec: GenerationSpec, records: list[GenerationRecord], saved: Saved | None, started: float
    ) -> Iterator[EpochReport]:
        per_generation = self.config.lineage.epochs_per_generation
        here = saved.position if saved is not None and saved.position.generation == spec.index else None
        at = here or Position(spec.index, 0, (spec.index - 1) * per_generation)
        self._start(spec, saved, at)
        teacher = self._teacher(spec) if at.generation_epochs < per_generation else None
        dev_score = None
        while at.generation_epochs < per_generation:
            which = f"epoch {at.epochs + 1} of {len(self.steps)}"
            steps = len(at.begun.losses), len(self.steps[at.epochs])
            doing = f"generation {spec.index}, training, {which}"
            self.space.pulse.begin("training", doing, epoch=at.epochs, steps=steps)
            stats = self._train_epoch(at, teacher, spec)
            self._refuse_nan(stats.losses, at)
            self.in_memory = None
            self.space.pulse.begin(
                "scoring", f"generation {spec.index}, scoring after {which}", steps=(steps[1], steps[1])
            )
            dev_score, watched = self._dev_scores()
            at = self._advance(at, spec, records, dev_score)
            yield self._report(spec, at, stats, dev_score=dev_score, watched=watched, teacher=teacher, started=started)
        self._free_live()
        if here is at and self.config.evaluation.epoch_max_items != 0:
            dev_score, _ = self._dev_scores()
        self.space.pulse.begin("exporting", f"generation {spec.index}, exporting", epoch=at.epochs)
        name, made = self._export(self._recipe(spec, records), spec, dev_score)
        # An artifact of an earlier try need not have the bits of this one.
        self.in_memory = name if made else None
        return GenerationRecord(spec.index, name, dev_score, at.best_artifact, at.best_score)

    def _start(self, spec: GenerationSpec, saved: Saved | None, at: Position) -> None:
        """Put the student of a generation into memory: it is there, in the checkpoint, or in an artifact."""
        if spec.start == "continue" and self.engine is not None:
            return
        self.space.pulse.begin("loading", f"generation {spec.index}, loading the student", epoch=at.epochs)
        self._free_student()
        if spec.start_from:
            model = load(self.space, self.config, spec.start_from, dropout=self.config.training.dropout)
        else:
            model = first_student(self.space, self.config, self.job.base)
        model = self.task.to_train(model, self.config, teacher=self.space.store.artifact(spec.teachers[0]))
        self.engine = build_engine(model, self.config.training, self.config.compute)
        is_base = not (self.config.student.num_layers or self.config.student.model)
        self.in_memory = spec.start_from or (self.job.base if is_base else None)
        if saved is not None and (saved.position.generation == spec.index or spec.start == "continue"):
            self.checkpoints.load(self.engine, saved)
            self.in_memory = None

    def _teacher(self, spec: GenerationSpec) -> TeacherView | None:
        distillation = self.config.distillation
        if not distillation.uses_teacher:
            return None
        first = spec.teachers[0] in first_teachers(self.config)
        place = {"device": self.space.device, "pad_to": self.pad_to, "first": first}
        if distillation.signals == "live":
            self.live = [build_frozen(self.space, self.config, name) for name in spec.teachers]

            def forward(**inputs: Any) -> Any:
                return self.task.mean_outputs([engine(**inputs) for engine in self.live])

            return self.task.live_teacher(self.train, forward, distillation, **place)
        in_memory = (self.in_memory, self.engine) if self.in_memory else None
        self.space.pulse.begin("signals", f"generation {spec.index}, reading the teachers' signals")
        readings = teacher_signals(self.space, spec.teachers, self.config, self.job.base, in_memory=in_memory)
        return self.task.stored_teacher(self.train, readings, distillation, **place)

    def _train_epoch(self, at: Position, teacher: TeacherView | None, spec: GenerationSpec) -> EpochStats:
        number, counts = at.epochs, [len(steps) for steps in self.steps]
        per_generation, schedule = self.config.lineage.epochs_per_generation, (0, sum(counts))
        if self.config.lineage.student_init != "previous":
            first = (spec.index - 1) * per_generation
            schedule = (sum(counts[:first]), sum(counts[first : first + per_generation]))
        distillation = self.config.distillation
        label_weight, kd_weight = distillation.weights
        return train_epoch(
            self.engine,
            self.steps[number],
            features=self.task.of_epoch(self.train, self.steps[number], seed=self.config.seed, epoch=number),
            lengths=self.lengths,
            batching=self.config.training,
            compute_terms=loss_terms(self.task, distillation, padding=self.pad_to is not None),
            teacher=teacher,
            label_weight=label_weight,
            kd_weight=kd_weight if teacher is not None else 0.0,
            first_step=sum(counts[:number]),
            total_steps=sum(counts),
            schedule_steps=schedule,
            seed=self.config.seed,
            parts=self.task.parts,
            begun=at.begun,
            between=lambda done: self._between(at, done),
        )

    def _between(self, at: Position, done: Callable[[], Begun]) -> None:
        """Give a sign of life at the boundary of two steps, and save where it is time to."""
        self.space.pulse.moved()
        if self.checkpoints.is_due():
            begun = done()
            self._refuse_nan(begun.losses, at)
            self.checkpoints.save(self.engine, replace(at, begun=begun))

    def _refuse_nan(self, losses: list[list[float]], at: Position) -> None:
        where = f"generation {at.generation}, epoch {at.generation_epochs + 1}"
        refuse_nan(losses, where, steps=self.steps[at.epochs], ids=self.train.features.ids)

    def _dev_scores(self) -> tuple[float | None, dict[str, float]]:
        """The main score on the epoch sample, and what else is watched."""
        if self.config.evaluation.epoch_max_items == 0:
            return None, {}
        scores = score(self.space, self.engine, self.config, self.job.base, epoch_sample=True).scores
        return scores.main_value, dict(scores.watched)

    def _advance(
        self, at: Position, spec: GenerationSpec, records: list[GenerationRecord], dev_score: float | None
    ) -> Position:
        """The position after an epoch, its best student exported where asked for, its checkpoint saved."""
        best = at.best_artifact, at.best_score
        if self.config.lineage.teacher == "best" and (best[1] is None or dev_score > best[1]):
            recipe = {**self._recipe(spec, records), "epoch": at.epochs + 1}
            best = self._export(recipe, spec, dev_score)[0], dev_score
        after = Position(spec.index, at.generation_epochs + 1, at.epochs + 1, Begun(), *best)
        if after.epochs < len(self.steps):
            self.checkpoints.save(self.engine, after)
        return after

    def _report(
        self,
        spec: GenerationSpec,
        at: Position,
        stats: EpochStats,
        *,
        dev_score: float | None,
        watched: Mapping[str, float],
        teacher: TeacherView | None,
        started: float,
    ) -> EpochReport:
        label_loss, kd_loss, *parts = np.mean([row[1:] for row in stats.losses], axis=0).tolist()
        progress, weights = (at.epochs - 0.5) / len(self.steps), self.config.distillation.weights
        self.reported += 1
        elapsed = time.time() - started
        report = EpochReport(
            epoch=at.epochs,
            num_epochs=len(self.steps),
            generation=spec.index,
            loss=stats.mean_loss,
            label_loss=label_loss,
            kd_loss=kd_loss,
            parts=dict(zip(stats.parts, parts, strict=True)),
            label_weight=weight_at(weights[0], progress),
            kd_weight=weight_at(weights[1], progress),
            coefficient=teacher.mean_coefficient() if teacher is not None else None,
            dev_score=dev_score,
            watched=watched,
            examples_per_second=stats.num_examples / stats.seconds,
            tokens_per_second=stats.num_tokens / stats.seconds,
            train_seconds=stats.seconds,
            elapsed_seconds=elapsed,
            # Of those that this process did: it may have gone on from another one's.
            seconds_left=elapsed / self.reported * (len(self.steps) - at.epochs),
            gpu_memory_bytes=self.space.gpu_memory_bytes(),
            written=time.time(),
            teachers=spec.teachers,
            losses=stats.losses,
        )
        self._guard()
        if self.space.rank == 0:
            self.journal.epochs.write(self.job.point_id, report)
        return report

    def _recipe(self, spec: GenerationSpec, records: list[GenerationRecord]) -> dict[str, Any]:
        return {
            "kind": "generation",
            "point": self.job.recipe,
            "base": self.job.base,
            "generation": spec.index,
            "parents": [record.artifact for record in records],
            "data": self.train.sha256,
            "windows": self.train.features.sha256,
        }

    def _export(self, recipe: dict[str, Any], spec: GenerationSpec, dev_score: float | None) -> tuple[str, bool]:
        name, tokenizer = fingerprint(recipe), self.space.tokenizer(self.job.base)
        record = ArtifactRecord(
            **recipe, teachers=spec.teachers, dev_score=dev_score, tokenizer=tokenizer_hash(tokenizer)
        )
        self._guard()
        made = export(
            self.space, self.task, self.engine, name, record, tokenizer=tokenizer, probe=self.task.probe(self.train)
        )
        return name, made

    def _finish(self, records: list[GenerationRecord], seconds: float) -> None:
        """Score what the lineage delivers, write the result, and drop what nobody will ask for."""
        final, base = self.job.lineage(self.space.store).final(records), self.job.base
        self.space.pulse.begin("scoring", "scoring what the lineage delivers")
        if final == self.in_memory:
            scored = score(self.space, self.engine, self.config, base, epoch_sample=False)
        else:
            with frozen(self.space, self.config, final) as engine:
                scored = score(self.space, engine, self.config, base, epoch_sample=False)
        self._guard()
        if self.space.rank != 0:
            return
        result = PointResult(
            point=self.job.point_id,
            artifact=final,
            base=base,
            scores=scored.scores,
            generations=tuple(records),
            data=self.train.description,
            num_windows=len(self.train.features),
            num_workers=self.space.world_size,
            device=self.space.device.type,
            num_threads=self.space.num_threads,
            train_seconds=sum(report.train_seconds for report in self.journal.epochs.of(self.job.point_id)),
            seconds=seconds,
        )
        # A result promises the rest.
        self.journal.points.write_outcomes(self.job.point_id, scored.outcomes)
        self.journal.points.write_result(result)
        self.journal.heartbeats.forget(self.job.point_id)
        self.checkpoints.drop()
        made = {name for record in records for name in (record.artifact, record.best_artifact) if name} - {base}
        keep = {"none": set(), "last": {final}, "all": made}[self.config.lineage.keep]
        for name in made - keep:
            self.space.store.remove_weights(name)
        for name in made:
            # No other point has these teachers.
            signal_store(self.space, name, self.config, base).drop()

    def _free_live(self) -> None:
        for engine in self.live:
            engine.destroy()
        self.live = []

    def _free_student(self) -> None:
        if self.engine is not None:
            self.engine.destroy()
            self.engine = None
