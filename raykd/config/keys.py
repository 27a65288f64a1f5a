"""Dotted keys of a point, like `distillation.temperature`, and what can be done with plain mappings by them."""

import difflib
import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

UNION_ORIGINS = (Union, types.UnionType)


def arms(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation, None left out; one that is no union is its own single alternative."""
    if get_origin(annotation) is Annotated:
        return arms(get_args(annotation)[0])
    if get_origin(annotation) in UNION_ORIGINS:
        return tuple(arm for part in get_args(annotation) for arm in arms(part) if arm is not type(None))
    return (annotation,)


def is_model(annotation: Any) -> bool:
    """Whether the annotation is a section."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def section_at(model: type[BaseModel], path: Iterable[str | int]) -> type[BaseModel] | None:
    """The section that a path leads to; None where it leads to something else or nowhere."""
    annotation: Any = model
    for name in path:
        section = next(filter(is_model, arms(annotation)), None)
        if section:
            field = section.model_fields.get(str(name))
            annotation = field.annotation if field else None
        else:
            # A section of sections with names of the file's own.
            annotation = next(
                (get_args(arm)[1] for arm in arms(annotation) if get_origin(arm) in (dict, Mapping)), None
            )
    return next(filter(is_model, arms(annotation)), None)


def _walk(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, bool]]:
    for name, field in model.model_fields.items():
        inner = arms(field.annotation)
        has_keys = len(inner) == 1 and is_model(inner[0])
        yield prefix + name, not has_keys
        if has_keys:
            yield from _walk(inner[0], f"{prefix}{name}.")


@functools.cache
def _keys(model: type[BaseModel]) -> dict[str, bool]:
    return dict(_walk(model))


def point_keys(model: type[BaseModel]) -> tuple[str, ...]:
    """Every dotted key of a point's class, sections too."""
    return tuple(_keys(model))


def leaf_keys(model: type[BaseModel]) -> tuple[str, ...]:
    """The dotted keys of a point's class that hold a value."""
    return tuple(key for key, is_leaf in _keys(model).items() if is_leaf)


def near(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate that was probably meant, by the spelling of all of it or of the last part of a dotted key."""
    known = sorted(candidates, key=lambda key: -key.count("."))
    last_parts = {key.split(".")[-1]: key for key in known}
    whole = difflib.get_close_matches(name, known, n=1)
    last = difflib.get_close_matches(name.rsplit(".", maxsplit=1)[-1], last_parts, n=1)
    return whole[0] if whole else last_parts[last[0]] if last else None


def split_key(key: str) -> tuple[str, ...]:
    """The parts of a dotted key of a sweep file; the keys of `search.space` hold dots of their own."""
    space = "search.space."
    return ("search", "space", key.removeprefix(space)) if key.startswith(space) else tuple(key.split("."))


def merged(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `change`: sections are merged key by key, everything else is replaced."""
    result = dict(base)
    for key, value in change.items():
        if isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = merged(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def with_path(raw: Any, path: tuple[str, ...], value: Any) -> Any:
    """`raw` with the value at a path; sections on the way are made, what is no section there is replaced."""
    if not path:
        return value
    section = raw if isinstance(raw, Mapping) else {}
    return {**section, path[0]: with_path(section.get(path[0]), path[1:], value)}


def without_path(raw: Any, path: tuple[str, ...]) -> Any:
    """`raw` without the key at a path."""
    if not isinstance(raw, Mapping) or path[0] not in raw:
        return raw
    if len(path) == 1:
        return {key: value for key, value in raw.items() if key != path[0]}
    return {**raw, path[0]: without_path(raw[path[0]], path[1:])}


def at_path(raw: Any, path: Iterable[str], default: Any = None) -> Any:
    """The value at a path, or the default where a part of it is missing."""
    for name in path:
        if not isinstance(raw, Mapping) or name not in raw:
            return default
        raw = raw[name]
    return raw
