"""A point to run, as sweeps, executors and workers hand it around."""

from dataclasses import dataclass
from typing import Any

from raykd.config.point import PointConfig


@dataclass(frozen=True)
class PointJob:
    """A point to run.

    Attributes:
        recipe: all of the configuration that its artifacts depend on.
        base: fingerprint of its generation 0.
        run: number of the sweep's run.
        max_deaths: processes that may die with the point, one after another, before it gets on.
    """

    point_id: str
    config: PointConfig
    recipe: dict[str, Any]
    base: str
    run: int = 0
    max_deaths: int = 3
