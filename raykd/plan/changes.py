"""A sweep file that changed since its folder was begun: what is new is added, what means something else is refused."""

from collections.abc import Iterator, Mapping
from typing import Any

from raykd.config.explain import show
from raykd.config.influence import recipe
from raykd.errors import ConfigError
from raykd.plan.file import sweep_of
from raykd.plan.points import Plan, typical_points
from raykd.results.journal import Journal
from raykd.tasks import point_from_record

ABSENT = object()


def refuse_changed(plan: Plan, journal: Journal) -> None:
    """Refuse points whose name the journal knows with another configuration.

    Raises:
        ConfigError: a line for each key that differs, with both values and how many points it concerns.
    """
    if not journal.sweep.exists():
        return
    found: dict[tuple[str, str, str], int] = {}
    for before, now in _pairs(plan, journal):
        for key, old, new in differences(before, now):
            was, is_now = ("absent" if value is ABSENT else show(value) for value in (old, new))
            found[key, was, is_now] = found.get((key, was, is_now), 0) + 1
    if found:
        lines = [f"{key}: was {old}, now {new} ({count} points)" for (key, old, new), count in found.items()]
        raise ConfigError(
            [
                f"{journal.store.root} has results of points with the same names and other settings:",
                *(f"  {line}" for line in lines),
                "restore these keys, list both values in search.space, or use another storage",
            ]
        )


def _pairs(plan: Plan, journal: Journal) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Configurations under one name that differ: as the journal has it, as the file has it."""
    if not plan.is_exact:
        recorded = sweep_of(journal.sweep.read().config)
        searched = {*recorded.search.space, *plan.sweep.search.space}
        before = {point.method: point for point in typical_points(recorded)}
        for point in {point.method: point for point in typical_points(plan.sweep)}.values():
            if point.method in before:
                yield _without(before[point.method].recipe, searched), _without(point.recipe, searched)
        return
    known: dict[str, list[str]] = {}
    for point_id in journal.points.ids():
        known.setdefault(journal.points.description(point_id).label, []).append(point_id)
    for point in plan.points:
        others = known.get(point.label, [])
        if others and point.id not in others:
            described = journal.points.description(others[-1]).config
            yield recipe(point_from_record(described, where=f"{journal.store.root}: {point.label}")), point.recipe


def _without(config: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    for key in keys:
        *sections, name = key.split(".")
        section: Any = config
        for each in sections:
            section = section.get(each, {}) if isinstance(section, dict) else {}
        if isinstance(section, dict):
            section.pop(name, None)
    return config


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, old value, new value) of what differs; `ABSENT` stands for none."""
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key, ABSENT), now.get(key, ABSENT)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{prefix}{key}.")
        elif old != new:
            yield prefix + key, old, new
