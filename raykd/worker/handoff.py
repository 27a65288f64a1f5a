"""Models in and out of artifacts: what a generation starts from, and the transaction that ends it."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.config.identity import Identity
from raykd.config.point import ComputeConfig, PointBase, VocabularyConfig
from raykd.config.training import Batching
from raykd.data.texts import read_texts
from raykd.errors import ArtifactError
from raykd.models.cpu import use_cpu_kernels
from raykd.models.qa import load_tokenizer, shrink
from raykd.models.trim import trim_model
from raykd.models.vocabulary import Coverage, check_coverage, coverage, needed_pieces, trim_tokenizer
from raykd.results.artifacts import ArtifactRecord
from raykd.results.models import fetch_model
from raykd.tasks import task_of
from raykd.tasks.readers import reference
from raykd.tasks.task import Features, Task
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine, EngineOptions

BUILTIN_TINY = "builtin:tiny"
VERIFIED_WINDOWS = 4
LOGIT_TOLERANCE = {"float32": 1e-3, "bf16": 0.05}
"""How far a reloaded model's logits may be off, relative to the largest one."""


def given_model(context: WorkerContext, config: PointBase) -> tuple[Any, Any]:
    """The model and tokenizer that `base` names, before any training."""
    models, train = task_of(config).model, config.label_training
    seed = train.seed if train else 0
    torch.manual_seed(seed)
    items = context.items(config).all
    if config.base.model == BUILTIN_TINY:
        tokenizer = _tiny_tokenizer(context, config)
        return models.tiny(config, tokenizer, items=items, seed=seed), tokenizer
    return models.given(config, str(fetch_model(config.base.model, folder=context.folder)), items=items)


def given_teacher(context: WorkerContext, config: PointBase, name: str) -> tuple[Any, Any]:
    """The model and tokenizer of a teacher that the file names."""
    teachers = task_of(config).given_teachers
    if name == BUILTIN_TINY:
        tokenizer = _tiny_tokenizer(context, config)
        return teachers.tiny(config, tokenizer), tokenizer
    place = str(fetch_model(name, folder=context.folder))
    return teachers.given(config, place), load_tokenizer(place)


def _tiny_tokenizer(context: WorkerContext, config: PointBase) -> Any:
    """The tokenizer of the built-in world, made once."""
    store, name = context.store, f"tokenizer-{config.task}"
    if context.rank == 0 and not store.has(name):
        with store.committing(name, lambda: ArtifactRecord(kind="tokenizer")) as folder:
            task_of(config).model.build_tiny_tokenizer(folder)
    context.barrier()
    return load_tokenizer(str(store.artifact(name)))


def load(context: WorkerContext, config: PointBase, artifact: str, *, dropout: float | None = None) -> Any:
    """The model of an artifact, in float32 on the CPU.

    Raises:
        ArtifactError: if it is not what its record says.
    """
    context.remember(("verified", artifact), lambda: context.store.verify(artifact))
    return task_of(config).model.load(str(context.store.artifact(artifact)), dropout=dropout)


def first_student(context: WorkerContext, point: Identity) -> tuple[Any, Any, Coverage | None]:
    """The first student and its tokenizer, before any training: what the `student` section makes of generation 0, or of
    another model; and of a trimmed vocabulary what it covers.

    Raises:
        DataError: if the other model cannot be had, does not have the layers that are wanted, or the vocabulary that is
            left does not cover a language.
    """
    config, models = point.config, task_of(point.config).model
    student = config.student
    torch.manual_seed(config.seed)
    if student.model:
        place = str(fetch_model(student.model, folder=context.folder))
        model = models.student(config, place, base=context.store.artifact(point.base))
        tokenizer = load_tokenizer(place)
    else:
        model, tokenizer = load(context, config, point.base), context.tokenizer(point.base)
    if student.num_layers:
        model = shrink(model, student.num_layers, which=student.layers)
    if student.new_head:
        models.renew_head(model)
    if student.vocabulary is None:
        return model, tokenizer, None
    texts = _vocabulary_texts(context, config, student.vocabulary)
    kept = needed_pieces(tokenizer, texts, max_pieces=student.vocabulary.max_pieces)
    trimmed = trim_tokenizer(tokenizer, kept)
    found = coverage(tokenizer, trimmed, task_of(config).data.texts(config, context.items(config).all))
    check_coverage(found)
    trim_model(model, kept)
    return model, trimmed, found


