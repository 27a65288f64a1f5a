"""What is wrong with a configuration, in one line for each wrong thing."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from raykd.config.keys import leaf_keys, near, section_at

Path = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text (a number or true and false become text in quotes)",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a section with keys of its own",
    "finite_number": "a finite number",
}
_WRONG_TYPE = {*_EXPECTED, "model_type", "literal_error"}
_LENGTH = "number of values must be at "


@dataclass(frozen=True)
class Problem:
    """One wrong thing: where, what was found ("" where there is nothing to show), what is allowed or what to do."""

    path: Path
    text: str
    found: str = ""

    def line(self) -> str:
        """`dotted.key: got what was found; what is allowed`."""
        what = f"got {self.found}; {self.text}" if self.found else self.text
        return ": ".join(filter(None, (".".join(map(str, self.path)), what)))

    def under(self, *prefix: str) -> "Problem":
        """The same below a path."""
        return Problem((*prefix, *self.path), self.text, self.found)

    def is_within(self, path: Path) -> bool:
        """Whether it is at a path, or below it."""
        return self.path[: len(path)] == path


def show(value: Any) -> str:
    """A value as a reader of the file knows it, shortened."""
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check(
    model: type[Model], raw: Mapping[str, Any], *, foreign: Mapping[str, str] | None = None
) -> tuple[Model | None, list[Problem]]:
    """Validate what a file says.

    The types are those of JSON, strictly: no text in the place of a number, no true in the place of 1.

    Args:
        foreign: dotted key that others know -> what to say of it here, where it is unknown.

    Returns:
        The configuration and no problems, or None and all of them.
    """
    try:
        return model.model_validate_json(json.dumps(raw), strict=True), []
    except ValidationError as error:
        found = _problems(model, raw, error.errors(include_url=False))
        said: dict[Path, str] = {tuple(key.split(".")): text for key, text in (foreign or {}).items()}
        return None, [Problem(each.path, said[each.path]) if each.path in said else each for each in found]


@dataclass(frozen=True)
class _Finding:
    """One error of pydantic: its place in the file, the value there, and the union alternative it comes from."""

    path: Path
    value: Any
    union: Path | None
    alternative: str | int | None
    error: Mapping[str, Any]

    @property
    def is_wrong_type(self) -> bool:
        """Whether the value is not of the alternative's kind at all."""
        return self.path == self.union and self.error["type"] in _WRONG_TYPE


def _find(raw: Any, error: Mapping[str, Any]) -> _Finding:
    """Pydantic puts a union's alternative into the location: it is the part that the file does not have."""
    path: Path = ()
    union = alternative = None
    last = len(error["loc"]) - 1
    for position, part in enumerate(error["loc"]):
        is_index = isinstance(raw, list) and isinstance(part, int) and part < len(raw)
        if is_index or (isinstance(raw, Mapping) and part in raw):
            raw = raw[part]
            path += (part,)
        elif position == last and error["type"] == "missing":
            path += (part,)
        else:
            union, alternative = path, part
    return _Finding(path, raw, union, alternative, error)


def _problems(model: type[BaseModel], raw: Any, errors: Sequence[Any]) -> list[Problem]:
    findings = [_find(raw, error) for error in errors]
    places = dict.fromkeys(finding.path if finding.union is None else finding.union for finding in findings)
    problems: list[Problem] = []
    for place in places:
        problems += [_explain(model, found) for found in findings if found.union is None and found.path == place]
        problems += _of_union(model, place, [found for found in findings if found.union == place])
    # Pydantic counts a list's valid values only: beside a wrong value, a wrong length says nothing.
    parents = {problem.path[:-1] for problem in problems}
    return [p for p in dict.fromkeys(problems) if p.path not in parents or not p.text.startswith(_LENGTH)]


def _of_union(model: type[BaseModel], place: Path, findings: Sequence[_Finding]) -> list[Problem]:
    """The errors of the alternative that was probably meant, or one line that names all alternatives."""
    alternatives: dict[Any, list[_Finding]] = {}
    for finding in findings:
        alternatives.setdefault(finding.alternative, []).append(finding)
    fitting = [found for found in alternatives.values() if not any(finding.is_wrong_type for finding in found)]
    if fitting:
        meant = min(fitting, key=lambda found: (sum(f.error["type"] == "extra_forbidden" for f in found), len(found)))
        return [_explain(model, finding) for finding in meant]
    problems = [_explain(model, finding) for finding in findings]
    wanted = dict.fromkeys(problem.text.removeprefix("must be ") for problem in problems)
    return [Problem(place, f"must be {' or '.join(wanted)}", problems[0].found)] if problems else []


def _explain(model: type[BaseModel], finding: _Finding) -> Problem:
    path, kind, context = finding.path, finding.error["type"], finding.error.get("ctx", {})
    if kind == "extra_forbidden":
        return Problem(path, _unknown_key(model, path))
    if kind == "missing" and isinstance(path[-1], int):
        return Problem(path[:-1], "must be a list of two numbers", show(finding.value))
    if kind == "missing":
        return Problem(path, "missing; it must be given")
    if kind == "value_error":
        return Problem(path, str(context["error"]))
    if kind == "model_type":
        section = section_at(model, path)
        text = f"must be a section with keys among {', '.join(section.model_fields if section else ())}"
    elif kind == "literal_error":
        meant = near(str(finding.value), re.findall(r"'([^']*)'", context["expected"]))
        text = f"must be {context['expected']}" + (f"; did you mean {meant!r}?" if meant else "")
    elif kind in ("too_short", "too_long"):
        bound = f"least {context['min_length']}" if kind == "too_short" else f"most {context['max_length']}"
        text = f"{_LENGTH}{bound}"
    elif kind == "string_pattern_mismatch":
        text = "must be letters, digits, '.', '_' and '-', a letter or a digit first"
    elif kind in _EXPECTED:
        text = f"must be {_EXPECTED[kind]}"
    else:
        text = finding.error["msg"].replace("Input should", "must", 1)
    return Problem(path, text, show(finding.value))


def _unknown_key(model: type[BaseModel], path: Path) -> str:
    name, section = str(path[-1]), section_at(model, path[:-1])
    fields = tuple(section.model_fields) if section else ()
    meant = near(name, fields) or near(name, leaf_keys(model))
    return f"unknown key; did you mean {meant!r}?" if meant else f"unknown key; the keys here are {', '.join(fields)}"
