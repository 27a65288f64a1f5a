"""The worker loop of a point and the preparation of what points share: unpack, build, resume, train, report."""

import logging
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from raykd.artifacts import Store, fingerprint, read_json, write_json
from raykd.config.point import Batching, LabelTraining, PointConfig
from raykd.engine import Engine
from raykd.errors import TrainingError
from raykd.journal import Journal
from raykd.lineage import GenerationRecord, GenerationSpec, Lineage
from raykd.loop import EpochStats, TeacherView, Terms, order_epoch, train_epoch
from raykd.tasks.qa import LiveTeacher, StoredTeacher, TeacherSignals, kd_term, label_term, model_inputs
from raykd.tasks.qa_data import hash_examples, load_labelled
from raykd.tasks.qa_features import QAFeatures, build_features
from raykd.workspace import Workspace, base_scores, engine_options, feature_options, tokenizer_hash

log = logging.getLogger(__name__)
Ask = Callable[[Sequence[GenerationRecord]], GenerationSpec | None]


@dataclass(frozen=True)
class Job:
    """A point to run: its id, its configuration and the recipe of what it is (all that its artifacts depend on)."""

    point_id: str
    config: PointConfig
    recipe: dict[str, Any]
    base: str

    def lineage(self, store: Store) -> Lineage:
        """The rules that the driver of this point follows; generation 0 must have been scored."""
        scores = base_scores(store, self.base, self.config)
        return Lineage(self.config.lineage, self.base, scores.get("epoch", {}).get("gxlt_f1"))


@dataclass(frozen=True)
class Position:
    """Where a checkpoint stands: so many epochs of a generation are done, and so many of the lineage."""

    generation: int
    generation_epochs: int
    epochs: int
    best: tuple[str, float] | None


def make_base(space: Workspace, config: PointConfig, name: str) -> None:
    """Make generation 0: take the given model, or train it on labels."""
    if space.from_rank_0(space.store.has(name)):
        return
    model, tokenizer = space.given_model(config)
    recipe = {"kind": "base", "config": config.base.model_dump(mode="json"), "tokenizer": tokenizer_hash(tokenizer)}
    if config.base.train is None:
        if space.rank == 0:
            with space.store.committing(name, lambda: recipe) as folder:
                model.save_pretrained(folder, state_dict=model.state_dict())
                tokenizer.save_pretrained(folder)
        space.barrier()
        return
    train = config.base.train
    examples = load_labelled(train, folder=space.folder)
    features = build_features(examples, tokenizer, no_answer="drop", **feature_options(config))
    engine = _engine(model, train, config)
    steps = [order_epoch(_widths(features, train, config), train, seed=train.seed, epoch=epoch) for epoch in range(train.epochs)]
    total = sum(len(each) for each in steps)
    done = 0
    for epoch, each in enumerate(steps):
        stats = _epoch(space, engine, each, features, train, config, None, first=done, total=total, schedule=(0, total), seed=train.seed)
        done += len(each)
        log.info("base teacher: epoch %d/%d, loss %.4f, %.1f examples/s", epoch + 1, train.epochs, stats.mean_loss, _speed(stats))
    _refuse_nan(stats, "base teacher")
    recipe |= {"data": hash_examples(examples), "loss": stats.mean_loss}
    space.export(engine, name, recipe, tokenizer=tokenizer, probe=features)
    engine.destroy()


def prepare(space: Workspace, base: str, configs: Sequence[PointConfig]) -> Iterator[str]:
    """Make what points with one base teacher share: the teacher, its scores, its signals. Yields a line for each."""
    make_base(space, configs[0], base)
    yield f"generation 0 is ready ({configs[0].base.model})"
    for config in {score_key(config): config for config in configs}.values():
        scores = space.base_score(base, config)["final"]
        yield f"generation 0 scores XLT F1 {scores['xlt_f1']:.1f}, G-XLT F1 {scores['gxlt_f1']:.1f}"
    for config in configs:
        if config.distillation.uses_teacher and config.distillation.signals == "stored":
            train = space.train_set(config, base)
            with_engine = space.signal_store(base, config, base).missing((train.seen or train.features).ids)
            if len(with_engine):
                space.signals((base,), config, base, train, in_memory=None)
                yield f"signals of generation 0 over {len(with_engine)} windows are stored"


def score_key(config: PointConfig) -> str:
    """Equal for points that score generation 0 alike."""
    return config.evaluation.model_dump_json() + config.compute.precision + str(feature_options(config))


