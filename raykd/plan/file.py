"""Read a sweep file, and find everything that is wrong in it before anything starts."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raykd.config.explain import Problem, check, show
from raykd.config.keys import merged, near, point_keys, split_key, with_path
from raykd.config.yaml import parse_value
from raykd.errors import ConfigError
from raykd.plan.sweep import SweepConfig, SweepKeys
from raykd.plan.vary import check_point, point_problems, shape_problems, without_shorthand
from raykd.tasks import DEFAULT_TASK, TASKS
from raykd.tasks.task import Task


def read_file(path: Path) -> dict[str, Any]:
    """The keys of a YAML file, as they stand there.

    Raises:
        ConfigError: if it cannot be read, or is no mapping.
    """
    try:
        raw = parse_value(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {problem}" for problem in error.problems) from error
    if raw is None:
        raise ConfigError(f"{path}: empty; a sweep file needs at least name, data.train and selection.source")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: got {show(raw)}; a sweep file is a mapping of keys to values, like `name: first`")
    return raw


def load_sweep(path: Path, *, overrides: Mapping[str, Any] | None = None) -> SweepConfig:
    """Read a sweep file. The file's keys win over its preset's, and `overrides` over both.

    Args:
        overrides: dotted key of the file -> the value to put in its place.

    Raises:
        ConfigError: with one line for every wrong thing: file, key, what was found, what is allowed.
    """
    raw = read_file(path)
    for key, value in (overrides or {}).items():
        raw = with_path(raw, split_key(key), value)
    return _checked(raw, where=str(path))


def sweep_of(keys: Mapping[str, Any]) -> SweepConfig:
    """The sweep of a file with these keys, for those that come from Python. Tuples are lists, and paths are text.

    Raises:
        ConfigError: as `load_sweep` does, and for values that no file can hold.
    """
    try:
        raw = json.loads(json.dumps(keys, default=os.fspath, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"sweep: {error}; use text, numbers, true, false, None, lists and mappings") from error
    return _checked(raw, where="sweep")


def _checked(raw: dict[str, Any], *, where: str) -> SweepConfig:
    """The sweep that the keys of a file make.

    Args:
        where: the file, for the problems.

    Raises:
        ConfigError: with one line for every wrong thing.
    """
    task, problems = _task_of(raw)
    preset = raw.get("preset")
    defaults = task.presets.get(preset, {}) if isinstance(preset, str) else {}
    raw = without_shorthand(merged(defaults, raw))
    shape = [*problems, *_preset_problems(task, preset), *shape_problems(raw, task)]
    keys, found = check(SweepKeys, {key: value for key, value in raw.items() if key in SweepKeys.model_fields})
    point, wrong = check_point(task, {key: value for key, value in raw.items() if key not in SweepKeys.model_fields})
    found = [problem for problem in (*found, *wrong) if not any(problem.is_within(own.path) for own in shape)]
    ignored = {problem.path[:depth] for problem in (*shape, *found) for depth in range(4)}
    every = dict.fromkeys([*shape, *found, *point_problems(raw, task, ignored)])
    if keys is None or point is None or every:
        raise ConfigError(f"{where}: {problem.line()}" for problem in every)
    return SweepConfig(**dict(keys), point=point)


def _task_of(raw: Mapping[str, Any]) -> tuple[Task, list[Problem]]:
    """The task that a file names; the default one, and what is wrong, where it names none that there is."""
    name = raw.get("task", DEFAULT_TASK)
    if isinstance(name, str) and name in TASKS:
        return TASKS[name], []
    meant = near(str(name), TASKS)
    text = f"must be {' or '.join(map(repr, TASKS))}" + (f"; did you mean {meant!r}?" if meant else "")
    return TASKS[DEFAULT_TASK], [Problem(("task",), text, show(name))]


def _preset_problems(task: Task, preset: Any) -> list[Problem]:
    if preset is None or (isinstance(preset, str) and preset in task.presets):
        return []
    text = (
        f"must be {' or '.join(map(repr, task.presets))}"
        if task.presets
        else f"task {task.name} has no presets; remove the key"
    )
    return [Problem(("preset",), text, show(preset))]


def json_schema() -> dict[str, Any]:
    """The JSON schema of a sweep file, for editors and for `raykd schema`: one alternative for each task."""
    definitions: dict[str, Any] = {}
    alternatives = [_schema_of(task, definitions) for task in TASKS.values()]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "oneOf": alternatives, "$defs": definitions}


def _schema_of(task: Task, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a sweep file of one task; its sections go into `definitions`."""
    keys, point = SweepKeys.model_json_schema(), task.point.model_json_schema()
    sections = keys.pop("$defs") | point.pop("$defs")
    search = f"SearchConfigOf{task.point.__name__}"
    sections[search] = sections.pop("SearchConfig")
    keys["properties"]["search"]["$ref"] = f"#/$defs/{search}"
    partial = json.loads(json.dumps(sections).replace('"#/$defs/', '"#/$defs/Partial'))
    partial_point = json.loads(json.dumps(point["properties"]).replace('"#/$defs/', '"#/$defs/Partial'))
    definitions |= sections
    definitions |= {f"Partial{name}": _without_required(section) for name, section in partial.items()}
    del keys["properties"]["preset"]["anyOf"]
    keys["properties"]["preset"]["enum"] = [*task.presets, None]
    keys["properties"]["methods"]["additionalProperties"] = {
        "type": ["object", "null"],
        "description": "Keys of a point, as at the top level, each of them optional.",
        "properties": partial_point,
        "additionalProperties": False,
    }
    found = definitions[search]["properties"]
    grid = {"type": "array", "minItems": 1, "description": "All of the values; short for {grid: [...]}."}
    found["space"]["additionalProperties"]["anyOf"].insert(0, grid)
    found["space"]["propertyNames"] = {"enum": list(point_keys(task.point))}
    found["scheduler"]["anyOf"].insert(0, {"const": "asha", "description": "Short for {}: asha with its defaults."})
    return {
        "title": f"Sweep of task {task.name}",
        "type": "object",
        "additionalProperties": False,
        "properties": point["properties"] | keys["properties"],
        "required": [*keys["required"], *point["required"], *(["task"] if task.name != DEFAULT_TASK else [])],
    }


def _without_required(section: Any) -> Any:
    return {key: value for key, value in section.items() if key != "required"}
