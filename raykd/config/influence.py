"""Which keys have an influence on a point's result: said at the field, read here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raykd.config.base import Config


def _always(point: Any) -> bool:
    return True


@dataclass(frozen=True)
class Influence:
    """Stands in the annotation of a field: when its key counts for a point, and as what.

    A key without it counts always, as it is. Points that agree in all keys that count are one point.

    Attributes:
        when: whether the key has an influence on the result of a point.
        value: what counts in place of the key's own value, where several values of it mean the same.
    """

    when: Callable[[Any], bool] = _always
    value: Callable[[Any], Any] | None = None


NO_INFLUENCE = Influence(when=lambda point: False)
"""Of keys that say where and how often something is done, and never what comes of it."""


def recipe(point: Config) -> dict[str, Any]:
    """All keys of a point that have an influence on its result, as plain values."""
    return _section(point, point.model_dump(mode="json"), point)


def _section(section: Config, dumped: dict[str, Any], point: Config) -> dict[str, Any]:
    kept = {}
    for name, field in type(section).model_fields.items():
        influence = next((mark for mark in field.metadata if isinstance(mark, Influence)), Influence())
        if not influence.when(point):
            continue
        value = getattr(section, name)
        if influence.value is not None:
            found = influence.value(point)
            kept[name] = found.model_dump(mode="json") if isinstance(found, Config) else found
        else:
            kept[name] = _section(value, dumped[name], point) if isinstance(value, Config) else dumped[name]
    return kept