class PointRun:
    """One point on one rank, from its first generation, or from where its checkpoint stands, to its result."""

    def __init__(self, space: Workspace, job: Job) -> None:
        self.space, self.job, self.config = space, job, job.config
        self.journal = Journal(space.store)
        self.train = space.train_set(self.config, job.base)
        self.features = self.train.features
        self.widths = _widths(self.features, self.config.training, self.config)
        lineage = self.config.lineage
        self.steps = [
            order_epoch(self.widths, self.config.training, seed=self.config.seed, epoch=epoch)
            for epoch in range(lineage.num_generations * lineage.epochs_per_generation)
        ]
        self.engine: Engine | None = None
        self.in_memory: str | None = None
        self.live: list[Engine] = []

    def run(self, ask: Ask) -> Iterator[dict[str, Any]]:
        """Walk the generations that the driver names; yields a report after every epoch.

        Args:
            ask: hands the driver the records of the finished generations and returns what comes next. Called on rank 0
                alone.
        """
        started = time.time()
        records, position = load_progress(self.space.store, self.job.point_id, self.config)
        try:
            spec = self._ask(ask, records)
            while spec is not None:
                record = yield from self._generation(spec, records, position, started)
                records, position = [*records, record], None
                if self.space.rank == 0:
                    write_json(self._folder / "generations.json", [each.to_json() for each in records])
                spec = self._ask(ask, records)
            self._finish(records, time.time() - started)
        finally:
            self._free_engine()

    def _ask(self, ask: Ask, records: Sequence[GenerationRecord]) -> GenerationSpec | None:
        return self.space.from_rank_0(ask(records) if self.space.rank == 0 else None)

    @property
    def _folder(self) -> Path:
        return self.space.store.point(self.job.point_id)

    def _generation(
        self, spec: GenerationSpec, records: list[GenerationRecord], position: Position | None, started: float
    ) -> Iterator[dict[str, Any]]:
        config, per_generation = self.config, self.config.lineage.epochs_per_generation
        self._start(spec, position)
        resumed = position is not None and position.generation == spec.index
        done = position.generation_epochs if resumed else 0
        best = position.best if resumed else None
        teacher = self._teacher(spec) if done < per_generation else None
        score = None
        for epoch in range(done, per_generation):
            number = (spec.index - 1) * per_generation + epoch
            stats = self._train(number, teacher, spec)
            _refuse_nan(stats, f"generation {spec.index}, epoch {epoch + 1}")
            self.in_memory = None
            score = self._dev_score()
            if config.lineage.teacher == "best" and (best is None or score > best[1]):
                name = fingerprint({**self._recipe(spec, records), "epoch": number + 1})
                self._export(name, spec, records, score)
                best = (name, score)
            last = epoch + 1 == per_generation
            if config.compute.checkpoints and not (last and spec.index == config.lineage.num_generations):
                self._save(Position(spec.index, epoch + 1, number + 1, best))
            yield self._report(spec, number, stats, score, teacher, started)
        self._free_live()
        name = fingerprint(self._recipe(spec, records))
        self._export(name, spec, records, score)
        self.in_memory = name
        return GenerationRecord(spec.index, name, score, *(best or (None, None)))

    def _start(self, spec: GenerationSpec, position: Position | None) -> None:
        """Put the student of a generation into memory: it is there, in the checkpoint, or in an artifact."""
        if spec.start == "continue" and self.engine is not None:
            return
        self._free_engine()
        dropout = self.config.training.dropout
        if spec.start_from:
            model = self.space.load(spec.start_from, dropout=dropout)
        else:
            model = self.space.first_student(self.config, self.job.base)
        self.engine = _engine(model, self.config.training, self.config)
        whole = spec.start_from is None and self.config.student == type(self.config.student)()
        self.in_memory = spec.start_from or (self.job.base if whole else None)
        if position is not None and (position.generation == spec.index or spec.start == "continue"):
            self.engine.load(self._checkpoint(position))
            self.in_memory = None

    def _teacher(self, spec: GenerationSpec) -> TeacherView | None:
        distillation = self.config.distillation
        if not distillation.uses_teacher:
            return None
        pad_to = self.config.data.max_length if self.config.training.pad_to_max else None
        if distillation.signals == "live":
            self.live = [
                Engine(self.space.load(name), engine_options(self.config.training, self.config.compute), frozen=True)
                for name in spec.teachers
            ]
            forward = self.live[0] if len(self.live) == 1 else _Mean(self.live)
            return LiveTeacher(forward, self.features, self.train.seen, distillation, device=self.space.device, pad_to=pad_to)
        in_memory = (self.in_memory, self.engine) if self.in_memory else None
        signals = self.space.signals(spec.teachers, self.config, self.job.base, self.train, in_memory=in_memory)
        return StoredTeacher(self.features, signals, distillation, device=self.space.device, pad_to=pad_to)

    def _train(self, number: int, teacher: TeacherView | None, spec: GenerationSpec) -> EpochStats:
        counts = [len(each) for each in self.steps]
        per_generation = self.config.lineage.epochs_per_generation
        schedule = (0, sum(counts))
        if self.config.lineage.student_init != "previous":
            first = (spec.index - 1) * per_generation
            schedule = (sum(counts[:first]), sum(counts[first : first + per_generation]))
        return _epoch(
            self.space, self.engine, self.steps[number], self.features, self.config.training, self.config, teacher,
            first=sum(counts[:number]), total=sum(counts), schedule=schedule, seed=self.config.seed,
        )  # fmt: skip

    def _dev_score(self) -> float | None:
        if self.config.evaluation.epoch_max_items == 0:
            return None
        return self.space.score(self.engine, self.config, self.job.base, epoch_sample=True)["gxlt_f1"]

    def _report(
        self, spec: GenerationSpec, number: int, stats: EpochStats, score: float | None, teacher: TeacherView | None, started: float
    ) -> dict[str, Any]:
        coefficient = float(teacher.coefficients.mean()) if isinstance(teacher, StoredTeacher) else None
        report = {
            "epoch": number + 1,
            "num_epochs": len(self.steps),
            "generation": spec.index,
            "loss": stats.mean_loss,
            "label": float(np.mean([row[1] for row in stats.losses])),
            "kd": float(np.mean([row[2] for row in stats.losses])),
            "coefficient": coefficient,
            "dev_score": score,
            "examples_per_second": _speed(stats),
            "tokens_per_second": stats.num_tokens / max(stats.seconds, 1e-9),
            "train_seconds": stats.seconds,
            "elapsed_seconds": time.time() - started,
        }
        if self.space.rank == 0:
            self.journal.write_epoch(self.job.point_id, number + 1, {**report, "losses": stats.losses, "teachers": list(spec.teachers)})
        return report

    def _recipe(self, spec: GenerationSpec, records: list[GenerationRecord]) -> dict[str, Any]:
        return {
            "kind": "generation",
            "point": self.job.recipe,
            "base": self.job.base,
            "generation": spec.index,
            "parents": [record.artifact for record in records],
            "data": self.train.data.sha256,
            "windows": self.features.sha256,
        }

    def _export(self, name: str, spec: GenerationSpec, records: list[GenerationRecord], score: float | None) -> None:
        tokenizer = self.space.tokenizer(self.job.base)
        recipe = {**self._recipe(spec, records), "teachers": list(spec.teachers), "dev_score": score, "tokenizer": tokenizer_hash(tokenizer)}
        self.space.export(self.engine, name, recipe, tokenizer=tokenizer, probe=self.features)

    def _checkpoint(self, position: Position) -> Path:
        return self._folder / "checkpoints" / f"epoch-{position.epochs:04d}"

    def _save(self, position: Position) -> None:
        folder = self._checkpoint(position)
        if self.space.rank == 0:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self.space.barrier()
        self.engine.save(folder, position={})
        self.space.barrier()
        if self.space.rank == 0:
            write_json(folder / "position.json", {**vars(position), "world_size": self.space.world_size})
            for other in folder.parent.glob("epoch-*"):
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
        self.space.barrier()

    def _finish(self, records: list[GenerationRecord], seconds: float) -> None:
        """Score what the lineage delivers, write the result, and drop what nobody will ask for."""
        final = self.job.lineage(self.space.store).final(records)
        if final == self.in_memory:
            scores = self.space.score(self.engine, self.config, self.job.base, epoch_sample=False)
        else:
            with self.space.frozen(final, self.config) as engine:
                scores = self.space.score(engine, self.config, self.job.base, epoch_sample=False)
        if self.space.rank != 0:
            return
        epochs = list(self.journal.epochs(self.job.point_id))
        result = {
            "point": self.job.point_id,
            "artifact": final,
            "base": self.job.base,
            "scores": scores,
            "generations": [record.to_json() for record in records],
            "data": self.train.data.description(),
            "num_windows": len(self.features),
            "num_workers": self.space.world_size,
            "train_seconds": sum(epoch["train_seconds"] for epoch in epochs),
            "seconds": seconds,
        }
        self.journal.write_result(self.job.point_id, result)
        shutil.rmtree(self._folder / "checkpoints", ignore_errors=True)
        self._drop_weights(records, final)

    def _drop_weights(self, records: list[GenerationRecord], final: str) -> None:
        keep = {"all": None, "last": {final}, "none": set()}[self.config.lineage.keep]
        if keep is None:
            return
        made = {record.artifact for record in records} | {record.best_artifact for record in records if record.best_artifact}
        for name in made - keep - {self.job.base}:
            self.space.store.remove_weights(name)

    def _free_live(self) -> None:
        for engine in self.live:
            engine.destroy()
        self.live = []

    def _free_engine(self) -> None:
        self._free_live()
        if self.engine is not None:
            self.engine.destroy()
            self.engine = None


