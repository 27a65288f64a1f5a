"""Which configurations are the same: as points, as recipes of generation 0, as what a teacher reads."""

import hashlib
import json
from typing import Any

from raykd.config.base import Config
from raykd.config.keys import at_path
from raykd.config.parallel import MultilevelConfig
from raykd.config.point import PointConfig

_NO_INFLUENCE = (
    "compute.executor",
    "compute.cpus_per_worker",
    "compute.gpus_per_worker",
    "compute.checkpoints",
    "compute.checkpoint_seconds",
    "compute.max_worker_failures",
    "compute.max_preemptions",
    "lineage.keep",
    "evaluation.batch_tokens",
)


_TASKS = {
    "base.gguf_file": "qa",
    "base.bidirectional": "qa",
    "base.train": "qa tagging",
    "base.train.language": "qa",
    "base.train.pad_to_max": "qa",
    "base.train.teachers": "tagging",
    "base.train.transition_learning_rate": "tagging",
    "base.train.head_learning_rate": "tagging",
    "base.train.source.rows": "tagging",
    "base.train.source.codes": "",
    "teacher": "parallel",
    "head": "tagging",
    "student": "qa tagging",
    "data.train.rows": "tagging",
    "data.train.codes": "parallel",
    "data.columns": "tagging",
    "data.mixing": "parallel",
    "data.pivot": "qa parallel",
    "data.num_target_languages": "qa",
    "data.english_centric": "qa",
    "data.stride": "qa",
    "data.max_question_length": "qa",
    "data.no_answer": "qa",
    "data.teacher_view": "qa",
    "lineage.keep_first_teachers": "qa tagging",
    "distillation.objective": "qa tagging",
    "distillation.temperature": "qa tagging",
    "distillation.k": "qa tagging",
    "distillation.direction": "qa",
    "distillation.coefficient": "qa",
    "distillation.window": "qa",
    "distillation.reduce": "qa",
    "distillation.reduce_group": "qa",
    "distillation.context_only": "qa",
    "distillation.signals": "qa parallel",
    "distillation.combine": "tagging",
    "distillation.exact_temperature": "tagging",
    "distillation.multilevel": "parallel",
    "evaluation.normalization": "qa",
    "evaluation.max_answer_tokens": "qa",
    "evaluation.source.rows": "tagging",
    "evaluation.source.codes": "parallel",
    "evaluation.zero_shot": "parallel",
    "training.pad_to_max": "qa",
    "training.transition_learning_rate": "tagging",
    "training.head_learning_rate": "tagging parallel",
}
"""Key -> the tasks that have it. A key that is not here belongs to all of them."""


def foreign(task: str) -> tuple[str, ...]:
    """The keys that a task does not have; of a whole section its name alone."""
    keys = [key for key, tasks in _TASKS.items() if task not in tasks.split()]
    return tuple(key for key in keys if not any(key.startswith(f"{section}.") for section in keys))


_WITHOUT_INFLUENCE_ON = {
    "token": ("k", "combine", "exact_temperature"),
    "emission": ("k", "combine", "exact_temperature"),
    "top_k": ("temperature", "combine", "exact_temperature"),
    "top_wk": ("combine", "exact_temperature"),
    "posterior": ("k", "combine", "exact_temperature"),
    "posterior_top_wk": ("exact_temperature",),
    "exact": ("k", "combine"),
}


def canonical(config: PointConfig) -> dict[str, Any]:
    """What determines a point's result; keys without an influence on it are left out.

    Without a KD term there are no distillation knobs; with a constant coefficient no rank cutoff and no window.
    Numbers of workers, ZeRO stage, precision and micro-batches change the rounding at least, so they stay.
    """
    raw = dump(config, PointConfig)
    dropped = [*_NO_INFLUENCE]
    raw["data"]["seed"] = config.data_seed
    raw["distillation"]["window"] = list(config.distillation.window_bounds)
    raw["distillation"]["objective"] = config.objective
    dropped += foreign(config.task)
    if config.lineage.min_delta is None:
        dropped.append("lineage.patience")
    if config.distillation.kd_share is None:
        dropped.append("distillation.kd_share")
    elif config.distillation.uses_teacher:
        dropped += ["distillation.label_weight", "distillation.kd_weight"]
    if not config.distillation.uses_teacher:
        label_weight = config.distillation.weights[0]
        raw["distillation"]["label_weight"] = dump(label_weight) if isinstance(label_weight, Config) else label_weight
        kept = ("label_weight", "multilevel")
        dropped += [f"distillation.{name}" for name in raw["distillation"] if name not in kept]
        dropped += ["data.teacher_view", "teacher"]
        if config.lineage.student_init != "teacher" and config.lineage.min_delta is None:
            dropped.append("lineage.teacher")
    elif config.task == "tagging":
        dropped += [f"distillation.{name}" for name in _WITHOUT_INFLUENCE_ON[config.objective]]
    elif config.task == "qa" and config.distillation.coefficient == "constant":
        dropped += [f"distillation.{name}" for name in ("k", "window", "reduce", "reduce_group")]
    elif config.task == "qa" and config.distillation.reduce == "example":
        dropped.append("distillation.reduce_group")
    if config.task == "parallel":
        dropped += _without_influence(config)
    for key in dropped:
        *sections, name = key.split(".")
        section = at_path(raw, sections)
        if section is not None:
            section.pop(name, None)
    return raw


