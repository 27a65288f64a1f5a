"""The leaderboard: one row per configuration, mean and deviation over its seeds. Needs neither Ray nor torch."""

import csv
import io
import json
import statistics
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from raykd.errors import ArtifactError
from raykd.results.configurations import Configuration, by_configuration, mean_of, ranked
from raykd.results.records import SweepRecords, read_records
from raykd.results.sweep import BaseScores
from raykd.tasks.outcomes import Scores

T = TypeVar("T")
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
        tests: test set -> mean and deviation of its main score over seeds. Rows are not sorted by them.
    """

    method: str
    varied: Mapping[str, Any]
    num_seeds: int
    mean: Mapping[str, float | None]
    deviation: Mapping[str, float | None]
    seconds: float | None
    unfinished: Mapping[str, int]
    tests: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Leaderboard:
    """A sweep's results.

    Attributes:
        main: the score on the selection set that rows are sorted by.
        columns: score on the selection set -> its heading.
        tests: test set -> heading of its main score.
    """

    main: str | None
    columns: Mapping[str, str]
    rows: list[Row]
    tests: Mapping[str, str] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """What the rows were sorted by, and what that means for their scores."""
        return chosen_by(self.tests)

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "note": self.note}


def leaderboard(root: Path | str) -> Leaderboard:
    """The leaderboard of a place of results, see `leaderboard_of`.

    Raises:
        ConfigError: if the folder holds no sweep.
    """
    return leaderboard_of(read_records(root, whole=False))


def leaderboard_of(records: SweepRecords) -> Leaderboard:
    """Rows of a sweep's results, best mean of the main score first, configurations without a result last."""
    main, columns = records.main, records.columns
    tests = records.test_sets
    rows = [_row(each, columns, tests) for each in ranked(by_configuration(records.points), main)]
    rows = with_references(rows, list(_generation_zero(records)), lambda row: _main(row, main))
    return Leaderboard(main, columns, rows, tests)


def with_references(rows: Sequence[T], references: Sequence[T], score: Callable[[T], float | None]) -> list[T]:
    """Rows with others among them, each before the first row that scores less; the rows keep their order."""
    every = list(rows)
    for reference in references:
        height = score(reference)
        worse = (
            number
            for number, row in enumerate(every)
            if height is not None and ((found := score(row)) is None or found < height)
        )
        every.insert(next(worse, len(every)), reference)
    return every


def chosen_by(tests: Collection[str]) -> str:
    """What stands beside every table of scores: what was chosen by them."""
    if not tests:
        return (
            "Chosen and scored on the same questions: the best scores are a little too high. A test set of its own "
            "(`tests` in the sweep file, or `raykd test`) says how high."
        )
    names = ", ".join(tests)
    return f"Sorted, and everything chosen, by the scores on the selection set; nothing was chosen by {names}."


def failures(records: SweepRecords) -> list[str]:
    """A line for each point that failed: label and reason."""
    return [f"{point.label}: {point.state.error}" for point in records.points if point.state.status == "failed"]


