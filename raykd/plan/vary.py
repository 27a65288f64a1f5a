"""What is wrong in the parts of a sweep file that vary the point: `methods` and `search`."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from raykd.config.explain import Path, Problem, check, show
from raykd.config.identity import Identity
from raykd.config.keys import arms, at_path, leaf_keys, merged, near, point_keys, with_path
from raykd.config.point import PointBase
from raykd.plan.sweep import Dimension, SweepKeys
from raykd.tasks import TASKS
from raykd.tasks.task import Task

DIMENSION_KINDS = tuple(next(iter(arm.model_fields)) for arm in arms(Dimension))
SWEEP_ONLY = {
    name: f"{name} belongs to the whole sweep; set it at the top level of the file" for name in SweepKeys.model_fields
} | {
    "seeds": "seeds belongs to the whole sweep: list it at the top level of the file, or set or search seed",
    "task": "task belongs to the whole sweep; set it at the top level of the file",
}
_ABSENT = object()
_PBT = "PBT is not supported: it cannot perturb the trainings inside a lineage; use scheduler: asha"


def without_shorthand(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A file's keys with its short forms written out: a list for a grid, `asha`, a method that changes nothing."""
    result = dict(raw)
    space = at_path(raw, ("search", "space"))
    if isinstance(space, Mapping):
        written = {key: {"grid": value} if isinstance(value, list) else value for key, value in space.items()}
        result = with_path(result, ("search", "space"), written)
    if at_path(raw, ("search", "scheduler")) == "asha":
        result = with_path(result, ("search", "scheduler"), {})
    if isinstance(raw.get("methods"), Mapping):
        result["methods"] = {name: {} if change is None else change for name, change in raw["methods"].items()}
    return result


@functools.cache
def _foreign_keys(task: Task) -> dict[str, str]:
    """Dotted keys that other tasks have and this one has not -> what is said of them."""
    others = {key for other in TASKS.values() for key in point_keys(other.point)}
    return dict.fromkeys(others - set(point_keys(task.point)), f"task {task.name} does not have this key; remove it")


RENAMED = {
    "evaluation": "it is called selection, for it is what everything is chosen by; put sets that nothing is chosen by "
    "under tests",
    "selection.selection": "the selection section is what epochs are chosen by: put this source into selection.source, "
    "and what else is scored under tests",
}
"""Keys of earlier versions -> what to write in their place."""


def check_point(task: Task, raw: Mapping[str, Any]) -> tuple[PointBase | None, list[Problem]]:
    """Validate the keys of a point: the point and no problems, or None and all of them."""
    point, problems = check(task.point, raw, foreign=_foreign_keys(task) | RENAMED)
    if "evaluation" in raw:
        # What it held is not missing.
        problems = [problem for problem in problems if problem.path != ("selection",)]
    return point, problems


def shape_problems(raw: Mapping[str, Any], task: Task) -> list[Problem]:
    """What is wrong with `methods` and `search` before any value is looked at: keys, kinds of dimensions, PBT."""
    problems = []
    search = at_path(raw, ("search",))
    if isinstance(search, Mapping):
        problems += [Problem(("search", key), _PBT) for key in ("scheduler", "algorithm") if _is_pbt(search.get(key))]
        problems += [Problem(("search", "pbt"), _PBT)] if "pbt" in search else []
    for key, dimension in _section(raw, "search", "space").items():
        text = _key_problem(raw, task, key, dimension)
        problems += [Problem(("search", "space", key), text)] if text else []
    for name, change in _section(raw, "methods").items():
        keys = change if isinstance(change, Mapping) else ()
        problems += [Problem(("methods", name, key), SWEEP_ONLY[key]) for key in keys if key in SWEEP_ONLY]
    return problems


def _is_pbt(value: Any) -> bool:
    names = [value, *value] if isinstance(value, Mapping) else [value]
    return any(isinstance(name, str) and name.lower() in ("pbt", "population_based_training") for name in names)


def _key_problem(raw: Mapping[str, Any], task: Task, key: str, dimension: Any) -> str | None:
    head = key.split(".", maxsplit=1)[0]
    if head in SWEEP_ONLY:
        return SWEEP_ONLY[head]
    if key in _foreign_keys(task):
        return _foreign_keys(task)[key]
    if key not in point_keys(task.point):
        meant = near(key, leaf_keys(task.point))
        return f"unknown key; did you mean {meant!r}?" if meant else "unknown key; `raykd schema` lists the keys"
    if key == "seed" and raw.get("seeds") is not None:
        return "seeds is set too; remove one of the two"
    if at_path(raw, ("search", "algorithm")) == "optuna" and head == "compute":
        return "algorithm optuna needs the same executor for all points; search it with grid or random"
    if isinstance(dimension, Mapping) and len(dimension) == 1 and next(iter(dimension)) in DIMENSION_KINDS:
        return None
    if key not in leaf_keys(task.point) and isinstance(dimension, Mapping) and dimension:
        return f"write nested keys with dots, like {key}.{next(iter(dimension))}"
    return f"got {show(dimension)}; must be a list, or a section with one of the keys {', '.join(DIMENSION_KINDS)}"