def _without_influence(config: PointConfig) -> list[str]:
    """Keys of task parallel that belong to parts of its loss that are not trained, or to another mixing.

    The student's pooling always counts: its vectors are scored.
    """
    found = ["data.mixing.exponent"] if config.data.mixing.kind == "round_robin" else []
    if not config.levels:
        found += [f"distillation.multilevel.{name}" for name in MultilevelConfig.model_fields if name != "pooling"]
        return found
    keys = {
        "word": ("word_similarity", "word_temperature"),
        "structure": ("structure_temperature",),
    }
    names = [name for level, names in keys.items() if level not in config.levels for name in names]
    if not {"sentence", "structure"} & config.levels:
        names += ["norm", "projection_size", "relations"]
        found.append("teacher.pooling")
    return found + [f"distillation.multilevel.{name}" for name in names]


def point_id(config: PointConfig) -> str:
    """The first 12 hex digits of the SHA-256 of the canonical configuration."""
    return digest(canonical(config))


def base_fingerprint(config: PointConfig) -> str:
    """Names the recipe of generation 0, or of what its teachers start from: equal for all points that share it."""
    recipe: dict[str, Any] = {"task": config.task, "base": dump(config.base)}
    if config.task == "parallel":
        recipe["pooling"] = config.distillation.multilevel.pooling
    elif config.task == "tagging":
        # The labels are those of the training data. Whether teachers are trained decides if the head is made anew, and
        # their seed draws it; the rest of their training has names of its own.
        recipe["base"]["train"] = {"seed": config.base.train.seed} if config.base.train else None
        recipe["head"] = dump(config.head)
        data = dump(config.data)
        recipe["labels"] = {name: data[name] for name in ("train", "columns", "languages")}
    elif config.base.train:
        names = ("max_length", "stride", "max_question_length", "no_answer")
        recipe["data"] = {name: getattr(config.data, name) for name in names}
        recipe["precision"] = config.compute.precision
    return digest(recipe)


def first_teachers(config: PointConfig) -> dict[str, str | None]:
    """Fingerprint of each teacher of generation 1 -> the language it teaches, None for all."""
    base = base_fingerprint(config)
    if config.task == "parallel" and config.distillation.uses_teacher:
        return {digest({"teacher": dump(config.teacher)}): None}
    if config.task != "tagging" or not config.base.train:
        return {base: None}
    recipe = {"base": base, "train": dump(config.base.train), "max_length": config.data.max_length}
    recipe["precision"] = config.compute.precision
    languages = config.data.languages if config.base.train.teachers == "per_language" else (None,)
    return {digest({**recipe, "language": language}): language for language in languages}


def generation_zero(config: PointConfig) -> dict[str, str | None]:
    """Fingerprint of each model that generation 0 is -> its language: who teaches first, unless a stranger does."""
    return {base_fingerprint(config): None} if config.task == "parallel" else first_teachers(config)


def scored_languages(config: PointConfig) -> list[str] | None:
    """The languages that scores depend on beside those of the evaluation: those of training, which are not zero-shot,
    and task parallel with the pivot; None where there are none.
    """
    pivot = [config.data.pivot] if config.task == "parallel" else []
    return None if config.task == "qa" else [*pivot, *config.data.languages]


def signal_fingerprint(config: PointConfig) -> str:
    """Names what generation 0 says about a point's training features: equal for all points that share its signals."""
    data = canonical(config)["data"]
    teachers = list(first_teachers(config))
    recipe = {"teachers": teachers, "data": data, "precision": config.compute.precision}
    return digest(recipe if config.task != "parallel" else {**recipe, "words": "word" in config.levels})


def dump(config: Config, model: type[Config] | None = None) -> dict[str, Any]:
    """A configuration as plain values, every default written out; of a sweep, the keys of `model` alone."""
    return config.model_dump(mode="json", include=set(model.model_fields) if model else None)


def digest(value: Any) -> str:
    """The first 12 hex digits of the SHA-256 of a value's JSON, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
