"""A worker's process: what stays warm between points, and the passes without gradients over models and data."""

import contextlib
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from raykd.artifacts import Store, fingerprint, read_json, write_json
from raykd.config.point import Batching, ComputeConfig, EvaluationConfig, PointConfig
from raykd.data import smallworld
from raykd.data.sources import locate_model
from raykd.engine import Engine, EngineOptions, join_process_group
from raykd.errors import ArtifactError, DataError
from raykd.loop import MicroBatch, batches_for_inference
from raykd.models.qa import QAModel, load_qa_model, load_tokenizer, shrink, tiny_qa_model
from raykd.signals import SignalStore, average
from raykd.tasks.qa import OUTPUTS, align_signals, best_answers, cells_to_json, model_inputs, score_cells, spans_of
from raykd.tasks.qa_data import Cells, TrainData, first_of_cells, hash_examples, load_cells, load_items, load_train
from raykd.tasks.qa_features import QAFeatures, build_features, with_questions
from raykd.tasks.scoring import summarize

log = logging.getLogger(__name__)
T = TypeVar("T")
BUILTIN_TINY = "builtin:tiny"
CACHE_SIZE = 64
VERIFIED_WINDOWS = 4


@dataclass(frozen=True)
class TrainSet:
    """A point's windows, and what the teacher reads in their place (None: the same)."""

    data: TrainData
    features: QAFeatures
    seen: QAFeatures | None


