"""The tasks there are. The name of a task stands in its own package, and nowhere else."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from raykd.config.point import PointBase
from raykd.errors import ArtifactError
from raykd.tasks.parallel import PARALLEL
from raykd.tasks.qa import QA
from raykd.tasks.tagging import TAGGING
from raykd.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (QA, TAGGING, PARALLEL)}
"""The word in a sweep file's `task` -> the task."""

DEFAULT_TASK = QA.name
"""Of a file that names none."""


def task_of(config: PointBase) -> Task:
    """The task of a point."""
    return TASKS[config.task]


def point_from_record(config: Mapping[str, Any], *, where: str) -> PointBase:
    """A point's configuration out of a record.

    Args:
        where: the record, for the error.

    Raises:
        ArtifactError: if it was written under other rules.
    """
    try:
        return TASKS[config["task"]].point.model_validate(config)
    except (KeyError, ValidationError) as error:
        raise ArtifactError(
            f"{where} was written by another version of raykd; use that version, another folder, or remove the point"
        ) from error
