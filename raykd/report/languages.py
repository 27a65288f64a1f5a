"""Scores by language, or by pair of question and context language."""

from collections.abc import Mapping, Sequence

import numpy as np

from raykd.report.analysis import Analysis, rank
from raykd.report.document import Block, Figure, Picture, Section, Table
from raykd.report.figures import Curve, dots, heat_map
from raykd.report.leaderboard import GENERATION_ZERO
from raykd.report.numbers import number, signed
from raykd.results.configurations import Configuration

MOST_MATRICES = 3


def languages_section(analysis: Analysis) -> Section | None:
    """Scores by language, or by pair of languages."""
    shown = _best_of_contenders(analysis)
    if not shown:
        return None
    roles = _roles(analysis, shown)
    if not roles:
        return None
    cells = {name: each.cells() for name, _, each in shown}
    blocks: list[Block] = []
    if analysis.is_matrix:
        blocks.append(_matrices(analysis, cells))
    pictures = tuple(_language_dots(analysis, shown, role, table) for role, table in roles.items())
    caption = f"Means over seeds{analysis.at_best}"
    caption += f"; hollow: {GENERATION_ZERO}." if analysis.base else "."
    numbers = tuple(_language_table(role, table) for role, table in roles.items())
    blocks.append(Figure(pictures, caption, numbers))
    if analysis.is_matrix:
        blocks += _oracle_tables(analysis, shown)
    return Section("languages", "Languages", "Languages", tuple(blocks))


def _oracle_tables(analysis: Analysis, shown: Sequence[tuple[str, int, Configuration]]) -> list[Table]:
    """Of each score that is taken over the best answers: what the best of them would reach, by question language."""
    everyone = {name: [point.scores for point in each.points if point.scores is not None] for name, _, each in shown}
    if analysis.base:
        everyone[GENERATION_ZERO] = [analysis.base.final]
    tables = []
    for probe in dict.fromkeys(probe for scores in everyone.values() for each in scores for probe in each.probes):
        found = {
            name: [each.probes[probe] for each in scores if probe in each.probes] for name, scores in everyone.items()
        }
        languages = list(dict.fromkeys(language for each in found.values() for one in each for language in one))
        most = max(len(one[language]) for each in found.values() for one in each for language in one)
        rows = []
        for name, each in found.items():
            for count in dict.fromkeys((1, most)) if each else ():
                means = _mean_cells(each, f"top_{count}")
                rows.append((name, str(count), *(number(means.get(language)) for language in languages)))
        caption = (
            "F1 of the best of the first answers, by question language: what a model knows where its first answer is "
            f"wrong, and could teach{analysis.at_best}"
        )
        tables.append(Table(("method", "answers", *languages), tuple(rows), caption))
    return tables


def _best_of_contenders(analysis: Analysis) -> list[tuple[str, int, Configuration]]:
    """Name, style and best configuration of each contender, best first."""
    found = [(each.name, each.style, each.best(analysis.main)) for each in analysis.contenders]
    return sorted(found, key=lambda one: -rank(one[2].mean(analysis.main)))


def _matrices(analysis: Analysis, cells: Mapping[str, Mapping[str, float]]) -> Figure:
    """For the best contenders: the matrix, its difference to generation 0, and how far the best one is ahead."""
    names = list(cells)[:MOST_MATRICES]
    tables = {name: _matrix(cells[name]) for name in names}
    languages = _languages(cells[names[0]])
    base = None
    if analysis.base and analysis.base.final.cells:
        base = _matrix(analysis.base.final.cell_values(), languages)
    tables = {name: _matrix(cells[name], languages) for name in names}
    every = [*tables.values(), *([] if base is None else [base])]
    gains = {} if base is None else {name: table - base for name, table in tables.items()}
    leads = {name: tables[names[0]] - table for name, table in tables.items() if name != names[0]}
    absolute = float(min(map(np.nanmin, every))), float(max(map(np.nanmax, every)))
    gained, led = _symmetric(gains), _symmetric(leads)
    pictures = [] if base is None else [_heat(GENERATION_ZERO, base, languages, absolute)]
    for name, table in tables.items():
        pictures.append(_heat(name, table, languages, absolute))
        if name in gains:
            pictures.append(_heat(f"{name} minus {GENERATION_ZERO}", gains[name], languages, gained, signed=True))
        if name in leads:
            title = f"{names[0]} minus {name}"
            pictures.append(_heat(title, leads[name], languages, led, signed=True))
    caption = (
        f"{analysis.heading.rpartition(' ')[2]} of every cell in percent, question language by context language, mean "
        f"over seeds{analysis.at_best}. Bright yellow is high, dark blue low; differences are in percentage points, "
        "orange above and purple below zero, on one scale for all differences to generation 0 and one for all leads "
        "of the best."
    )
    numbers = tuple(_matrix_table(name, table, languages) for name, table in tables.items())
    if base is not None:
        numbers = (_matrix_table(GENERATION_ZERO, base, languages), *numbers)
    return Figure(tuple(pictures), caption, numbers)


def _symmetric(tables: Mapping[str, np.ndarray]) -> tuple[float, float]:
    most = max((float(np.nanmax(np.abs(table))) for table in tables.values()), default=0.0) or 1.0
    return -most, most


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


def _roles(analysis: Analysis, shown: Sequence[tuple[str, int, Configuration]]) -> dict[str, Role]:
    """What a language may be -> the scores of everyone by language: trained, zero-shot, the question's or both."""
    everyone = {name: [point.scores for point in each.points if point.scores is not None] for name, _, each in shown}
    if analysis.base:
        everyone[GENERATION_ZERO] = [analysis.base.final]
    cells = {name: _mean_cells([each.cells for each in scores], analysis.metric) for name, scores in everyone.items()}
    if analysis.is_matrix:
        return {
            "Question and context in the language": {name: _side(each, 0, both=True) for name, each in cells.items()},
            "Questions in the language": {name: _side(each, 0) for name, each in cells.items()},
            "Contexts in the language": {name: _side(each, 1) for name, each in cells.items()},
        }
    trained = shown[0][2].points[0].settings.languages
    found = {
        "Trained languages": {name: {k: v for k, v in each.items() if k in trained} for name, each in cells.items()},
        "Zero-shot languages": {
            name: {k: v for k, v in each.items() if k not in trained} for name, each in cells.items()
        },
    }
    probes = dict.fromkeys(probe for scores in everyone.values() for each in scores for probe in each.probes)
    for probe in probes:
        found[f"{probe} (accuracy)"] = {
            name: _mean_cells([each.probes.get(probe, {}) for each in scores], "accuracy")
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
    analysis: Analysis, shown: Sequence[tuple[str, int, Configuration]], role: str, table: Role
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
        else analysis.metric.upper()
        if len(analysis.metric) < 3
        else analysis.metric
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