@dataclass
class Workspace:
    """One worker process with its place in the process group.

    Attributes:
        store: where artifacts and signals live, the same for all workers.
        folder: the sweep file's folder, from which relative paths are found.
    """

    store: Store
    folder: Path
    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    cache: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)

    @classmethod
    def open(cls, store: Store, folder: Path, *, alone: bool, threads: int | None = None) -> "Workspace":
        """Join the process group (or make one of this process alone) and take a device."""
        if threads:
            torch.set_num_threads(threads)
        join_process_group(alone=alone)
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        distributed = torch.distributed
        return cls(store, folder, distributed.get_rank(), distributed.get_world_size(), device)

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        """The cached value of a key, or a fresh one; the least recently used are forgotten."""
        if key not in self.cache:
            self.cache[key] = make()
            while len(self.cache) > CACHE_SIZE:
                self.cache.popitem(last=False)
        self.cache.move_to_end(key)
        return self.cache[key]

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world_size > 1:
            torch.distributed.barrier()

    def from_rank_0(self, value: T) -> T:
        """What rank 0 passed, on every rank."""
        if self.world_size == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    # Models -----------------------------------------------------------------------------------------------------------

    def tokenizer(self, artifact: str) -> Any:
        """The tokenizer of an artifact."""
        return self.remember(("tokenizer", artifact), lambda: load_tokenizer(str(self.store.artifact(artifact))))

    def given_model(self, config: PointConfig) -> tuple[QAModel, Any]:
        """The model and tokenizer that `base` names, before any training."""
        base = config.base
        if base.model == BUILTIN_TINY:
            folder = self.store.root / "artifacts" / "tokenizer-small-world"
            if self.rank == 0 and not (folder / "tokenizer.json").is_file():
                smallworld.build_tokenizer(folder)
            self.barrier()
            tokenizer = load_tokenizer(str(folder))
            return tiny_qa_model(tokenizer, seed=base.train.seed if base.train else 0), tokenizer
        name = locate_model(base.model, folder=self.folder)
        torch.manual_seed(base.train.seed if base.train else 0)
        dropout = base.train.dropout if base.train else None
        model = load_qa_model(name, gguf_file=base.gguf_file, bidirectional=base.bidirectional, dropout=dropout)
        return model, load_tokenizer(name, gguf_file=base.gguf_file)

    def load(self, artifact: str, *, dropout: float | None = None) -> QAModel:
        """The model of an artifact, in float32 on the CPU.

        Raises:
            ArtifactError: if it is not what its record says.
        """
        self.remember(("verified", artifact), lambda: self.store.verify(artifact))
        return load_qa_model(str(self.store.artifact(artifact)), dropout=dropout)

    def first_student(self, config: PointConfig, base: str) -> QAModel:
        """The student of generation 1: generation 0 itself, fewer of its layers, or another model with its tokenizer."""
        dropout = config.training.dropout
        if config.student.model:
            name = locate_model(config.student.model, folder=self.folder)
            same_tokenizer(base, self.tokenizer(base), name, load_tokenizer(name))
            return load_qa_model(name, dropout=dropout)
        model = self.load(base, dropout=dropout)
        return shrink(model, config.student.num_layers) if config.student.num_layers else model

    @contextlib.contextmanager
    def frozen(self, artifact: str, config: PointConfig) -> Iterator[Engine]:
        """An artifact as a frozen engine, gone after the block."""
        engine = Engine(self.load(artifact), engine_options(config.training, config.compute), frozen=True)
        try:
            yield engine
        finally:
            engine.destroy()

    def export(self, engine: Engine, name: str, recipe: dict[str, Any], *, tokenizer: Any, probe: QAFeatures) -> None:
        """Turn the engine's model into an artifact: write it, load it back, compare its outputs, record it.

        Every rank must call it. Where the artifact is there already, nothing happens.

        Raises:
            ArtifactError: if what was written does not answer as the model in memory does.
        """
        if self.from_rank_0(self.store.has(name)):
            return
        windows = np.arange(min(len(probe), VERIFIED_WINDOWS))
        batch = self.to_device(probe.collate(windows))
        engine.eval()
        with torch.no_grad():
            expected = engine(**model_inputs(batch)).start_logits
        weights = engine.weights()
        if self.rank == 0:
            with self.store.committing(name, lambda: recipe) as folder:
                engine.model.save_pretrained(folder, state_dict=weights)
                tokenizer.save_pretrained(folder)
                self._same_answers(folder, batch, expected, bf16=engine.options.precision == "bf16")
        self.barrier()

    def _same_answers(self, folder: Path, batch: dict[str, Tensor], expected: Tensor, *, bf16: bool) -> None:
        reloaded = load_qa_model(str(folder)).to(self.device).eval()
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            again = reloaded(**model_inputs(batch)).start_logits
        tolerance = 0.05 if bf16 else 1e-3
        difference = float((again.float() - expected.float()).abs().max())
        if not difference <= tolerance * max(1.0, float(expected.float().abs().max())):
            raise ArtifactError(f"{folder}: the exported model answers differently: logits are off by up to {difference:.3g}")

    # Data -------------------------------------------------------------------------------------------------------------

    def train_set(self, config: PointConfig, base: str) -> TrainSet:
        """The windows of a point; points with the same data and tokenizer share them."""
        recipe = config.data.model_dump_json(), config.data_seed, base
        return self.remember(("train", recipe), lambda: self._train_set(config, base))

    def _train_set(self, config: PointConfig, base: str) -> TrainSet:
        items = self._items(config)[0]
        data = load_train(config.data, seed=config.data_seed, folder=self.folder, items=items)
        tokenizer, options = self.tokenizer(base), feature_options(config)
        features = build_features(data.examples, tokenizer, no_answer=config.data.no_answer, **options)
        seen = None
        if data.teacher_questions is not None:
            most = config.data.max_question_length
            seen = with_questions(features, data.teacher_questions, tokenizer, max_question_length=most)
        return TrainSet(data, features, seen)

    def _items(self, config: PointConfig) -> tuple[Any, str]:
        def load() -> tuple[Any, str]:
            items = load_items(config.data, folder=self.folder)
            return items, hash_examples([example for item in items.values() for example in item.values()])

        return self.remember(("items", config.data.train, config.data.languages), load)

    def dev_set(self, config: EvaluationConfig, features: dict[str, int], base: str) -> tuple[Cells, list, QAFeatures]:
        """Cells, their examples end to end, and the windows of all of them."""

        def load() -> tuple[Cells, list, QAFeatures]:
            cells = load_cells(config, folder=self.folder)
            examples = [example for cell in cells.values() for example in cell]
            return cells, examples, build_features(examples, self.tokenizer(base), no_answer="keep", **features)

        return self.remember(("dev", config, tuple(features.items()), base), load)

    def to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch on this worker's device."""
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    # Passes without gradients ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def outputs(self, forward: Engine, features: QAFeatures, *, tokens: int) -> Iterator[tuple[MicroBatch, dict[str, Tensor], Any]]:
        """Forward this rank's share of the windows in batches of at most `tokens`; idle turns yield nothing."""
        forward.eval()
        for micro in batches_for_inference(features.lengths, tokens=tokens, rank=self.rank, world_size=self.world_size):
            batch = self.to_device(features.collate(micro.indices))
            outputs = forward(**model_inputs(batch))
            if not micro.idle:
                yield micro, batch, outputs

    def score(self, forward: Engine, config: PointConfig, base: str, *, epoch_sample: bool) -> dict[str, Any]:
        """Score a model on the cells of the dev set, or on the smaller sample that is scored after every epoch.

        Returns:
            `xlt`, `gxlt`, `gxlt_off_diagonal` for F1 and EM, and `cells`: "question-context" -> scores, in percent.
        """
        evaluation = config.evaluation
        cells, examples, features = self.dev_set(evaluation, feature_options(config), base)
        numbers = dict(zip(map(id, examples), range(len(examples)), strict=True))
        if epoch_sample and evaluation.epoch_max_items is not None:
            cells = first_of_cells(cells, evaluation.epoch_max_items)
        scored = {cell: [numbers[id(example)] for example in members] for cell, members in cells.items()}
        wanted = np.isin(features.example, [number for members in scored.values() for number in members])
        chosen = features if wanted.all() else features.take(np.flatnonzero(wanted))
        spans: list[tuple[int, float, int, int]] = []
        for micro, batch, outputs in self.outputs(forward, chosen, tokens=evaluation.batch_tokens):
            spans += spans_of(outputs, batch, micro.indices, max_answer_tokens=evaluation.max_answer_tokens)
        if self.world_size > 1:
            gathered: list[Any] = [None] * self.world_size
            torch.distributed.all_gather_object(gathered, spans)
            spans = [span for share in gathered for span in share]
        scores = score_cells(scored, best_answers(chosen, examples, spans), examples, evaluation)
        return {**summarize(scores), "cells": cells_to_json(scores)}

    def signals(
        self, teachers: tuple[str, ...], config: PointConfig, base: str, train: TrainSet, *, in_memory: tuple[str, Engine] | None
    ) -> dict[str, Tensor]:
        """Mean signals of the teachers over a point's windows, laid out as the student's tokens.

        What is not stored yet is computed first, by the engine in memory where it holds that teacher.
        """
        seen = train.seen or train.features
        means = []
        for teacher in teachers:
            store = self.signal_store(teacher, config, base)
            missing = self.from_rank_0(store.missing(seen.ids))
            if len(missing):
                started = time.perf_counter()
                part = seen.take(missing)
                if in_memory and in_memory[0] == teacher:
                    self._compute_signals(in_memory[1], part, store, config.evaluation.batch_tokens)
                else:
                    with self.frozen(teacher, config) as engine:
                        self._compute_signals(engine, part, store, config.evaluation.batch_tokens)
                log.info("signals of %s: %d windows in %.1f s", teacher, len(missing), time.perf_counter() - started)
            means.append(store.read(seen.ids, seen.lengths))
        signals = means[0] if len(means) == 1 else average(means)
        return signals if train.seen is None else align_signals(signals, train.seen, train.features)

    def signal_store(self, teacher: str, config: PointConfig, base: str) -> SignalStore:
        """Where a teacher's signals over the windows of this source, tokenizer and view are."""
        data = config.data
        recipe = {
            "teacher": teacher,
            "items": self._items(config)[1],
            "tokenizer": tokenizer_hash(self.tokenizer(base)),
            "windows": feature_options(config),
            "view": [data.teacher_view, config.data_seed if data.teacher_view != "same" else None],
            "precision": config.compute.precision,
        }
        return SignalStore(self.store.signals(fingerprint(recipe)))

    def _compute_signals(self, forward: Engine, features: QAFeatures, store: SignalStore, tokens: int) -> None:
        rows: list[int] = []
        pieces: dict[str, list[Tensor]] = {name: [] for name in OUTPUTS}
        for micro, _, outputs in self.outputs(forward, features, tokens=tokens):
            rows += micro.indices.tolist()
            for name, logits in (("start", outputs.start_logits), ("end", outputs.end_logits)):
                host = logits.float().cpu()
                pieces[name] += [host[row, : features.lengths[index]] for row, index in enumerate(micro.indices)]
        if rows:
            arrays = {name: torch.cat(parts) for name, parts in pieces.items()}
            store.write([features.ids[row] for row in rows], features.lengths[rows].tolist(), arrays)
        self.barrier()

    def base_score(self, base: str, config: PointConfig) -> dict[str, Any]:
        """Scores of generation 0, `final` and `epoch` sample, taken once for all points that share them."""
        path = self.store.root / "scores" / f"{score_name(base, config)}.json"
        if not self.from_rank_0(path.is_file()):
            with self.frozen(base, config) as engine:
                scores = {"final": self.score(engine, config, base, epoch_sample=False)}
                if config.evaluation.epoch_max_items != 0:
                    scores["epoch"] = self.score(engine, config, base, epoch_sample=True)
            if self.rank == 0:
                write_json(path, {"base": base, "model": config.base.model, **scores})
            self.barrier()
        return read_json(path)


