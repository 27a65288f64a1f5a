"""The leaderboard: one row per configuration, mean and deviation over its seeds. Needs neither Ray nor torch."""

import csv
import io
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.artifacts import read_json
from raykd.errors import ArtifactError
from raykd.journal import Journal

SCORES = ("xlt_f1", "gxlt_f1", "gxlt_off_diagonal_f1", "xlt_exact_match", "gxlt_exact_match")
HEADINGS = {
    "xlt_f1": "XLT F1",
    "gxlt_f1": "G-XLT F1",
    "gxlt_off_diagonal_f1": "off-diagonal F1",
    "xlt_exact_match": "XLT EM",
    "gxlt_exact_match": "G-XLT EM",
}
GENERATION_ZERO = "generation 0"


@dataclass(frozen=True)
class Row:
    """One configuration.

    Attributes:
        method: its name in the sweep file, or `generation 0`.
        varied: searched key -> value, the seed left out.
        num_seeds: finished points.
        mean, deviation: of each of `SCORES`, in percent; the deviation is the sample one, None below two seeds.
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


def leaderboard(folder: Path) -> list[Row]:
    """Rows of a sweep's folder, best mean G-XLT F1 first, configurations without a result last.

    Raises:
        ArtifactError: if the folder holds no sweep.
    """
    journal = Journal.at(folder)
    groups: dict[tuple[str, str], list[tuple[dict, dict | None, str]]] = {}
    bases: dict[str, str] = {}
    for point_id in journal.current_point_ids():
        point = journal.point(point_id)
        bases[point["base"]] = point["config"]["base"]["model"]
        varied = {key: value for key, value in point["varied"].items() if key != "seed"}
        key = point["method"], json.dumps(varied, sort_keys=True)
        groups.setdefault(key, []).append((varied, journal.result(point_id), journal.state(point_id).status))
    rows = [_row(method, members) for (method, _), members in groups.items()] + _generation_zero(folder, bases)
    return sorted(
        rows, key=lambda row: (row.mean["gxlt_f1"] is None, -(row.mean["gxlt_f1"] or 0), row.method, str(row.varied))
    )


def failures(folder: Path) -> list[str]:
    """A line for each point that failed: label and reason."""
    journal = Journal.at(folder)
    states = [(point_id, journal.state(point_id)) for point_id in journal.current_point_ids()]
    return [
        f"{journal.point(point_id)['label']}: {state.error}" for point_id, state in states if state.status == "failed"
    ]


def render(rows: Sequence[Row], style: str) -> str:
    """The leaderboard as `markdown`, `csv` or `json`."""
    if style == "json":
        return json.dumps([vars(row) for row in rows], indent=1, ensure_ascii=False)
    keys = sorted({key for row in rows for key in row.varied})
    # The last part of a key names it well enough unless two keys share it.
    last = [key.rpartition(".")[2] for key in keys]
    names = [short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)]
    if style == "csv":
        return _csv(rows, keys, names)
    heads = ["method", *names, *(HEADINGS[score] for score in SCORES), "seeds", "s/point"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "|".join("---" for _ in heads) + "|"]
    lines += ["| " + " | ".join(_cells(row, keys)) + " |" for row in rows]
    return "\n".join(lines)


def _row(method: str, members: Sequence[tuple[dict, dict | None, str]]) -> Row:
    results = [result for _, result, _ in members if result is not None]
    unfinished: dict[str, int] = {}
    for _, result, status in members:
        if result is None:
            unfinished[status] = unfinished.get(status, 0) + 1
    columns = {
        score: [result["scores"][score] for result in results if result["scores"][score] is not None]
        for score in SCORES
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


def _generation_zero(folder: Path, bases: Mapping[str, str]) -> list[Row]:
    rows = []
    for path in sorted((folder / "scores").glob("*.json")):
        recorded = read_json(path)
        if recorded["base"] not in bases:
            continue
        name = GENERATION_ZERO if len(bases) == 1 else f"{GENERATION_ZERO} of {bases[recorded['base']]}"
        mean = {score: recorded["final"][score] for score in SCORES}
        rows.append(Row(name, {}, 1, mean, dict.fromkeys(SCORES), None, {}))
    return rows


def _cells(row: Row, keys: Iterable[str]) -> list[str]:
    seeds = str(row.num_seeds) if not row.method.startswith(GENERATION_ZERO) else "-"
    if row.unfinished:
        seeds += " (" + ", ".join(f"{count} {status}" for status, count in sorted(row.unfinished.items())) + ")"
    scores = [_score(row.mean[score], row.deviation[score]) for score in SCORES]
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


def _csv(rows: Sequence[Row], keys: Sequence[str], names: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["method", *names, *(f"{score}_{part}" for score in SCORES for part in ("mean", "std")), "num_seeds", "seconds"]
    )
    for row in rows:
        scores = [part for score in SCORES for part in (row.mean[score], row.deviation[score])]
        writer.writerow([row.method, *(row.varied.get(key) for key in keys), *scores, row.num_seeds, row.seconds])
    return text.getvalue().rstrip("\n")


def matrix(scores: Mapping[str, Any], *, metric: str = "f1") -> str:
    """The G-XLT matrix of one result as markdown: rows are question languages, columns context languages."""
    cells = {tuple(name.split("-", 1)): cell[metric] for name, cell in scores["cells"].items()}
    if not cells:
        raise ArtifactError("the result holds no cells")
    questions, contexts = (list(dict.fromkeys(cell[side] for cell in cells)) for side in (0, 1))
    lines = ["| question \\ context | " + " | ".join(contexts) + " |", "|---" * (len(contexts) + 1) + "|"]
    for question in questions:
        row = [f"{cells[question, context]:.1f}" if (question, context) in cells else "-" for context in contexts]
        lines.append(f"| {question} | " + " | ".join(row) + " |")
    return "\n".join(lines)
