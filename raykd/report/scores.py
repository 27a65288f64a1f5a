"""What was reached: the leaderboard, and the curves over budgets."""

from collections.abc import Sequence

import numpy as np

from raykd.report.analysis import Analysis, Contender, base_name, short_names
from raykd.report.document import Block, Figure, Picture, Section, Table, Text
from raykd.report.figures import Curve, curves
from raykd.report.leaderboard import GENERATION_ZERO, chosen_by, with_references
from raykd.report.numbers import duration, interval, number, value
from raykd.report.statistics import confidence_interval
from raykd.results.configurations import Configuration
from raykd.results.sweep import BaseScores
from raykd.tasks import TASKS

MOST_PANELS = 3


def leaderboard_section(analysis: Analysis) -> Section:
    """Every configuration, best first, with mean, deviation and confidence interval of the main score."""
    keys = short_names(sorted({key for each in analysis.configurations for key in each.varied}))
    others = [name for name in analysis.columns if name != analysis.main]
    found = [
        (each.mean(analysis.main), configuration_row(analysis, each, list(keys), others))
        for each in analysis.configurations
    ]
    bases = [
        (base.final.values.get(analysis.main), base_row(analysis, base, list(keys), others))
        for base in analysis.records.bases
    ]
    rows = with_references(found, bases, lambda row: row[0])
    others_called = (analysis.columns[name] for name in others)
    headings = ("method", *keys.values(), analysis.heading, "95% interval", *others_called)
    table = Table(
        (*headings, "seeds", "time a point"),
        tuple(row for _, row in rows),
        num_labels=1 + len(keys),
        emphasised=frozenset({0} if rows and rows[0][0] is not None else ()),
    )
    text = (
        "Mean over seeds ± sample deviation; the interval is Student's t interval of the mean over seeds, so it is "
        "wide where there are few. Scores are in percent. "
    ) + chosen_by(analysis.records.test_sets)
    if any(heading.startswith("G-XLT") for heading in analysis.columns.values()):
        text += (
            " XLT is the mean over cells whose question and context have the same language, G-XLT the mean over all."
        )
    return Section("leaderboard", "Leaderboard", "Leaderboard", (Text(text), table))


def few_shot_section(analysis: Analysis) -> Section | None:
    """The score over the budget, a line for each contender; None where a sweep has one budget."""
    lines = [each for each in analysis.contenders if sum(c.num_items is not None for c in each.configurations) > 1]
    if not lines:
        return None
    pictures = [_budget_curves(analysis, lines, score) for score in analysis.overall[:MOST_PANELS]]
    caption = (
        "Score over the budget (on a logarithmic axis): lines are means over seeds, bands reach from the lowest to the "
        f"highest seed; the line across is {GENERATION_ZERO}."
    )
    blocks: tuple[Block, ...] = (Figure(tuple(pictures), caption, (_budget_table(analysis, lines),)),)
    return Section("few-shot", "Scores over budgets", "Budgets", blocks)


def base_row(analysis: Analysis, base: BaseScores, keys: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    """A generation 0 as a row of the same table."""
    scores = [number(base.final.values.get(name)) for name in others]
    labels = (base_name(analysis, base), *(value(None) for _ in keys))
    return (*labels, number(base.final.values.get(analysis.main)), "", *scores, "", "")


def configuration_row(
    analysis: Analysis, each: Configuration, keys: Sequence[str], others: Sequence[str]
) -> tuple[str, ...]:
    """A configuration as a row of text: labels, the main score with its interval, other scores, seeds, time."""
    found = analysis.interval(each)
    seeds = str(len(each.finished))
    if each.unfinished:
        seeds += f" ({', '.join(f'{num} {status}' for status, num in sorted(each.unfinished.items()))})"
    scores = [confidence_interval(each.values(name)) for name in others]
    return (
        each.method,
        *(value(each.varied.get(key)) for key in keys),
        _spread(found.mean, found.deviation),
        interval(found.low, found.high),
        *(_spread(score.mean, score.deviation) for score in scores),
        seeds,
        duration(each.mean_seconds),
    )


def _spread(mean: float | None, deviation: float | None) -> str:
    return number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"


def _budget_curves(analysis: Analysis, lines: Sequence[Contender], score: str) -> Picture:
    drawn: list[Curve] = []
    ticks: dict[float, str] = {}
    for line in lines:
        known = [
            (each.num_items, each) for each in line.configurations if each.num_items is not None and each.values(score)
        ]
        spread = [each.values(score) for _, each in known]
        ticks |= {num_items: value(each.budget) for num_items, each in known}
        x, mean = [num_items for num_items, _ in known], [float(np.mean(values)) for values in spread]
        drawn.append(Curve(line.name, line.style, x, mean, [*map(min, spread)], [*map(max, spread)]))
    base = analysis.base.final.values.get(score) if analysis.base else None
    heading = analysis.columns[score]
    ends = [
        f"{line.name} from {number(curve.mean[0])} to {number(curve.mean[-1])}"
        for line, curve in zip(lines, drawn, strict=True)
        if curve.mean
    ]
    return curves(
        drawn,
        title=heading,
        x_label=f"budget ({_unit(analysis)})",
        y_label=f"{heading} (%)",
        alt=f"{heading} over the budget: {'; '.join(ends)}.",
        ticks=dict(sorted(ticks.items())) if len(ticks) <= 8 else None,
        log=True,
        level=(GENERATION_ZERO, base) if base is not None else None,
    )


def _unit(analysis: Analysis) -> str:
    task = TASKS.get(analysis.task)
    return task.info.words.items if task else "items"


def _budget_table(analysis: Analysis, lines: Sequence[Contender]) -> Table:
    rows = tuple(
        (line.name, *(number(each.mean(analysis.main)) for each in _at_budgets(analysis, line))) for line in lines
    )
    return Table(("method", *map(value, analysis.budgets)), rows, f"{analysis.heading} by budget")


def _at_budgets(analysis: Analysis, line: Contender) -> list[Configuration]:
    found = {value(each.budget): each for each in line.configurations}
    empty = Configuration("", "", {}, ())
    return [found.get(value(budget), empty) for budget in analysis.budgets]
