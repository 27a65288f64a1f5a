"""What was reached: the leaderboard, the curves over budgets, and the languages."""

from collections.abc import Mapping, Sequence

import numpy as np

from raykd.report.document import Block, Figure, Picture, Section, Table, Text
from raykd.report.figures import Curve, curves, dots, heat_map
from raykd.report.leaderboard import GENERATION_ZERO
from raykd.report.numbers import duration, interval, number, signed, value
from raykd.report.results import Configuration, Contender, Results, base_name, mean_of, short_names
from raykd.report.statistics import confidence_interval

MOST_MATRICES = 3
MOST_PANELS = 3


def leaderboard_section(results: Results) -> Section:
    """Every configuration, best first, with mean, deviation and confidence interval of the main score."""
    keys = short_names(sorted({key for each in results.configurations for key in each.varied}))
    others = [name for name in results.columns if name != results.main]
    rows: list[tuple[float, tuple[str, ...]]] = []
    for each in results.configurations:
        rows.append((_rank(each.mean(results.main)), _row(results, each, list(keys), others)))
    for base in results.records.bases:
        scores = [number(base.scores.get(name)) for name in others]
        labels = (base_name(results, base), *(value(None) for _ in keys))
        rows.append(
            (
                _rank(base.scores.get(results.main)),
                (*labels, number(base.scores.get(results.main)), "", *scores, "", ""),
            )
        )
    rows.sort(key=lambda row: -row[0])
    headings = ("method", *keys.values(), results.heading, "95% interval", *(results.columns[name] for name in others))
    table = Table(
        (*headings, "seeds", "time a point"),
        tuple(row for _, row in rows),
        num_labels=1 + len(keys),
        emphasised=frozenset({0} if rows and rows[0][0] > _rank(None) else ()),
    )
    text = (
        "Mean over seeds ± sample deviation; the interval is Student's t interval of the mean over seeds, so it is wide "
        "where there are few. Scores are in percent."
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
        f"highest seed; the line across is {GENERATION_ZERO}, the teacher before any budget was spent."
    )
    blocks: tuple[Block, ...] = (Figure(tuple(pictures), caption, (_budget_table(results, lines),)),)
    return Section("few-shot", "What more data buys", "Budgets", blocks)


def languages_section(results: Results) -> Section | None:
    """Scores by language, or by pair of languages."""
    shown = _best_of_contenders(results)
    if not shown:
        return None
    roles = _roles(results, shown)
    if not roles:
        return None
    cells = {name: each.cells(results.metric) for name, _, each in shown}
    blocks: list[Block] = []
    if results.is_matrix:
        blocks.append(_matrices(results, cells))
    pictures = tuple(_language_dots(results, shown, role, table) for role, table in roles.items())
    caption = "Each contender at its best budget, mean over seeds"
    caption += f"; hollow: {GENERATION_ZERO}." if results.base else "."
    numbers = tuple(_language_table(role, table) for role, table in roles.items())
    blocks.append(Figure(pictures, caption, numbers))
    return Section("languages", "Languages", "Languages", tuple(blocks))


