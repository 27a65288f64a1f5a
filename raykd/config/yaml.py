"""YAML as sweep files are written in: scalars of version 1.2, and a key stands in a section once."""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import yaml

from raykd.errors import ConfigError

_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of version 1.2: `no` is text, `1e-4` a number, and a key stands in a section once."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]  # the stubs have it per instance
    yaml_constructors: ClassVar[dict[str | None, Any]] = {}

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
        text: str = node.value
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError as error:
        line = node.start_mark.line + 1
        raise ValueError(f"line {line}: half a character (a lone surrogate); write all of it") from error


def _list(loader: _Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


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
_Loader.add_constructor(None, _Loader.construct_undefined)  # type: ignore[type-var]  # the stubs fit no subclass
_Loader.add_constructor(f"{_TAG}seq", _list)
_Loader.add_constructor(f"{_TAG}map", _Loader.construct_mapping)


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
