"""Tiny sweeps over the built-in world, shared by the tests that train."""

import copy
from typing import Any

from raykd.config.identity import Identity
from raykd.config.keys import merged
from raykd.tasks import DEFAULT_TASK, TASKS

POINT: dict[str, Any] = {
    "base": {
        "model": "builtin:tiny",
        "train": {
            "source": {"builtin": "small-world", "num_items": 64},
            "epochs": 1,
            "learning_rate": 1e-3,
            "tokens_per_step": 512,
        },
    },
    "data": {
        "train": {"builtin": "small-world", "num_items": 32},
        "languages": ["en", "es", "zh"],
        "num_target_languages": 1,
        "budget": 8,
        "max_length": 128,
        "stride": 32,
        "max_question_length": 32,
    },
    "selection": {
        "source": {"builtin": "small-world", "num_items": 8},
        "languages": ["en", "es", "zh"],
        "max_items": 4,
        "epoch_max_items": 2,
    },
    "lineage": {"num_generations": 2, "deliver": "last"},
    "training": {"learning_rate": 1e-3, "tokens_per_step": 512, "dropout": 0.0},
    "compute": {"num_workers": 1},
    "seed": 1,
}


def identity_of(keys: dict[str, Any]) -> Identity:
    """The point with these keys of a file."""
    return Identity(TASKS[keys.get("task", DEFAULT_TASK)].point.model_validate(keys))


def point(**changes: Any) -> Identity:
    """A point that trains in about a second; `changes` are sections, merged over it."""
    return identity_of(merged(copy.deepcopy(POINT), changes))


def sweep(**changes: Any) -> dict[str, Any]:
    """The keys of a sweep file of such points."""
    return merged({"name": "tiny", **copy.deepcopy(POINT)}, changes)


TAG_POINT: dict[str, Any] = {
    "task": "tagging",
    "base": {
        "model": "builtin:tiny",
        "train": {
            "source": {"builtin": "small-world", "num_items": 24},
            "teachers": "per_language",
            "epochs": 1,
            "learning_rate": 3e-3,
            "tokens_per_step": 256,
        },
    },
    "data": {
        "train": {"builtin": "small-world", "num_items": 24},
        "languages": ["en", "es"],
        "budget": 12,
        "max_length": 64,
    },
    "selection": {
        "source": {"builtin": "small-world", "num_items": 8},
        "languages": ["en", "es", "zh"],
        "epoch_max_items": 2,
    },
    "lineage": {"num_generations": 2, "deliver": "last"},
    "training": {"learning_rate": 3e-3, "tokens_per_step": 256},
    "seed": 1,
}
"""Two monolingual teachers, a student of both languages, and Chinese to be tagged without ever being seen."""


def tag_point(**changes: Any) -> Identity:
    """A point of task tagging that trains in about a second; `changes` are sections, merged over it."""
    return identity_of(merged(copy.deepcopy(TAG_POINT), changes))


def tag_sweep(**changes: Any) -> dict[str, Any]:
    """The keys of a sweep file of such points."""
    return merged({"name": "tiny", **copy.deepcopy(TAG_POINT)}, changes)


PAIR_POINT: dict[str, Any] = {
    "task": "parallel",
    "base": {"model": "builtin:tiny"},
    "teacher": {"model": "builtin:tiny", "pooling": "mean"},
    "data": {
        "train": {"builtin": "small-world", "num_items": 24},
        "languages": ["es", "zh"],
        "budget": 12,
        "max_length": 64,
    },
    "selection": {
        "source": {"builtin": "small-world", "num_items": 12},
        "languages": ["es", "zh", "de"],
        "epoch_max_items": 6,
    },
    "lineage": {"num_generations": 2, "deliver": "last"},
    "training": {"learning_rate": 1e-3, "tokens_per_step": 512, "micro_batch_tokens": 512},
    "seed": 1,
}
"""An English teacher, a student of two languages, and German sentences to be retrieved that it has never seen."""


def pair_point(**changes: Any) -> Identity:
    """A point of the parallel task that trains in about a second; `changes` are sections, merged over it."""
    return identity_of(merged(copy.deepcopy(PAIR_POINT), changes))


def pair_sweep(**changes: Any) -> dict[str, Any]:
    """The keys of a sweep file of such points."""
    return merged({"name": "tiny", **copy.deepcopy(PAIR_POINT)}, changes)
