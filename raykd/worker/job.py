"""A point to run, as sweeps, executors and workers hand it around."""

from dataclasses import dataclass

from raykd.config.identity import Identity


@dataclass(frozen=True)
class PointJob:
    """A point to run.

    Attributes:
        run: number of the sweep's run.
        max_deaths: processes that may die with the point, one after another, before it gets on.
    """

    point: Identity
    run: int = 0
    max_deaths: int = 3
