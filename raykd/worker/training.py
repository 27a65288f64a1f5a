"""What training a base teacher and training a student have in common."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from raykd.config.point import DistillationConfig
from raykd.errors import TrainingError
from raykd.tasks.task import Task
from raykd.worker.loop import Terms

SHOWN = 8
"""Examples of a bad step that an error names."""


def loss_terms(
    task: Task, config: DistillationConfig, *, padding: bool
) -> Callable[[Any, dict[str, Tensor], Any], Terms]:
    """The function from (model, batch, teacher's signals) to loss terms that the loop calls."""

    def compute(model: Any, batch: dict[str, Tensor], signals: Any) -> Terms:
        outputs = task.learning.forward(model, batch, signals)
        return Terms(*task.learning.terms(outputs, batch, signals, config, padding=padding))

    return compute


def refuse_nan(
    losses: Sequence[Sequence[float]], where: str, *, steps: Sequence[np.ndarray], ids: Sequence[str]
) -> None:
    """Refuse an epoch whose loss left the numbers.

    Args:
        losses: of the steps that are done.
        steps: indices of the windows of each step; `ids` are the windows' names.

    Raises:
        TrainingError: naming the first such step and what was in it.
    """
    bad = next((step for step, row in enumerate(losses) if not all(map(math.isfinite, row))), None)
    if bad is None:
        return
    names = [ids[index] for index in steps[bad]]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    raise TrainingError(
        f"{where}: the loss of step {bad + 1} is not a number, on {', '.join(names[:SHOWN])}{more}; inspect these "
        "examples, lower training.learning_rate, or use float32"
    )
