"""Models in and out of artifacts: what a generation starts from, and the transaction that ends it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.config.point import ComputeConfig, PointConfig
from raykd.config.training import Batching
from raykd.errors import ArtifactError, DataError
from raykd.models.cpu import use_cpu_kernels
from raykd.models.qa import load_tokenizer, shrink
from raykd.results.artifacts import ArtifactRecord
from raykd.results.models import locate_model
from raykd.tasks.task import TASKS, Features, Task
from raykd.worker.context import Workspace, tokenizer_hash
from raykd.worker.engine import Engine, EngineOptions

BUILTIN_TINY = "builtin:tiny"
VERIFIED_WINDOWS = 4
LOGIT_TOLERANCE = {"float32": 1e-3, "bf16": 0.05}
"""How far a reloaded model's logits may be off, relative to the largest one."""


def given_model(space: Workspace, config: PointConfig) -> tuple[Any, Any]:
    """The model and tokenizer that `base` names, before any training."""
    base, task = config.base, TASKS[config.task]
    seed = base.train.seed if base.train else 0
    torch.manual_seed(seed)
    if base.model == BUILTIN_TINY:
        tokenizer = _tiny_tokenizer(space, config)
        return task.tiny_model(config, tokenizer, items=space.items(config)[0], seed=seed), tokenizer
    name = locate_model(base.model, folder=space.folder)
    tokenizer = load_tokenizer(name, gguf_file=base.gguf_file)
    return task.given_model(config, name, items=space.items(config)[0]), tokenizer


def given_teacher(space: Workspace, config: PointConfig) -> tuple[Any, Any]:
    """The model and tokenizer that `teacher` names."""
    task, name = TASKS[config.task], config.teacher.model
    if name == BUILTIN_TINY:
        tokenizer = _tiny_tokenizer(space, config)
        return task.tiny_teacher(config, tokenizer), tokenizer
    name = locate_model(name, folder=space.folder)
    return task.given_teacher(config, name), load_tokenizer(name)


def _tiny_tokenizer(space: Workspace, config: PointConfig) -> Any:
    """The tokenizer of the built-in world, made once."""
    store, name = space.store, f"tokenizer-{config.task}"
    if space.rank == 0 and not store.has(name):
        with store.committing(name, lambda: ArtifactRecord(kind="tokenizer")) as folder:
            TASKS[config.task].build_tiny_tokenizer(folder)
    space.barrier()
    return load_tokenizer(str(store.artifact(name)))


def load(space: Workspace, config: PointConfig, artifact: str, *, dropout: float | None = None) -> Any:
    """The model of an artifact, in float32 on the CPU.

    Raises:
        ArtifactError: if it is not what its record says.
    """
    space.remember(("verified", artifact), lambda: space.store.verify(artifact))
    return TASKS[config.task].load_model(str(space.store.artifact(artifact)), dropout=dropout)


def first_student(space: Workspace, config: PointConfig, base: str) -> Any:
    """The student of generation 1: generation 0 itself, fewer of its layers, or another model with its tokenizer.

    Raises:
        DataError: if the other model has another tokenizer; it names both sides.
    """
    dropout = config.training.dropout
    if config.student.model:
        name = locate_model(config.student.model, folder=space.folder)
        same_tokenizer(base, space.tokenizer(base), name, load_tokenizer(name))
        torch.manual_seed(config.seed)
        return TASKS[config.task].load_model(name, dropout=dropout)
    model = load(space, config, base, dropout=dropout)
    return shrink(model, config.student.num_layers) if config.student.num_layers else model


def build_engine(model: Any, batching: Batching, compute: ComputeConfig) -> Engine:
    """A student under training."""
    if batching.freeze_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    use_cpu_kernels(model)
    return Engine(model, engine_options(batching, compute))


def build_frozen(space: Workspace, config: PointConfig, artifact: str) -> Engine:
    """An artifact as a frozen engine; the caller destroys it."""
    model = load(space, config, artifact)
    use_cpu_kernels(model)
    return Engine(model, engine_options(config.training, config.compute), frozen=True)


@contextlib.contextmanager
def frozen(space: Workspace, config: PointConfig, artifact: str) -> Iterator[Engine]:
    """An artifact as a frozen engine, gone after the block."""
    engine = build_frozen(space, config, artifact)
    try:
        yield engine
    finally:
        engine.destroy()


def export(
    space: Workspace, task: Task, engine: Engine, name: str, made: ArtifactRecord, *, tokenizer: Any, probe: Features
) -> bool:
    """Turn an engine's model into an artifact: write it, load it back, compare its outputs, record it.

    Every rank must call it.

    Args:
        made: how the model was made.

    Returns:
        Whether the artifact was made; False where it was there already, and nothing happened.

    Raises:
        ArtifactError: if what was written does not answer as the model in memory does.
    """
    if space.from_rank_0(space.store.has(name)):
        return False
    batch = space.to_device(probe.collate(np.arange(min(len(probe), VERIFIED_WINDOWS))))
    engine.eval()
    with torch.no_grad():
        expected = task.signals(engine(**task.model_inputs(batch)))
    weights = engine.weights()
    if space.rank == 0:
        with space.store.committing(name, lambda: made) as folder:
            engine.model.save_pretrained(folder, state_dict=weights)
            tokenizer.save_pretrained(folder)
            _same_answers(space, task, folder, batch, expected, precision=engine.options.precision)
    space.barrier()
    return True


def _same_answers(
    space: Workspace, task: Task, folder: Path, batch: dict[str, Tensor], expected: dict[str, Tensor], *, precision: str
) -> None:
    reloaded = task.load_model(str(folder)).to(space.device).eval()
    with torch.no_grad(), torch.autocast(space.device.type, torch.bfloat16, enabled=precision == "bf16"):
        again = task.signals(reloaded(**task.model_inputs(batch)))
    for name, values in expected.items():
        difference = float((again[name] - values).abs().max())
        if not difference <= LOGIT_TOLERANCE[precision] * max(1.0, float(values.abs().max())):
            raise ArtifactError(f"{folder}: the exported model answers differently: {name} is off by {difference:.3g}")


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
        rate_factors=_rate_factors(batching),
    )


def _rate_factors(batching: Batching) -> tuple[tuple[str, float], ...]:
    """Parts of a model that have a learning rate of their own: tagging heads, and what only parallel training needs."""
    head, transitions = batching.head_learning_rate, batching.transition_learning_rate
    rates = {"transitions.": transitions or head}
    rates |= dict.fromkeys(("lstm.", "emissions.", "mlm.", "sentence_heads.", "structure_heads.", "width."), head)
    return tuple((name, rate / batching.learning_rate) for name, rate in rates.items() if rate)


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