def load_progress(store: Store, point_id: str, config: PointConfig) -> tuple[list[GenerationRecord], Position | None]:
    """The finished generations of a point and its newest checkpoint, as far as they can be gone on from."""
    folder = store.point(point_id)
    path = folder / "generations.json"
    records = [GenerationRecord(**record) for record in read_json(path)] if path.is_file() else []
    records = records[: next((place for place, record in enumerate(records) if not store.has(record.artifact)), len(records))]
    positions = []
    for path in folder.glob("checkpoints/epoch-*/position.json"):
        saved = read_json(path)
        if saved.pop("world_size") == config.compute.num_workers:
            best = saved.pop("best")
            positions.append(Position(**saved, best=tuple(best) if best else None))
    position = max(positions, key=lambda each: each.epochs, default=None)
    if position is not None and position.generation not in (len(records), len(records) + 1):
        position = None
    if config.lineage.student_init == "previous" and records and position is None:
        # Its optimiser is gone: the student cannot go on where it was.
        if len(records) < config.lineage.num_generations:
            return [], None
    return records, position


class _Mean:
    """The mean logits of several teachers."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = engines

    def __call__(self, **inputs: Any) -> Any:
        outputs = [engine(**inputs) for engine in self.engines]
        first = outputs[0]
        first.start_logits = sum(each.start_logits.float() for each in outputs) / len(outputs)
        first.end_logits = sum(each.end_logits.float() for each in outputs) / len(outputs)
        return first


def _engine(model: Any, batching: Batching, config: PointConfig) -> Engine:
    if batching.freeze_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    return Engine(model, engine_options(batching, config.compute))


def _widths(features: QAFeatures, batching: Batching, config: PointConfig) -> np.ndarray:
    return np.full(len(features), config.data.max_length) if batching.pad_to_max else features.lengths


def _epoch(
    space: Workspace,
    engine: Engine,
    steps: Sequence[np.ndarray],
    features: QAFeatures,
    batching: Batching | LabelTraining,
    config: PointConfig,
    teacher: TeacherView | None,
    *,
    first: int,
    total: int,
    schedule: tuple[int, int],
    seed: int,
) -> EpochStats:
    pad_to = config.data.max_length if batching.pad_to_max else None
    distillation = config.distillation

    def terms(model: Engine, batch: dict[str, Any], signals: TeacherSignals | None) -> Terms:
        outputs = model(**model_inputs(batch))
        kd = kd_term(outputs, batch, signals, distillation, padding=pad_to is not None) if signals is not None else None
        return Terms(label_term(outputs, batch), kd)

    return train_epoch(
        engine,
        steps,
        lengths=_widths(features, batching, config),
        batching=batching,
        collate=lambda indices: features.collate(indices, pad_to=pad_to),
        compute_terms=terms,
        teacher=teacher,
        label_weight=distillation.label_weight if teacher is not None or not isinstance(batching, LabelTraining) else 1.0,
        kd_weight=distillation.kd_weight if teacher is not None else 0.0,
        first_step=first,
        total_steps=total,
        schedule_steps=schedule,
        seed=seed,
    )


def _speed(stats: EpochStats) -> float:
    return stats.num_examples / max(stats.seconds, 1e-9)


def _refuse_nan(stats: EpochStats, where: str) -> None:
    bad = next((step for step, row in enumerate(stats.losses) if not all(map(math.isfinite, row))), None)
    if bad is not None:
        raise TrainingError(f"{where}: the loss of step {bad + 1} is not a number; lower training.learning_rate or use float32")
