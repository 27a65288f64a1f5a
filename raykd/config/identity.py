"""Which configurations are the same: as points, as recipes of generation 0, as what a teacher reads."""

import hashlib
import json
from typing import Any

from raykd.config.base import Config
from raykd.config.point import PointConfig

_NO_INFLUENCE = (
    "compute.executor",
    "compute.cpus_per_worker",
    "compute.gpus_per_worker",
    "compute.checkpoints",
    "lineage.keep",
    "evaluation.batch_tokens",
)


def canonical(config: PointConfig) -> dict[str, Any]:
    """What determines a point's result; keys without an influence on it are left out.

    Without a KD term there are no distillation knobs; with a constant coefficient no rank cutoff and no window.
    Numbers of workers, ZeRO stage, precision and micro-batches change the rounding at least, so they stay.
    """
    raw = dump(config, PointConfig)
    dropped = [*_NO_INFLUENCE]
    raw["data"]["seed"] = config.data_seed
    raw["distillation"]["window"] = list(config.distillation.window_bounds)
    if config.lineage.min_delta is None:
        dropped.append("lineage.patience")
    if not config.distillation.uses_teacher:
        dropped += [f"distillation.{name}" for name in raw["distillation"] if name != "label_weight"]
        dropped.append("data.teacher_view")
        if config.lineage.student_init != "teacher" and config.lineage.min_delta is None:
            dropped.append("lineage.teacher")
    elif config.distillation.coefficient == "constant":
        dropped += [f"distillation.{name}" for name in ("k", "window", "reduce", "reduce_group")]
    elif config.distillation.reduce == "example":
        dropped.append("distillation.reduce_group")
    for key in dropped:
        section, name = key.split(".")
        raw[section].pop(name, None)
    return raw


def point_id(config: PointConfig) -> str:
    """The first 12 hex digits of the SHA-256 of the canonical configuration."""
    return digest(canonical(config))


def base_fingerprint(config: PointConfig) -> str:
    """Names the recipe of generation 0: equal for all points that share it."""
    recipe: dict[str, Any] = {"task": config.task, "base": dump(config.base)}
    if config.base.train:
        names = ("max_length", "stride", "max_question_length", "no_answer")
        recipe["data"] = {name: getattr(config.data, name) for name in names}
        recipe["precision"] = config.compute.precision
    return digest(recipe)


def signal_fingerprint(config: PointConfig) -> str:
    """Names what generation 0 says about a point's training features: equal for all points that share its signals."""
    data = canonical(config)["data"]
    return digest({"base": base_fingerprint(config), "data": data, "precision": config.compute.precision})


def dump(config: Config, model: type[Config] | None = None) -> dict[str, Any]:
    """A configuration as plain values, every default written out; of a sweep, the keys of `model` alone."""
    return config.model_dump(mode="json", include=set(model.model_fields) if model else None)


def digest(value: Any) -> str:
    """The first 12 hex digits of the SHA-256 of a value's JSON, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
