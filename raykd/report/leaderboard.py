"""The leaderboard: one row per configuration, mean and deviation over its seeds. Needs neither Ray nor torch."""

import csv
import io
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raykd.errors import ArtifactError
from raykd.results.artifacts import Store
from raykd.results.journal import Journal

GENERATION_ZERO = "generation 0"


@dataclass(frozen=True)
class Row:
    """One configuration.

    Attributes:
        method: its name in the sweep file, or `generation 0`.
        varied: searched key -> value, the seed left out.
        num_seeds: finished points.
        mean, deviation: of each score, in percent; the deviation is the sample one, None below two seeds.
        seconds: mean time of a point.
        unfinished: status -> count of points that have no result.
    """

    method: str
    varied: Mapping[str, Any]
    num_seeds: int
    mean: Mapping[str, float | None]
    deviation: Mapping[str, float | None]
    seconds: float | None
    unfinished: Mapping[str, int]


@dataclass(frozen=True)
class Leaderboard:
    """A sweep's results.

    Attributes:
        main: the score that rows are sorted by.
        columns: score -> its heading.
    """

    main: str | None
    columns: Mapping[str, str]
    rows: list[Row]

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def leaderboard(root: Path | str) -> Leaderboard:
    """Rows of a sweep's results, best mean of the main score first, configurations without a result last.

    Raises:
        ConfigError: if the folder holds no sweep.
    """
    journal = Journal.at(root)
    groups: dict[tuple[str, str], list[tuple[dict, dict | None, str]]] = {}
    bases: dict[str, str] = {}
    for point_id in journal.current_point_ids():
        point = journal.point(point_id)
        bases[point["base"]] = point["config"]["base"]["model"]
        varied = {key: value for key, value in point["varied"].items() if key != "seed"}
        key = point["method"], json.dumps(varied, sort_keys=True)
        groups.setdefault(key, []).append((varied, journal.result(point_id), journal.state(point_id).status))
    first = _generation_zero(journal.store, bases)
    scored = [result["scores"] for members in groups.values() for _, result, _ in members if result]
    described = next(iter([*scored, *(scores for _, scores in first)]), {"main": None, "columns": {}})
    main, columns = described["main"], described["columns"]
    rows = [_row(method, members, columns) for (method, _), members in groups.items()]
    rows += [
        Row(name, {}, 1, {score: scores.get(score) for score in columns}, dict.fromkeys(columns), None, {})
        for name, scores in first
    ]
    rows.sort(key=lambda row: (row.mean.get(main) is None, -(row.mean.get(main) or 0), row.method, str(row.varied)))
    return Leaderboard(main, columns, rows)


def failures(root: Path | str) -> list[str]:
    """A line for each point that failed: label and reason."""
    journal = Journal.at(root)
    states = [(point_id, journal.state(point_id)) for point_id in journal.current_point_ids()]
    return [
        f"{journal.point(point_id)['label']}: {state.error}" for point_id, state in states if state.status == "failed"
    ]


def render(board: Leaderboard, style: str) -> str:
    """The leaderboard as `markdown` or `csv`."""
    if style == "csv":
        return _csv(board.rows, *_varied(board), list(board.columns))
    heads, *rows = table(board)
    lines = ["| " + " | ".join(heads) + " |", "|" + "|".join("---" for _ in heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def table(board: Leaderboard) -> list[list[str]]:
    """The leaderboard as text in cells, the headings first."""
    keys, names = _varied(board)
    heads = ["method", *names, *board.columns.values(), "seeds", "s/point"]
    return [heads, *(_cells(row, keys, board.columns) for row in board.rows)]


def _varied(board: Leaderboard) -> tuple[list[str], list[str]]:
    """The searched keys, and what they are called."""
    keys = sorted({key for row in board.rows for key in row.varied})
    # The last part of a key names it well enough unless two keys share it.
    last = [key.rpartition(".")[2] for key in keys]
    names = [short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)]
    return keys, names


def _row(method: str, members: Sequence[tuple[dict, dict | None, str]], scores: Iterable[str]) -> Row:
    results = [result for _, result, _ in members if result is not None]
    unfinished: dict[str, int] = {}
    for _, result, status in members:
        if result is None:
            unfinished[status] = unfinished.get(status, 0) + 1
    columns = {
        score: [result["scores"][score] for result in results if result["scores"].get(score) is not None]
        for score in scores
    }
    return Row(
        method=method,
        varied=members[0][0],
        num_seeds=len(results),
        mean={score: statistics.fmean(values) if values else None for score, values in columns.items()},
        deviation={score: statistics.stdev(values) if len(values) > 1 else None for score, values in columns.items()},
        seconds=statistics.fmean(result["seconds"] for result in results) if results else None,
        unfinished=unfinished,
    )


def _generation_zero(store: Store, bases: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """What generation 0 is called, and its scores."""
    found = []
    for name in store.children("scores"):
        recorded = store.read_json(f"scores/{name}")
        if recorded["base"] not in bases:
            continue
        called = GENERATION_ZERO if len(bases) == 1 else f"{GENERATION_ZERO} of {bases[recorded['base']]}"
        found.append((called, recorded["final"]))
    return found


def _cells(row: Row, keys: Iterable[str], columns: Iterable[str]) -> list[str]:
    seeds = str(row.num_seeds) if not row.method.startswith(GENERATION_ZERO) else "-"
    if row.unfinished:
        seeds += " (" + ", ".join(f"{count} {status}" for status, count in sorted(row.unfinished.items())) + ")"
    scores = [_score(row.mean[score], row.deviation[score]) for score in columns]
    seconds = f"{row.seconds:.0f}" if row.seconds is not None else "-"
    return [row.method, *(_value(row.varied.get(key)) for key in keys), *scores, seeds, seconds]


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _score(mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "-"
    return f"{mean:.1f}" if deviation is None else f"{mean:.1f} ± {deviation:.1f}"


def _csv(rows: Sequence[Row], keys: Sequence[str], names: Sequence[str], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "method",
            *names,
            *(f"{score}_{part}" for score in columns for part in ("mean", "std")),
            "num_seeds",
            "seconds",
        ]
    )
    for row in rows:
        scores = [part for score in columns for part in (row.mean[score], row.deviation[score])]
        writer.writerow([row.method, *(row.varied.get(key) for key in keys), *scores, row.num_seeds, row.seconds])
    return text.getvalue().rstrip("\n")


def matrix(scores: Mapping[str, Any], *, metric: str | None = None) -> str:
    """The cells of one result as markdown: a row of languages, or question languages by context languages."""
    if not scores["cells"]:
        raise ArtifactError("the result holds no cells")
    metric = metric or scores.get("metric", "f1")
    # A language such as pt-BR is no pair of languages: scores by language name their metric.
    if "metric" in scores or not any("-" in name for name in scores["cells"]):
        names, values = list(scores["cells"]), [f"{cell[metric]:.1f}" for cell in scores["cells"].values()]
        return "\n".join("| " + " | ".join(row) + " |" for row in (names, ["---"] * len(names), values))
    cells = {tuple(name.split("-", 1)): cell[metric] for name, cell in scores["cells"].items()}
    questions, contexts = (list(dict.fromkeys(cell[side] for cell in cells)) for side in (0, 1))
    lines = ["| question \\ context | " + " | ".join(contexts) + " |", "|---" * (len(contexts) + 1) + "|"]
    for question in questions:
        row = [f"{cells[question, context]:.1f}" if (question, context) in cells else "-" for context in contexts]
        lines.append(f"| {question} | " + " | ".join(row) + " |")
    return "\n".join(lines)
