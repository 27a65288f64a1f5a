"""Read a sweep file, and find everything that is wrong in it before anything starts."""

import functools
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml

from raykd.config.explain import check, show
from raykd.config.keys import POINT_KEYS, merged, split_key, with_path, without_path
from raykd.config.point import PointConfig
from raykd.config.presets import PRESETS
from raykd.config.sweep import SweepConfig
from raykd.config.vary import foreign_keys, point_problems, shape_problems, without_shorthand
from raykd.errors import ConfigError

_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of version 1.2: `no` is text, `1e-4` a number, and a key stands in a section once."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}
    yaml_constructors: ClassVar[dict[str, Any]] = {}

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.problems: list[str] = []

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = True) -> dict[Any, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            name = key.value if key.tag == f"{_TAG}str" else None
            if key.tag == f"{_TAG}merge":
                continue
            if name is None:
                self.problems.append(f"line {line}: a key must be text; write {getattr(key, 'value', '')!r} in quotes")
            elif name in first:
                self.problems.append(f"line {line}: key {name!r} stands here twice, first in line {first[name]}")
            else:
                first[name] = line
        return super().construct_mapping(node, deep=True)


def _joined(node: yaml.ScalarNode) -> str:
    """Text of a file in which JSON's pairs of surrogates are the characters that they stand for."""
    try:
        return node.value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError as error:
        line = node.start_mark.line + 1
        raise ValueError(f"line {line}: half a character (a lone surrogate); write all of it") from error


_SCALARS: dict[str, tuple[str, list[str], Callable[..., Any]]] = {
    "null": (r"~|null|Null|NULL|", [*"~nN", ""], lambda loader, node: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", [*"tTfF"], lambda loader, node: node.value.lower() == "true"),
    "int": (r"[-+]?[0-9]+", [*"-+0123456789"], lambda loader, node: int(node.value)),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
        [*"-+.0123456789"],
        lambda loader, node: float(node.value),
    ),
    "str": (r"(?!)", [], lambda loader, node: _joined(node)),
}
for _name, (_pattern, _first, _construct) in _SCALARS.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), _first)
    _Loader.add_constructor(_TAG + _name, _construct)
_Loader.add_implicit_resolver(f"{_TAG}merge", re.compile("<<$"), ["<"])
_Loader.add_constructor(None, yaml.SafeLoader.construct_undefined)
_Loader.add_constructor(f"{_TAG}seq", lambda loader, node: loader.construct_sequence(node, deep=True))
_Loader.add_constructor(f"{_TAG}map", lambda loader, node: loader.construct_mapping(node))


def as_yaml(raw: Mapping[str, Any]) -> str:
    """Keys of a sweep file as the text of one, in their order."""
    return yaml.safe_dump(raw, sort_keys=False, allow_unicode=True, width=100)


def parse_value(text: str) -> Any:
    """A value as it would be read from a sweep file, for values that come from a command line.

    Raises:
        ConfigError: if it is no YAML; the lines name line and column.
    """
    try:
        loader = _Loader(text)
        value = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{where}{error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(" ".join(str(error).split())) from error
    if loader.problems:
        raise ConfigError(loader.problems)
    return value


def _read(path: Path) -> dict[str, Any]:
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
        raise ConfigError(f"{path}: empty; a sweep file needs at least name, data.train and evaluation.source")
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: got {show(raw)}; a sweep file must be keys with values, like `name: first`")
    return raw


def load_sweep(path: Path, *, overrides: Mapping[str, Any] | None = None) -> SweepConfig:
    """Read a sweep file. The file's keys win over its preset's, and `overrides` over both.

    Args:
        overrides: dotted key of the file -> the value to put in its place.

    Raises:
        ConfigError: with one line for every wrong thing: file, key, what was found, what is allowed.
    """
    raw = _read(path)
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
    preset = raw.get("preset")
    known = isinstance(preset, str) and raw.get("task", "qa") == "qa"
    raw = without_shorthand(merged(PRESETS.get(preset, {}) if known else {}, raw))
    shape = shape_problems(raw)
    # What is wrong with such a key beside its being there need not be said.
    raw = functools.reduce(without_path, foreign_keys(raw), raw)
    sweep, found = check(SweepConfig, raw)
    found = [problem for problem in found if not any(problem.path[: len(own.path)] == own.path for own in shape)]
    ignored = {problem.path[:depth] for problem in (*shape, *found) for depth in range(4)}
    problems = dict.fromkeys([*shape, *found, *point_problems(raw, ignored)])
    if sweep is None or problems:
        raise ConfigError(f"{where}: {problem.line()}" for problem in problems)
    return sweep


def json_schema() -> dict[str, Any]:
    """The JSON schema of a sweep file, for editors and for `raykd schema`."""
    schema = SweepConfig.model_json_schema()
    definitions = schema["$defs"]
    partial = json.loads(json.dumps(definitions).replace('"#/$defs/', '"#/$defs/Partial'))
    point = json.loads(json.dumps(schema["properties"]).replace('"#/$defs/', '"#/$defs/Partial'))
    definitions |= {f"Partial{name}": _without_required(section) for name, section in partial.items()}
    properties = schema["properties"]
    properties["methods"]["additionalProperties"] = {
        "type": ["object", "null"],
        "description": "Keys of a point, as at the top level, each of them optional.",
        "properties": {name: point[name] for name in PointConfig.model_fields},
        "additionalProperties": False,
    }
    search = definitions["SearchConfig"]["properties"]
    grid = {"type": "array", "minItems": 1, "description": "Every value; short for {grid: [...]}."}
    search["space"]["additionalProperties"]["anyOf"].insert(0, grid)
    search["space"]["propertyNames"] = {"enum": list(POINT_KEYS)}
    search["scheduler"]["anyOf"].insert(0, {"const": "asha", "description": "Short for {}: asha with its defaults."})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _without_required(section: Any) -> Any:
    return {key: value for key, value in section.items() if key != "required"}