def _row(results: Results, each: Configuration, keys: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    found = confidence_interval(each.values(results.main)) if results.main else None
    seeds = str(len(each.finished))
    waiting: dict[str, int] = {}
    for point in each.points:
        if point.result is None:
            waiting[point.state.status] = waiting.get(point.state.status, 0) + 1
    if waiting:
        seeds += f" ({', '.join(f'{num} {status}' for status, num in sorted(waiting.items()))})"
    main = () if found is None else (_spread(found.mean, found.deviation), interval(found.low, found.high))
    scores = [confidence_interval(each.values(name)) for name in others]
    seconds = mean_of(point.result["seconds"] for point in each.finished)
    return (
        each.method,
        *(value(each.varied.get(key)) for key in keys),
        *(main or ("–", "–")),
        *(_spread(score.mean, score.deviation) for score in scores),
        seeds,
        duration(seconds),
    )


def _spread(mean: float | None, deviation: float | None) -> str:
    return number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"


def _rank(mean: float | None) -> float:
    return float("-inf") if mean is None else mean


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
    return {"qa": "parallel ids", "tagging": "sentences a language", "parallel": "pairs a language"}.get(
        results.task, "items"
    )


def _budget_table(results: Results, lines: Sequence[Contender]) -> Table:
    rows = tuple(
        (line.name, *(number(each.mean(results.main)) for each in _at_budgets(results, line))) for line in lines
    )
    return Table(("method", *map(value, results.budgets)), rows, f"{results.heading} by budget")


def _at_budgets(results: Results, line: Contender) -> list[Configuration]:
    found = {value(each.budget): each for each in line.configurations}
    empty = Configuration("", "", {}, ())
    return [found.get(value(budget), empty) for budget in results.budgets]


def _best_of_contenders(results: Results) -> list[tuple[str, int, Configuration]]:
    """Name, style and best configuration of each contender, best first."""
    found = [(each.name, each.style, each.best(results.main)) for each in results.contenders]
    return sorted(found, key=lambda one: -_rank(one[2].mean(results.main)))


def _matrices(results: Results, cells: Mapping[str, Mapping[str, float]]) -> Figure:
    """For the best contenders: the matrix, its difference to generation 0, and how far the best one is ahead."""
    names = list(cells)[:MOST_MATRICES]
    tables = {name: _matrix(cells[name]) for name in names}
    languages = _languages(cells[names[0]])
    base = None
    if results.base and results.base.scores.get("cells"):
        base = _matrix({name: cell[results.metric] for name, cell in results.base.scores["cells"].items()}, languages)
    tables = {name: _matrix(cells[name], languages) for name in names}
    every = [*tables.values(), *([] if base is None else [base])]
    gains = {} if base is None else {name: table - base for name, table in tables.items()}
    leads = {name: tables[names[0]] - table for name, table in tables.items() if name != names[0]}
    absolute = float(min(map(np.nanmin, every))), float(max(map(np.nanmax, every)))
    most = max((float(np.nanmax(np.abs(each))) for each in [*gains.values(), *leads.values()]), default=1.0) or 1.0
    pictures = [] if base is None else [_heat(GENERATION_ZERO, base, languages, absolute)]
    for name, table in tables.items():
        pictures.append(_heat(name, table, languages, absolute))
        if name in gains:
            pictures.append(
                _heat(f"{name} minus {GENERATION_ZERO}", gains[name], languages, (-most, most), signed=True)
            )
        if name in leads:
            title = f"{names[0]} minus {name}"
            pictures.append(_heat(title, leads[name], languages, (-most, most), signed=True))
    caption = (
        f"{results.heading.rpartition(' ')[2]} of every cell in percent, question language by context language, mean "
        "over seeds, each contender at its best budget. Bright yellow is high, dark blue low; differences are in "
        "percent points, orange above and purple below nought."
    )
    numbers = tuple(_matrix_table(name, table, languages) for name, table in tables.items())
    if base is not None:
        numbers = (_matrix_table(GENERATION_ZERO, base, languages), *numbers)
    return Figure(tuple(pictures), caption, numbers)


def _heat(
    title: str,
    table: np.ndarray,
    languages: tuple[list[str], list[str]],
    limits: tuple[float, float],
    signed: bool = False,
) -> Picture:
    ends = []
    if np.isfinite(table).any():
        for word, place in (("highest", np.nanargmax(table)), ("lowest", np.nanargmin(table))):
            row, column = np.unravel_index(place, table.shape)
            ends.append(
                f"{word} {table[row, column]:.0f} at question {languages[0][row]}, context {languages[1][column]}"
            )
    return heat_map(
        languages,
        table,
        title=title,
        labels=("question", "context"),
        alt=f"{title}, by question and context language: {', '.join(ends)}.",
        limits=limits,
        signed=signed,
    )


def _languages(cells: Mapping[str, float]) -> tuple[list[str], list[str]]:
    pairs = [name.split("-", 1) for name in cells]
    return list(dict.fromkeys(pair[0] for pair in pairs)), list(dict.fromkeys(pair[1] for pair in pairs))


def _matrix(cells: Mapping[str, float], languages: tuple[list[str], list[str]] | None = None) -> np.ndarray:
    questions, contexts = languages or _languages(cells)
    return np.array([[cells.get(f"{one}-{other}", np.nan) for other in contexts] for one in questions])


def _matrix_table(name: str, table: np.ndarray, languages: tuple[list[str], list[str]]) -> Table:
    rows = tuple(
        (question, *(number(None if np.isnan(cell) else float(cell)) for cell in row))
        for question, row in zip(languages[0], table, strict=True)
    )
    return Table(("question \\ context", *languages[1]), rows, name)


Role = dict[str, dict[str, float]]
"""Name of a contender, or of generation 0 -> language -> score."""


def _roles(results: Results, shown: Sequence[tuple[str, int, Configuration]]) -> dict[str, Role]:
    """What a language may be -> the scores of everyone by language: trained, zero-shot, the question's or both."""
    everyone = {name: [point.result["scores"] for point in each.finished] for name, _, each in shown}
    if results.base:
        everyone[GENERATION_ZERO] = [results.base.scores]
    cells = {
        name: _mean_cells([score.get("cells", {}) for score in scores], results.metric)
        for name, scores in everyone.items()
    }
    if results.is_matrix:
        return {
            "Question and context in the language": {name: _side(each, 0, both=True) for name, each in cells.items()},
            "Questions in the language": {name: _side(each, 0) for name, each in cells.items()},
            "Contexts in the language": {name: _side(each, 1) for name, each in cells.items()},
        }
    trained = shown[0][2].points[0].config.get("data", {}).get("languages", ())
    found = {
        "Trained languages": {name: {k: v for k, v in each.items() if k in trained} for name, each in cells.items()},
        "Zero-shot languages": {
            name: {k: v for k, v in each.items() if k not in trained} for name, each in cells.items()
        },
    }
    probes = dict.fromkeys(
        probe for scores in everyone.values() for score in scores for probe in score.get("probes", {})
    )
    for probe in probes:
        found[f"{probe} (accuracy)"] = {
            name: _mean_cells([score.get("probes", {}).get(probe, {}) for score in scores], "accuracy")
            for name, scores in everyone.items()
        }
    return {role: table for role, table in found.items() if any(table.values())}


def _mean_cells(found: Sequence[Mapping[str, Mapping[str, float]]], metric: str) -> dict[str, float]:
    names = dict.fromkeys(name for cells in found for name in cells)
    return {name: float(np.mean([cells[name][metric] for cells in found if name in cells])) for name in names}


def _side(cells: Mapping[str, float], side: int, *, both: bool = False) -> dict[str, float]:
    """Language -> mean over the cells with it on a side, or on both."""
    found: dict[str, list[float]] = {}
    for name, score in cells.items():
        pair = name.split("-", 1)
        if not both or pair[0] == pair[1]:
            found.setdefault(pair[side], []).append(score)
    return {language: float(np.mean(scores)) for language, scores in found.items()}


def _language_dots(
    results: Results, shown: Sequence[tuple[str, int, Configuration]], role: str, table: Role
) -> Picture:
    styles = {name: style for name, style, _ in shown} | {GENERATION_ZERO: -1}
    languages = list(dict.fromkeys(language for each in table.values() for language in each))
    series = [
        Curve(name, styles[name], [languages.index(key) for key in scores], list(scores.values()))
        for name, scores in table.items()
    ]
    best = next(iter(table))
    said = ", ".join(f"{language} {number(score)}" for language, score in table[best].items())
    word = (
        "accuracy"
        if role.endswith("(accuracy)")
        else results.metric.upper()
        if len(results.metric) < 3
        else results.metric
    )
    return dots(languages, series, title=role, x_label=f"{word} (%)", alt=f"{role}: {best} reaches {said}.")


def _language_table(role: str, table: Role) -> Table:
    languages = list(dict.fromkeys(language for each in table.values() for language in each))
    rows = []
    base = table.get(GENERATION_ZERO)
    for name, scores in table.items():
        shown = [number(scores.get(language)) for language in languages]
        if base and name != GENERATION_ZERO:
            shown = [
                f"{text} ({signed(scores[key] - base[key])})" if key in scores and key in base else text
                for key, text in zip(languages, shown, strict=True)
            ]
        rows.append((name, *shown))
    gain = f"; in brackets the difference to {GENERATION_ZERO}" if base and len(table) > 1 else ""
    return Table(("method", *languages), tuple(rows), f"{role}{gain}")
