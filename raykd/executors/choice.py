"""The executors there are."""

from raykd.config.point import PointBase
from raykd.executors.capacity import WorkerResources
from raykd.executors.executor import Executor, Place
from raykd.executors.group import GroupExecutor
from raykd.executors.inline import InlineExecutor

EXECUTORS: dict[str, type[Executor]] = {"inline": InlineExecutor, "train": GroupExecutor}
"""The word in a sweep file's `compute.executor` -> the executor, in the order in which a sweep runs their points."""


def executor_of(config: PointBase, place: Place, worker: WorkerResources) -> Executor:
    """What runs a point."""
    return EXECUTORS[config.compute.resolved_executor](place, worker)
