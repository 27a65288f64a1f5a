"""A point to run, as sweeps, executors and workers hand it around."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raykd.config.point import PointConfig


def unguarded() -> None:
    """Nothing keeps a point from writing."""


@dataclass(frozen=True)
class PointJob:
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