def _vocabulary_texts(
    context: WorkerContext, config: PointBase, section: VocabularyConfig
) -> Mapping[str, Sequence[str]]:
    """The texts whose pieces are kept, by language."""
    if section.texts == "data":
        return task_of(config).data.texts(config, context.items(config).all)
    return read_texts(reference(section.texts), languages=config.vocabulary_languages, folder=context.folder)


def build_engine(model: Any, batching: Batching, compute: ComputeConfig) -> Engine:
    """A student under training."""
    if batching.freeze_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    use_cpu_kernels(model)
    return Engine(model, engine_options(batching, compute))


def build_frozen(context: WorkerContext, config: PointBase, artifact: str) -> Engine:
    """An artifact as a frozen engine; the caller destroys it."""
    model = load(context, config, artifact)
    use_cpu_kernels(model)
    return Engine(model, engine_options(config.training, config.compute), frozen=True)


@contextlib.contextmanager
def frozen(context: WorkerContext, config: PointBase, artifact: str) -> Iterator[Engine]:
    """An artifact as a frozen engine, gone after the block."""
    engine = build_frozen(context, config, artifact)
    try:
        yield engine
    finally:
        engine.destroy()


def export(
    context: WorkerContext,
    task: Task,
    engine: Engine,
    name: str,
    record: ArtifactRecord,
    *,
    tokenizer: Any,
    probe: Features,
) -> bool:
    """Turn an engine's model into an artifact: write it, load it back, compare its outputs, record it.

    Every rank must call it.

    Args:
        record: how the model was made.

    Returns:
        Whether the artifact was made; False where it was there already, and nothing happened.

    Raises:
        ArtifactError: if what was written does not answer as the model in memory does.
    """
    if context.from_rank_0(context.store.has(name)):
        return False
    snapshot = Snapshot.of(context, task, engine, probe)
    snapshot.write(context, task, engine, name, record, tokenizer=tokenizer)
    return True


@dataclass(frozen=True)
class Snapshot:
    """A model as it is at one moment.

    Attributes:
        weights: on rank 0 alone.
        batch, expected: what it answers to.
    """

    weights: Mapping[str, Tensor]
    batch: dict[str, Tensor]
    expected: dict[str, Tensor]

    @classmethod
    def of(cls, context: WorkerContext, task: Task, engine: Engine, probe: Features) -> "Snapshot":
        """That of an engine; every rank must call it."""
        batch = context.to_device(probe.collate(np.arange(min(len(probe), VERIFIED_WINDOWS))))
        engine.eval()
        with torch.no_grad():
            expected = task.learning.signals(engine(**task.model.inputs(batch)))
        return cls(engine.weights(), batch, expected)

    def write(
        self,
        context: WorkerContext,
        task: Task,
        engine: Engine,
        name: str,
        record: ArtifactRecord,
        *,
        tokenizer: Any,
    ) -> None:
        """Make it an artifact; every rank must call it.

        Args:
            engine: of the same model, whatever its weights are now.

        Raises:
            ArtifactError: if what was written does not answer as the model did.
        """
        if context.rank == 0:
            with context.store.committing(name, lambda: record) as folder:
                engine.model.save_pretrained(folder, state_dict=dict(self.weights))
                tokenizer.save_pretrained(folder)
                precision = engine.options.precision
                _same_answers(context, task, folder, self.batch, self.expected, precision=precision)
        context.barrier()


def _same_answers(
    context: WorkerContext,
    task: Task,
    folder: Path,
    batch: dict[str, Tensor],
    expected: dict[str, Tensor],
    *,
    precision: str,
) -> None:
    reloaded = task.model.load(str(folder)).to(context.device).eval()
    with torch.no_grad(), torch.autocast(context.device.type, torch.bfloat16, enabled=precision == "bf16"):
        again = task.learning.signals(reloaded(**task.model.inputs(batch)))
    for name, values in expected.items():
        difference = float((again[name] - values).abs().max())
        if not difference <= LOGIT_TOLERANCE[precision] * max(1.0, float(values.abs().max())):
            raise ArtifactError(f"{folder}: the exported model has another output: {name} differs by {difference:.3g}")


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
        optimizer=batching.optimizer,
        rate_factors=tuple((name, rate / batching.learning_rate) for name, rate in batching.part_rates.items()),
    )
