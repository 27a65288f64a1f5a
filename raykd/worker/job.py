"""A point to run, as sweeps, executors and workers hand it around."""

from collections.abc import Callable
from dataclasses import dataclass

from raykd.config.identity import Identity


def unguarded() -> None:
    """Nothing keeps a point from writing."""


@dataclass(frozen=True)
class PointJob:
    """A point to run.

    Attributes:
        guard: called before anything of the point is written; raises if the point is another run's by now.
        run: number of the sweep's run.
        max_deaths: processes that may die with the point, one after another, before it gets on.
    """

    point: Identity
    guard: Callable[[], None] = unguarded
    run: int = 0
    max_deaths: int = 3
