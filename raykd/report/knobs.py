"""How much each searched key matters: its main effect on the score."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from raykd.report.analysis import BUDGET, Analysis, short_names
from raykd.report.document import Figure, Picture, Section, Table
from raykd.report.figures import Curve, curves
from raykd.report.numbers import number, signed, value

Members = list[tuple[Mapping[str, Any], float]]
"""Searched values, the seed among them, and main score of points."""
MOST_VALUES = 12
"""A key with more values than this was drawn, not listed: every point is shown instead of a mean."""


@dataclass(frozen=True)
class _Effect:
    """What one key does.

    Attributes:
        values: what the places of the curves stand for; None where they are numbers of the key.
        best: the value with the highest mean, or of the best point.
        span: how far that is above the worst.
    """

    name: str
    curves: tuple[Curve, ...]
    values: list[Any] | None
    best: str
    span: float


def knobs_section(analysis: Analysis) -> Section | None:
    """A picture for each searched key but budget and seed; None where nothing else was searched."""
    every = {key for each in analysis.configurations for key in each.varied}
    names = short_names(sorted(every - {BUDGET}))
    effects = [found for key, name in names.items() if (found := _effect(analysis, key, name))]
    if not effects:
        return None
    caption = (
        f"{analysis.heading} by the value of one key, all keys on one scale. Lines are means over everything else that "
        "was searched, taken only over settings of the rest for which every value has finished, so that values are "
        "compared like with like; single marks are points of a random search, whose other keys differ too."
    )
    heights = [height for effect in effects for line in effect.curves for height in line.mean]
    # A difference of less than a percentage point shall look small.
    margin = max(0.06 * (max(heights) - min(heights)), 0.5)
    limits = min(heights) - margin, max(heights) + margin
    rows = tuple((effect.name, effect.best, signed(effect.span)) for effect in effects)
    table = Table(("key", "best value", "best minus worst"), rows, "Main effects, largest over methods", num_labels=2)
    pictures = tuple(_drawn(analysis, effect, limits) for effect in effects)
    return Section("knobs", "What the knobs do", "Knobs", (Figure(pictures, caption, (table,)),))


def _drawn(analysis: Analysis, effect: _Effect, limits: tuple[float, float]) -> Picture:
    places = [x for line in effect.curves for x in line.x]
    return curves(
        effect.curves,
        title=effect.name,
        x_label=effect.name,
        y_label=f"{analysis.heading} (%)",
        alt=f"{analysis.heading} by {effect.name}: best at {effect.best}, {number(effect.span)} above the worst.",
        ticks=None if effect.values is None else {place: _tick(each) for place, each in enumerate(effect.values)},
        log=effect.values is None and min(places) > 0 and max(places) / min(places) > 30,
        joined=effect.values is not None,
        y_limits=limits,
    )


def _effect(analysis: Analysis, key: str, name: str) -> _Effect | None:
    values = _values(analysis, key)
    if len(values) < 2:
        return None
    by_method = _by_method(analysis, key)
    styles = {method: style for style, method in enumerate(_methods(analysis))}
    if len(values) > MOST_VALUES:
        is_number = all(isinstance(each, int | float) for each in values)
        return _of_points(by_method, styles, key, name) if is_number else None
    means = {method: _balanced_means(members, key, values) for method, members in by_method.items()}
    known = {method: found for method, found in means.items() if found}
    if not known:
        return None
    lines = tuple(Curve(method, styles[method], range(len(values)), found) for method, found in known.items())
    widest = max(known.values(), key=lambda found: max(found) - min(found))
    best = value(values[widest.index(max(widest))])
    return _Effect(name, lines, values, best, max(widest) - min(widest))


def _of_points(by_method: Mapping[str, Members], styles: Mapping[str, int], key: str, name: str) -> _Effect:
    """Every point by itself, of a key that was drawn."""
    found = {method: sorted((varied[key], score) for varied, score in members) for method, members in by_method.items()}
    lines = tuple(
        Curve(method, styles[method], [x for x, _ in points], [score for _, score in points])
        for method, points in found.items()
    )
    every = [point for points in found.values() for point in points]
    best, highest = max(every, key=lambda point: point[1])
    return _Effect(name, lines, None, value(best), highest - min(score for _, score in every))


def _methods(analysis: Analysis) -> list[str]:
    """The methods in the order of the file, so that each looks as in other figures."""
    named = analysis.records.description.settings.methods
    return list(dict.fromkeys([*named, *(point.method for point in analysis.records.points)]))


def _values(analysis: Analysis, key: str) -> list[Any]:
    """The values of a key that have analysis: numbers by size, then everything else in the order of the points."""
    found = {value(each.varied[key]): each.varied[key] for each in analysis.finished if key in each.varied}
    numbers = sorted(each for each in found.values() if isinstance(each, int | float))
    return numbers + [each for each in found.values() if not isinstance(each, int | float)]


def _by_method(analysis: Analysis, key: str) -> dict[str, Members]:
    """Method -> searched values, the seed among them, and main score of every finished point that has the key."""
    found: dict[str, Members] = {}
    for point in analysis.records.points:
        score, varied = point.main_score, point.description.varied
        if score is not None and key in varied:
            found.setdefault(point.method, []).append((varied, score))
    return found


def _balanced_means(members: Members, key: str, values: list[Any]) -> list[float]:
    """The mean of each value over those settings of the rest that have all values; empty where none has."""
    blocks: dict[str, dict[str, float]] = {}
    for varied, score in members:
        rest = json.dumps({name: each for name, each in varied.items() if name != key}, sort_keys=True)
        blocks.setdefault(rest, {})[value(varied[key])] = score
    complete = [block for block in blocks.values() if len(block) == len(values)]
    return [fmean(block[value(each)] for block in complete) for each in values] if complete else []


def _tick(found: Any) -> str:
    text = value(found)
    return text if len(text) <= 14 else json.dumps(found)[:13] + "…"
