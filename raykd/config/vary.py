"""What is wrong in the parts of a sweep file that vary the point: `methods` and `search`."""

from collections.abc import Iterator, Mapping
from typing import Any

from raykd.config.explain import Path, Problem, check, show
from raykd.config.identity import foreign
from raykd.config.keys import LEAF_KEYS, POINT_KEYS, arms, at_path, merged, near, with_path
from raykd.config.point import DistillationConfig, PointConfig
from raykd.config.sweep import Dimension, SweepConfig

DIMENSION_KINDS = tuple(next(iter(arm.model_fields)) for arm in arms(Dimension))
SWEEP_ONLY = {
    name: f"{name} belongs to the whole sweep; set it at the top level of the file"
    for name in SweepConfig.model_fields
    if name not in PointConfig.model_fields
} | {
    "seeds": "seeds belongs to the whole sweep: list it at the top level of the file, or set or search seed",
    "task": "task belongs to the whole sweep; set it at the top level of the file",
}
_ABSENT = object()
_PBT = "PBT is refused: a trial is a lineage with trainings of its own, which cannot be perturbed; use scheduler: asha"


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


def shape_problems(raw: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with `methods` and `search` before any value is looked at: keys, kinds of dimensions, PBT."""
    problems = []
    search = at_path(raw, ("search",))
    if isinstance(search, Mapping):
        problems += [Problem(("search", key), _PBT) for key in ("scheduler", "algorithm") if _is_pbt(search.get(key))]
        problems += [Problem(("search", "pbt"), _PBT)] if "pbt" in search else []
    for key, dimension in _section(raw, "search", "space").items():
        text = _key_problem(raw, key, dimension)
        problems += [Problem(("search", "space", key), text)] if text else []
    for name, change in _section(raw, "methods").items():
        keys = change if isinstance(change, Mapping) else ()
        problems += [Problem(("methods", name, key), SWEEP_ONLY[key]) for key in keys if key in SWEEP_ONLY]
    if raw.get("preset") is not None and raw.get("task", "qa") != "qa":
        problems.append(Problem(("preset",), "presets belong to task qa; leave it out", show(raw["preset"])))
    text = f"task {raw.get('task', 'qa')} does not have this key; leave it out"
    return problems + [Problem(path, text) for path in foreign_keys(raw)]


def foreign_keys(raw: Mapping[str, Any]) -> list[Path]:
    """Keys of a file that its task does not have: they would be read and do nothing."""
    task = raw.get("task", "qa")
    found: list[Path] = []
    for key in foreign(task) if isinstance(task, str) and task in SHARED else ():
        path = tuple(key.split("."))
        places = [path, *(("methods", name, *path) for name in _section(raw, "methods"))]
        found += [place for place in places if at_path(raw, place, _ABSENT) is not _ABSENT]
        found += [("search", "space", name) for name in _section(raw, "search", "space") if _is_within(name, key)]
    return found


def _is_within(key: str, section: str) -> bool:
    """Whether a dotted key is this section, or one inside it."""
    return key == section or key.startswith(f"{section}.")


SHARED = {
    "qa": ("base", "evaluation", "data.max_length", "data.stride", "data.max_question_length", "data.no_answer"),
    "tagging": ("base", "evaluation", "head", "data.max_length", "data.train", "data.columns", "data.languages"),
    "parallel": (
        "base",
        "teacher",
        "evaluation",
        "data.max_length",
        "data.languages",
        "data.pivot",
        "distillation.multilevel.pooling",
    ),
}
"""What generation 0, its scores and the first teachers depend on."""


_TEACHER_WEIGHTS = ("distillation.kd_weight", "distillation.kd_share")


def _has_teacher(raw: Mapping[str, Any]) -> bool:
    """Whether the file's own point has a KD term; True where the section is wrong, which is said elsewhere."""
    section, _ = check(DistillationConfig, _section(raw, "distillation"))
    return section is None or section.uses_teacher


def _is_pbt(value: Any) -> bool:
    names = [value, *value] if isinstance(value, Mapping) else [value]
    return any(isinstance(name, str) and name.lower() in ("pbt", "population_based_training") for name in names)


def _key_problem(raw: Mapping[str, Any], key: str, dimension: Any) -> str | None:
    head = key.split(".", maxsplit=1)[0]
    if head in SWEEP_ONLY:
        return SWEEP_ONLY[head]
    if key not in POINT_KEYS:
        meant = near(key, LEAF_KEYS)
        return f"unknown key; did you mean {meant!r}?" if meant else "unknown key; `raykd schema` lists the keys"
    if key == "seed" and raw.get("seeds") is not None:
        return "seeds is given too; keep one of the two"
    if at_path(raw, ("search", "algorithm")) == "optuna":
        if head == "compute":
            return "algorithm optuna needs one executor for all points; search it with algorithm grid or random"
        task = raw.get("task", "qa")
        if any(_is_within(key, shared) for shared in SHARED.get(task if isinstance(task, str) else "", ())):
            return "generation 0 and its scores are made before optuna chooses; search it with algorithm grid or random"
        if task == "parallel" and key in _TEACHER_WEIGHTS and not _has_teacher(raw):
            return "the teacher is made before optuna chooses, and the file has none; set kd_weight above 0 in it"
    if isinstance(dimension, Mapping) and len(dimension) == 1 and next(iter(dimension)) in DIMENSION_KINDS:
        return None
    if key not in LEAF_KEYS and isinstance(dimension, Mapping) and dimension:
        return f"write each key with dots, like {key}.{next(iter(dimension))}"
    return f"got {show(dimension)}; must be a list, or a section with one of the keys {', '.join(DIMENSION_KINDS)}"


def point_problems(raw: Mapping[str, Any], ignored: set[Path]) -> list[Problem]:
    """What is wrong with the points: the file's own, each method's, and each of them with every value searched.

    A searched value is put into the whole point, so that rules between sections are checked too. Of a range both
    bounds are. What is wrong without a method, or without the value, is reported once, where it is.

    Args:
        ignored: dimensions that cannot be used, as paths; they have a problem of their own.
    """
    scheduler, algorithm = (at_path(raw, ("search", name)) for name in ("scheduler", "algorithm"))
    watcher = "scheduler asha" if scheduler is not None else "algorithm optuna" if algorithm == "optuna" else None

    def problems_of(point: Mapping[str, Any]) -> tuple[PointConfig | None, list[Problem]]:
        config, problems = check(PointConfig, point)
        dev = ("evaluation", "epoch_max_items")
        if watcher and at_path(point, dev) == 0:
            text = f"search.{watcher} compares points after every epoch: raise it, or leave it out"
            problems.append(Problem(dev, text, "0"))
        return config, problems

    base = {key: raw[key] for key in PointConfig.model_fields if key in raw}
    changes = {
        name: {key: value for key, value in change.items() if key not in SWEEP_ONLY}
        for name, change in _section(raw, "methods").items()
        if isinstance(change, Mapping)
    }
    _, problems = problems_of(base)
    known, executors = {name: set(problems) for name in changes or ("",)}, {}
    for name, change in changes.items():
        config, found = problems_of(merged(base, change))
        problems += [p.under("methods", name) for p in found if p not in known[name] or _sets(change, p.path)]
        known[name] |= set(found)
        if config:
            executors[config.compute.resolved_executor] = name
    if at_path(raw, ("search", "algorithm")) == "optuna" and len(executors) > 1:
        text = "; ".join(f"{name} runs {executor}" for executor, name in executors.items())
        problems.append(Problem(("search", "algorithm"), f"optuna needs one executor for all points, but {text}"))
    for key, value in _values(raw, ignored):
        path, where = tuple(key.split(".")), {}
        varied = [name for name in known if not _sets(changes.get(name, {}), path)]
        for name in varied:
            _, found = problems_of(merged(with_path(base, path, value), changes.get(name, {})))
            for problem in found:
                if problem not in known[name] or problem.path[: len(path)] == path:
                    where.setdefault(_about_value(problem, path), []).append(name)
        for text, names in where.items():
            only = "" if names == varied else f" (in method {', '.join(names)})"
            problems.append(Problem(("search", "space", key), f"value {show(value)}: {text}{only}"))
    return problems


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
