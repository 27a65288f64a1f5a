"""How much each searched key matters: its main effect on the score."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from raykd.report.document import Figure, Picture, Section, Table
from raykd.report.figures import Curve, curves
from raykd.report.numbers import number, signed, value
from raykd.report.results import BUDGET, Results, mean_of, short_names

MOST_VALUES = 12
"""A key with more values than this was drawn, not listed: every point is shown instead of a mean."""


def knobs_section(results: Results) -> Section | None:
    """A picture for each searched key but budget and seed; None where nothing else was searched."""
    every = {key for each in results.configurations for key in each.varied}
    names = short_names(sorted(every - {BUDGET}))
    drawn = [(name, *found) for key, name in names.items() if (found := _effect(results, key, name))]
    if not drawn:
        return None
    caption = (
        f"{results.heading} by the value of one key. Lines are means over everything else that was searched, taken "
        "only over settings of the rest for which every value has finished, so that values are compared like with "
        "like; single marks are points of a random search, whose other keys differ too."
    )
    rows = tuple((name, best, span) for name, _, best, span in drawn)
    table = Table(("key", "best value", "best minus worst"), rows, "Main effects, largest over methods", num_labels=2)
    picture = tuple(picture for _, picture, _, _ in drawn)
    return Section("knobs", "What the knobs do", "Knobs", (Figure(picture, caption, (table,)),))


def _effect(results: Results, key: str, name: str) -> tuple[Picture, str, str] | None:
    """The picture of a key, the best of its values, and how far that is above the worst."""
    values = _values(results, key)
    if len(values) < 2:
        return None
    if len(values) > MOST_VALUES:
        return _scatter(results, key, name) if all(isinstance(each, int | float) for each in values) else None
    lines, spans = [], []
    for style, (method, members) in enumerate(_by_method(results, key).items()):
        means = _balanced_means(members, values)
        if means:
            lines.append(Curve(method, style, range(len(values)), means))
            best = max(range(len(values)), key=means.__getitem__)
            spans.append((max(means) - min(means), value(values[best])))
    if not lines:
        return None
    span, best = max(spans)
    said = "; ".join(
        f"{line.name}: "
        + ", ".join(f"{value(at)} gives {number(mean)}" for at, mean in zip(values, line.mean, strict=True))
        for line in lines
    )
    picture = curves(
        lines,
        title=name,
        x_label=name,
        y_label=f"{results.heading} (%)",
        alt=f"{results.heading} by {name}. {said}.",
        ticks={place: _tick(each) for place, each in enumerate(values)},
    )
    return picture, best, signed(span)


def _scatter(results: Results, key: str, name: str) -> tuple[Picture, str, str]:
    lines, every = [], []
    for style, (method, members) in enumerate(_by_method(results, key).items()):
        found = sorted((varied[key], score) for varied, score in members)
        every += found
        lines.append(Curve(method, style, [x for x, _ in found], [score for _, score in found]))
    low, high = (find(x for x, _ in every) for find in (min, max))
    best, score = max(every, key=lambda one: one[1])
    picture = curves(
        lines,
        title=name,
        x_label=name,
        y_label=f"{results.heading} (%)",
        alt=f"{results.heading} of every point by {name}; the best, {number(score)}, is at {value(best)}.",
        log=low > 0 and high / low > 30,
        joined=False,
    )
    return picture, value(best), signed(score - min(score for _, score in every))


def _values(results: Results, key: str) -> list[Any]:
    """The values of a key that have results: numbers by size, then everything else in the order of the points."""
    found = {value(each.varied[key]): each.varied[key] for each in results.finished if key in each.varied}
    numbers = sorted(each for each in found.values() if isinstance(each, int | float))
    return numbers + [each for each in found.values() if not isinstance(each, int | float)]


def _by_method(results: Results, key: str) -> dict[str, list[tuple[Mapping[str, Any], float]]]:
    """Method -> searched values, the seed among them, and main score of every finished point that has the key."""
    found: dict[str, list[tuple[Mapping[str, Any], float]]] = {}
    for point in results.records.points:
        score = point.result["scores"].get(results.main) if point.result else None
        if score is not None and key in point.varied:
            found.setdefault(point.method, []).append((point.varied, score))
    return found


def _balanced_means(members: Iterable[tuple[Mapping[str, Any], float]], values: list[Any]) -> list[float]:
    """The mean of each value over those settings of the rest that have all values; empty where none has."""
    blocks: dict[str, dict[str, float]] = {}
    wanted = [value(each) for each in values]
    for varied, score in members:
        for key, found in varied.items():
            rest = json.dumps({name: each for name, each in varied.items() if name != key}, sort_keys=True)
            if value(found) in wanted:
                blocks.setdefault(f"{key} {rest}", {})[value(found)] = score
    complete = [block for block in blocks.values() if len(block) == len(wanted)]
    return [mean_of(block[each] for block in complete) for each in wanted] if complete else []


def _tick(found: Any) -> str:
    text = value(found)
    return text if len(text) <= 14 else json.dumps(found)[:13] + "…"
