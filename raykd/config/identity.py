"""Which configurations are the same: as points, as recipes of generation 0, as what a teacher reads."""

import hashlib
import json
from typing import Any

from raykd.config.base import Config
from raykd.config.keys import at_path
from raykd.config.point import PointConfig

_NO_INFLUENCE = (
    "compute.executor",
    "compute.cpus_per_worker",
    "compute.gpus_per_worker",
    "compute.checkpoints",
    "lineage.keep",
    "evaluation.batch_tokens",
)


ONLY_QA = (
    "base.gguf_file",
    "base.bidirectional",
    "base.train.language",
    "base.train.pad_to_max",
    "data.pivot",
    "data.num_target_languages",
    "data.english_centric",
    "data.stride",
    "data.max_question_length",
    "data.no_answer",
    "data.teacher_view",
    "distillation.direction",
    "distillation.coefficient",
    "distillation.window",
    "distillation.reduce",
    "distillation.reduce_group",
    "distillation.context_only",
    "distillation.signals",
    "evaluation.normalization",
    "evaluation.max_answer_tokens",
    "training.pad_to_max",
)
ONLY_TAGGING = (
    "head",
    "base.train.teachers",
    "base.train.transition_learning_rate",
    "base.train.head_learning_rate",
    "base.train.source.rows",
    "data.train.rows",
    "data.columns",
    "distillation.combine",
    "distillation.exact_temperature",
    "training.transition_learning_rate",
    "training.head_learning_rate",
    "evaluation.source.rows",
)

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
    dropped += ONLY_TAGGING if config.task == "qa" else ONLY_QA
    if config.lineage.min_delta is None:
        dropped.append("lineage.patience")
    if config.distillation.kd_share is None:
        dropped.append("distillation.kd_share")
    elif config.distillation.uses_teacher:
        dropped += ["distillation.label_weight", "distillation.kd_weight"]
    if not config.distillation.uses_teacher:
        label_weight = config.distillation.weights[0]
        raw["distillation"]["label_weight"] = dump(label_weight) if isinstance(label_weight, Config) else label_weight
        dropped += [f"distillation.{name}" for name in raw["distillation"] if name != "label_weight"]
        dropped.append("data.teacher_view")
        if config.lineage.student_init != "teacher" and config.lineage.min_delta is None:
            dropped.append("lineage.teacher")
    elif config.task == "tagging":
        dropped += [f"distillation.{name}" for name in _WITHOUT_INFLUENCE_ON[config.objective]]
    elif config.distillation.coefficient == "constant":
        dropped += [f"distillation.{name}" for name in ("k", "window", "reduce", "reduce_group")]
    elif config.distillation.reduce == "example":
        dropped.append("distillation.reduce_group")
    for key in dropped:
        *sections, name = key.split(".")
        section = at_path(raw, sections)
        if section is not None:
            section.pop(name, None)
    return raw


def point_id(config: PointConfig) -> str:
    """The first 12 hex digits of the SHA-256 of the canonical configuration."""
    return digest(canonical(config))


def base_fingerprint(config: PointConfig) -> str:
    """Names the recipe of generation 0, or of what its teachers start from: equal for all points that share it."""
    recipe: dict[str, Any] = {"task": config.task, "base": dump(config.base)}
    if config.task == "tagging":
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
    if config.task == "qa" or not config.base.train:
        return {base: None}
    recipe = {"base": base, "train": dump(config.base.train), "max_length": config.data.max_length}
    recipe["precision"] = config.compute.precision
    languages = config.data.languages if config.base.train.teachers == "per_language" else (None,)
    return {digest({**recipe, "language": language}): language for language in languages}


def signal_fingerprint(config: PointConfig) -> str:
    """Names what generation 0 says about a point's training features: equal for all points that share its signals."""
    data = canonical(config)["data"]
    teachers = list(first_teachers(config))
    return digest({"teachers": teachers, "data": data, "precision": config.compute.precision})


def dump(config: Config, model: type[Config] | None = None) -> dict[str, Any]:
    """A configuration as plain values, every default written out; of a sweep, the keys of `model` alone."""
    return config.model_dump(mode="json", include=set(model.model_fields) if model else None)


def digest(value: Any) -> str:
    """The first 12 hex digits of the SHA-256 of a value's JSON, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