def base_scores(store: Store, base: str, config: PointConfig) -> dict[str, Any]:
    """What `Workspace.base_score` wrote.

    Raises:
        ArtifactError: if generation 0 was not scored.
    """
    return read_json(store.root / "scores" / f"{score_name(base, config)}.json")


def score_name(base: str, config: PointConfig) -> str:
    """Fingerprint of scoring generation 0 on a dev set."""
    evaluation = config.evaluation.model_dump(mode="json", exclude={"batch_tokens"})
    return fingerprint({"base": base, "evaluation": evaluation, "windows": feature_options(config), "precision": config.compute.precision})


def feature_options(config: PointConfig) -> dict[str, int]:
    """How examples are cut into windows."""
    data = config.data
    return {"max_length": data.max_length, "stride": data.stride, "max_question_length": data.max_question_length}


def engine_options(batching: Batching, compute: ComputeConfig) -> EngineOptions:
    """What an engine needs of the sweep file."""
    return EngineOptions(
        zero_stage=compute.zero_stage,
        offload=compute.offload,
        precision=compute.precision,
        learning_rate=batching.learning_rate,
        weight_decay=batching.weight_decay,
        adam_epsilon=batching.adam_epsilon,
        max_grad_norm=batching.max_grad_norm,
    )


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 of a fast tokenizer's whole state but its truncation and padding settings."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return hashlib.sha256(backend.to_str().encode()).hexdigest()


def same_tokenizer(teacher: str, teacher_tokenizer: Any, student: str, student_tokenizer: Any) -> None:
    """Refuse a student that would read other tokens than its teacher.

    Raises:
        DataError: naming both sides.
    """
    sides = tokenizer_hash(teacher_tokenizer), tokenizer_hash(student_tokenizer)
    if sides[0] != sides[1]:
        raise DataError(
            f"student.model {student} has another tokenizer ({len(student_tokenizer)} pieces, {sides[1][:8]}) than its "
            f"teacher {teacher} ({len(teacher_tokenizer)} pieces, {sides[0][:8]}): signals would not line up"
        )
