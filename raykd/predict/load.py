"""What a model folder is for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raykd.errors import DataError
from raykd.models.accelerator import settle_accelerator
from raykd.results.delivered import chosen_for
from raykd.results.models import fetch_model
from raykd.tasks import TASKS
from raykd.tasks.predictor import TaskPredictor
from raykd.tasks.task import Task

if TYPE_CHECKING:
    from raykd.tasks.outcomes import Evaluation

_ORIGINS = ("raykd.json", "record.json")
"""Which hold a point's configuration: of an exported folder, and of an artifact."""


class Predictor:
    """Where finished models are loaded to be asked."""

    @staticmethod
    def load(model: str | Path, *, folder: Path | None = None) -> TaskPredictor:
        """A predictor of a model.

        Args:
            model: a folder, a Hub id, or `RESULTS#POINT` for what a point of a sweep delivered.
            folder: where relative names are looked for first; None is the current one.

        Raises:
            DataError: if it cannot be found or read, or its task cannot be asked.
        """
        settle_accelerator()
        place = fetch_model(str(model), folder=folder or Path.cwd())
        point = _point_of(place)
        task = _task_of_folder(place, point)
        if task.load_predictor is None:
            raise DataError(
                f"model {model}: an encoder, which turns sentences into vectors and neither answers nor labels; load "
                "it with AutoModel of transformers, or start a sweep from it (base.model)"
            )
        return task.load_predictor(task.model, place, point)


def evaluate(model: str, *, task: str | None = None, **options: Any) -> "Evaluation":
    """Scores of a model on a data set, as a sweep's result holds them, and its answers.

    Args:
        model: a folder, a Hub id, or `RESULTS#POINT`.
        task: of a model that does not say what it is for.
        options: of the task that the model is of.

    Raises:
        DataError: if model or data cannot be found or read, there is no such task, or its models are scored in sweeps
            alone.
    """
    settle_accelerator()
    able = {each.name: each for each in TASKS.values() if each.evaluate is not None}
    if task is not None and task not in able:
        raise DataError(f"--task {task}: give one of {', '.join(able)}")
    place = fetch_model(model, folder=Path.cwd())
    point = _point_of(place)
    # A bare encoder may be meant for any task: the first one says what it lacks.
    chosen = able[task] if task is not None else _known_task(place, point) or next(iter(able.values()))
    if chosen.evaluate is None:
        titles = ", ".join(each.info.title for each in able.values())
        raise DataError(
            f"model {model}: of task {chosen.name}, whose models are scored inside their sweeps; this scores {titles}"
        )
    return chosen.evaluate(place, point, **options)


def _task_of_folder(folder: Path, point: Mapping[str, Any]) -> Task:
    """The task of a model's folder: the one that it is known by, or the one that takes every encoder.

    Raises:
        DataError: if it holds no model, or one that is for something else.
    """
    return _known_task(folder, point) or next(task for task in TASKS.values() if task.info.folders.any_encoder)


def _known_task(folder: Path, point: Mapping[str, Any]) -> Task | None:
    """The task of the point that a model's folder is from, or by its files or its architecture; None where these say
    nothing.

    Raises:
        DataError: if it holds no model, or one that is for something else.
    """
    if point.get("task") in TASKS:
        return TASKS[point["task"]]
    for task in TASKS.values():
        if any((folder / name).is_file() for name in task.info.folders.files):
            return task
    path = folder / "config.json"
    try:
        kinds = json.loads(path.read_text(encoding="utf-8")).get("architectures") or []
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: not a model's configuration ({error}); give a model folder") from error
    for task in TASKS.values():
        for kind, reason in task.info.folders.refused.items():
            if any(kind in each for each in kinds):
                raise DataError(f"{folder}: {reason}")
        if any(kind in each for each in kinds for kind in task.info.folders.architectures):
            return task
    return None


def _point_of(folder: Path) -> Mapping[str, Any]:
    """The configuration of the point that a folder is from, with what its selection set chose; empty where nobody
    knows it.
    """
    for name in _ORIGINS:
        content = _read_origin(folder / name)
        point, chosen = content.get("point"), content.get("chosen", {})
        if isinstance(point, dict) and point:
            section = point.get("selection")
            if isinstance(section, dict) and isinstance(chosen, dict):
                point = {**point, "selection": {**section, **chosen, **chosen_for(folder)}}
            return point
    return {}


def _read_origin(path: Path) -> Mapping[str, Any]:
    """The content of a file of ours; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); export the model again") from error
    found = found.get("content", found) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}