def render(board: Leaderboard, style: str) -> str:
    """The leaderboard as `markdown` or `csv`."""
    if style == "csv":
        return _csv(board, *_varied(board))
    heads, *rows = table(board)
    lines = ["| " + " | ".join(heads) + " |", "|" + "|".join("---" for _ in heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def table(board: Leaderboard) -> list[list[str]]:
    """The leaderboard as text in cells, the headings first."""
    keys, names = _varied(board)
    tests = [f"{name}: {heading}" for name, heading in board.tests.items()]
    heads = ["method", *names, *board.columns.values(), *tests, "seeds", "s/point"]
    return [heads, *(_cells(row, keys, board) for row in board.rows)]


def _varied(board: Leaderboard) -> tuple[list[str], list[str]]:
    """The searched keys, and what they are called."""
    keys = sorted({key for row in board.rows for key in row.varied})
    # The last part of a key names it well enough unless two keys share it.
    last = [key.rpartition(".")[2] for key in keys]
    names = [short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)]
    return keys, names


def _main(row: Row, main: str | None) -> float | None:
    return row.mean.get(main) if main else None


def _row(configuration: Configuration, scores: Iterable[str], tests: Iterable[str]) -> Row:
    values = {score: _spread(configuration.values(score)) for score in scores}
    return Row(
        method=configuration.method,
        varied=configuration.varied,
        num_seeds=len(configuration.finished),
        mean={score: found[0] for score, found in values.items()},
        deviation={score: found[1] for score, found in values.items()},
        seconds=configuration.mean_seconds,
        unfinished=configuration.unfinished,
        tests={name: _spread(configuration.test_values(name)) for name in tests},
    )


def _generation_zero(records: SweepRecords) -> Iterator[Row]:
    """A row for each generation 0; those that serve the same configurations, each some of their seeds, share one."""
    models = {point.description.base: point.settings.base_model for point in records.points}
    served = {
        base: frozenset(each.description.configuration for each in records.points if each.description.base == base)
        for base in models
    }
    groups: dict[frozenset[str], list[BaseScores]] = {}
    for base in records.bases:
        groups.setdefault(served[base.base], []).append(base)
    for group in groups.values():
        names, model = {base.base for base in group}, models[group[0].base]
        name = GENERATION_ZERO if len(groups) == 1 else f"{GENERATION_ZERO} of {model}"
        scores = {score: _spread([base.final.values.get(score) for base in group]) for score in records.columns}
        tested = [each for each in records.base_tests if each.base in names]
        found = {
            test: _spread([each.scores.main_value for each in tested if each.name == test])
            for test in records.test_sets
        }
        mean, deviation = ({score: each[part] for score, each in scores.items()} for part in (0, 1))
        yield Row(name, {}, len(group), mean, deviation, None, {}, found)


def _spread(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """Mean and sample deviation of the values that there are; None without one, and below two."""
    known = [value for value in values if value is not None]
    return mean_of(known), statistics.stdev(known) if len(known) > 1 else None


def _cells(row: Row, keys: Iterable[str], board: Leaderboard) -> list[str]:
    seeds = str(row.num_seeds) if not row.method.startswith(GENERATION_ZERO) else "-"
    if row.unfinished:
        seeds += " (" + ", ".join(f"{count} {status}" for status, count in sorted(row.unfinished.items())) + ")"
    scores = [_score(row.mean[score], row.deviation[score]) for score in board.columns]
    scores += [_score(*row.tests.get(name, (None, None))) for name in board.tests]
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


def _csv(board: Leaderboard, keys: Sequence[str], names: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [*board.columns, *(f"tests.{name}" for name in board.tests)]
    heads = [f"{score}_{part}" for score in columns for part in ("mean", "std")]
    writer.writerow(["method", *names, *heads, "num_seeds", "seconds"])
    for row in board.rows:
        scores = [part for score in board.columns for part in (row.mean[score], row.deviation[score])]
        scores += [part for name in board.tests for part in row.tests.get(name, (None, None))]
        writer.writerow([row.method, *(row.varied.get(key) for key in keys), *scores, row.num_seeds, row.seconds])
    return text.getvalue().rstrip("\n")


def matrix(scores: Scores, *, metric: str | None = None) -> str:
    """The cells of one result as markdown: a row of languages, or question languages by context languages.

    Args:
        metric: shown in place of the one that stands for a cell.

    Raises:
        ArtifactError: if there are none.
    """
    if not scores.cells:
        raise ArtifactError("the result holds no cells")
    values = scores.cell_values(metric)
    if not scores.is_matrix:
        shown = [f"{value:.1f}" for value in values.values()]
        return "\n".join("| " + " | ".join(row) + " |" for row in (list(values), ["---"] * len(values), shown))
    cells = {tuple(name.split("-", 1)): value for name, value in values.items()}
    questions, contexts = (list(dict.fromkeys(cell[side] for cell in cells)) for side in (0, 1))
    lines = ["| question \\ context | " + " | ".join(contexts) + " |", "|---" * (len(contexts) + 1) + "|"]
    for question in questions:
        row = [f"{cells[question, context]:.1f}" if (question, context) in cells else "-" for context in contexts]
        lines.append(f"| {question} | " + " | ".join(row) + " |")
    return "\n".join(lines)
