"""What was reached: the leaderboard, and the curves over budgets."""

from collections.abc import Sequence

import numpy as np

from raykd.report.document import Block, Figure, Picture, Section, Table, Text
from raykd.report.figures import Curve, curves
from raykd.report.leaderboard import GENERATION_ZERO
from raykd.report.numbers import duration, interval, number, value
from raykd.report.results import Configuration, Contender, Results, base_name, mean_of, rank, short_names
from raykd.report.statistics import confidence_interval
from raykd.tasks import TASKS

MOST_PANELS = 3


def leaderboard_section(results: Results) -> Section:
    """Every configuration, best first, with mean, deviation and confidence interval of the main score."""
    keys = short_names(sorted({key for each in results.configurations for key in each.varied}))
    others = [name for name in results.columns if name != results.main]
    rows: list[tuple[float, tuple[str, ...]]] = []
    for each in results.configurations:
        rows.append((rank(each.mean(results.main)), _row(results, each, list(keys), others)))
    for base in results.records.bases:
        scores = [number(base.scores.get(name)) for name in others]
        labels = (base_name(results, base), *(value(None) for _ in keys))
        rows.append(
            (
                rank(base.scores.get(results.main)),
                (*labels, number(base.scores.get(results.main)), "", *scores, "", ""),
            )
        )
    rows.sort(key=lambda row: -row[0])
    headings = ("method", *keys.values(), results.heading, "95% interval", *(results.columns[name] for name in others))
    table = Table(
        (*headings, "seeds", "time a point"),
        tuple(row for _, row in rows),
        num_labels=1 + len(keys),
        emphasised=frozenset({0} if rows and rows[0][0] > rank(None) else ()),
    )
    text = (
        "Mean over seeds ± sample deviation; the interval is Student's t interval of the mean over seeds, so it is "
        "wide where there are few. Scores are in percent."
    )
    if results.is_matrix and results.main:
        text += (
            " XLT is the mean over cells whose question and context have the same language, G-XLT the mean over all."
        )
    return Section("leaderboard", "Leaderboard", "Leaderboard", (Text(text), table))


def few_shot_section(results: Results) -> Section | None:
    """The score over the budget, a line for each contender; None where a sweep has one budget."""
    lines = [each for each in results.contenders if sum(c.num_items is not None for c in each.configurations) > 1]
    if not lines:
        return None
    pictures = [_budget_curves(results, lines, score) for score in results.overall[:MOST_PANELS]]
    caption = (
        "Score over the budget (on a logarithmic axis): lines are means over seeds, bands reach from the lowest to the "
        f"highest seed; the line across is {GENERATION_ZERO}."
    )
    blocks: tuple[Block, ...] = (Figure(tuple(pictures), caption, (_budget_table(results, lines),)),)
    return Section("few-shot", "What more data buys", "Budgets", blocks)


def _row(results: Results, each: Configuration, keys: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    found = results.interval(each)
    seeds = str(len(each.finished))
    waiting: dict[str, int] = {}
    for point in each.points:
        if point.result is None:
            waiting[point.state.status] = waiting.get(point.state.status, 0) + 1
    if waiting:
        seeds += f" ({', '.join(f'{num} {status}' for status, num in sorted(waiting.items()))})"
    scores = [confidence_interval(each.values(name)) for name in others]
    seconds = mean_of(point.result["seconds"] for point in each.finished)
    return (
        each.method,
        *(value(each.varied.get(key)) for key in keys),
        _spread(found.mean, found.deviation),
        interval(found.low, found.high),
        *(_spread(score.mean, score.deviation) for score in scores),
        seeds,
        duration(seconds),
    )


def _spread(mean: float | None, deviation: float | None) -> str:
    return number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"


def _budget_curves(results: Results, lines: Sequence[Contender], score: str) -> Picture:
    drawn, ticks = [], {}
    for line in lines:
        known = [each for each in line.configurations if each.num_items is not None and each.values(score)]
        spread = [each.values(score) for each in known]
        ticks |= {each.num_items: value(each.budget) for each in known}
        x = [each.num_items for each in known]
        drawn.append(Curve(line.name, line.style, x, [*map(np.mean, spread)], [*map(min, spread)], [*map(max, spread)]))
    base = results.base.scores.get(score) if results.base else None
    heading = results.columns[score]
    ends = [
        f"{line.name} from {number(curve.mean[0])} to {number(curve.mean[-1])}"
        for line, curve in zip(lines, drawn, strict=True)
        if curve.mean
    ]
    return curves(
        drawn,
        title=heading,
        x_label=f"budget ({_unit(results)})",
        y_label=f"{heading} (%)",
        alt=f"{heading} over the budget: {'; '.join(ends)}.",
        ticks=dict(sorted(ticks.items())) if len(ticks) <= 8 else None,
        log=True,
        level=(GENERATION_ZERO, base) if base is not None else None,
    )


def _unit(results: Results) -> str:
    task = TASKS.get(results.task)
    return task.info.words.items if task else "items"


def _budget_table(results: Results, lines: Sequence[Contender]) -> Table:
    rows = tuple(
        (line.name, *(number(each.mean(results.main)) for each in _at_budgets(results, line))) for line in lines
    )
    return Table(("method", *map(value, results.budgets)), rows, f"{results.heading} by budget")


def _at_budgets(results: Results, line: Contender) -> list[Configuration]:
    found = {value(each.budget): each for each in line.configurations}
    empty = Configuration("", "", {}, ())
    return [found.get(value(budget), empty) for budget in results.budgets]