def point_problems(raw: Mapping[str, Any], task: Task, ignored: set[Path]) -> list[Problem]:
    """What is wrong with the points: the file's own, each method's, and each of them with every value searched.

    A searched value is put into the whole point, so that rules between sections are checked too. Of a range both
    bounds are. What is wrong without a method, or without the value, is reported once, where it is.

    Args:
        ignored: dimensions that cannot be used, as paths; they have a problem of their own.
    """
    problems_of = functools.partial(_problems_of, task, _watcher(raw))
    is_drawn = at_path(raw, ("search", "algorithm")) == "optuna"
    base = {key: value for key, value in raw.items() if key not in SweepKeys.model_fields}
    changes = {
        name: {key: value for key, value in change.items() if key not in SWEEP_ONLY}
        for name, change in _section(raw, "methods").items()
        if isinstance(change, Mapping)
    }
    own, problems = problems_of(base)
    known = {name: set(problems) for name in changes or ("",)}
    configs: dict[str, PointBase | None] = dict.fromkeys(known, own)
    for name, change in changes.items():
        configs[name], found = problems_of(merged(base, change))
        problems += [p.under("methods", name) for p in found if p not in known[name] or _sets(change, p.path)]
        known[name] |= set(found)
    if is_drawn:
        problems += _several_executors({name: config for name, config in configs.items() if config is not None})
    for key, value in _values(raw, ignored):
        path = tuple(key.split("."))
        where: dict[str, list[str]] = {}
        varied = [name for name in known if not _sets(changes.get(name, {}), path)]
        for name in varied:
            config, found = problems_of(merged(with_path(base, path, value), changes.get(name, {})))
            for problem in found:
                if problem not in known[name] or problem.is_within(path):
                    where.setdefault(_about_value(problem, path), []).append(name)
            if is_drawn and config is not None and (text := _too_late(configs[name], config)):
                problems.append(Problem(("search", "space", key), text))
        for text, names in where.items():
            only = "" if names == varied else f" (in method {', '.join(names)})"
            problems.append(Problem(("search", "space", key), f"value {show(value)}: {text}{only}"))
    return list(dict.fromkeys(problems))


def _watcher(raw: Mapping[str, Any]) -> str | None:
    """Who compares points after every epoch."""
    if at_path(raw, ("search", "scheduler")) is not None:
        return "scheduler asha"
    return "algorithm optuna" if at_path(raw, ("search", "algorithm")) == "optuna" else None


def _problems_of(task: Task, watcher: str | None, point: Mapping[str, Any]) -> tuple[PointBase | None, list[Problem]]:
    config, problems = check_point(task, point)
    dev = ("selection", "epoch_max_items")
    if watcher and at_path(point, dev) == 0:
        text = f"search.{watcher} compares points after every epoch: set it above 0, or remove it"
        problems.append(Problem(dev, text, "0"))
    return config, problems


def _several_executors(configs: Mapping[str, PointBase]) -> list[Problem]:
    executors = {config.compute.resolved_executor: name for name, config in configs.items()}
    if len(executors) == 1:
        return []
    text = "; ".join(f"{name} runs {executor}" for executor, name in executors.items())
    return [Problem(("search", "algorithm"), f"optuna needs the same executor for all points, but {text}")]


def _too_late(own: PointBase | None, drawn: PointBase) -> str | None:
    """Why a searcher cannot draw a point: what all points share is made before, as the file's own point has it."""
    if own is None:
        return None
    made, needed = Identity(own), Identity(drawn)
    new_teachers = needed.first_teachers.keys() - made.first_teachers.keys() - made.generation_zero.keys()
    if new_teachers and not own.distillation.uses_teacher:
        return "the teacher is computed before optuna chooses, and the file has kd_weight 0; set it above 0 in the file"
    if new_teachers or made.scores != needed.scores or made.base != needed.base:
        return "generation 0 and its scores are computed before optuna chooses; search it with grid or random"
    if made.student != needed.student:
        return "the first student is made before optuna chooses; search it with grid or random"
    return None


def _sets(change: Mapping[str, Any], path: Path) -> bool:
    return at_path(change, map(str, path), _ABSENT) is not _ABSENT


def _values(raw: Mapping[str, Any], ignored: set[Path]) -> Iterator[tuple[str, Any]]:
    for key, dimension in _section(raw, "search", "space").items():
        if ("search", "space", key) not in ignored:
            (kind, values), *_ = dimension.items()
            yield from ((key, float(value) if kind in ("uniform", "log_uniform") else value) for value in values)


def _about_value(problem: Problem, path: Path) -> str:
    if problem.path == path[: len(problem.path)]:
        return problem.text
    is_inside = problem.path[: len(path)] == path
    return (Problem(problem.path[len(path) :], problem.text, problem.found) if is_inside else problem).line()


def _section(raw: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    found = at_path(raw, path)
    return found if isinstance(found, Mapping) else {}
