"""raykd from Python: run a sweep, and take its results as data frames."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raykd.errors import ArtifactError, TrainingError
from raykd.plan.file import load_sweep, sweep_of
from raykd.plan.sweep import SweepConfig
from raykd.results.artifacts import Store
from raykd.results.epochs import EpochReport
from raykd.results.find import Named, best_point, find_point
from raykd.results.journal import Journal
from raykd.results.points import PointResult
from raykd.results.records import PointRecord, SweepRecords, read_records
from raykd.results.settings import Settings
from raykd.results.sweep import SweepDescription
from raykd.results.words import counted
from raykd.storage import location
from raykd.tasks import TASKS
from raykd.tasks.outcomes import CellOutcomes, Outcomes, Scores

if TYPE_CHECKING:
    from pandas import DataFrame

    from raykd.sweep import Outcome, Progress

EPOCH = tuple(name for name in EpochReport.MEASURED if name not in ("parts", "watched"))
GENERATION = ("generation", "artifact", "dev_score", "best_artifact", "best_score")
CELL = ("cell", "question_language", "context_language", "language")


@dataclass(frozen=True)
class FinishedPoint:
    """A finished point, and its model.

    Attributes:
        result: what it came to.
    """

    root: Path | str
    record: PointRecord
    result: PointResult

    @property
    def id(self) -> str:
        """Its name in the folder of results."""
        return self.record.id

    @property
    def label(self) -> str:
        """Method and searched values, as a sweep shows them while it runs."""
        return self.record.label

    @property
    def scores(self) -> Scores:
        """All scores, in percent: `main_value` is the one that points are compared by, `values` has all by name."""
        return self.result.scores

    def model_path(self) -> Path:
        """The folder of the model that the lineage delivered; of results on an object store a local copy.

        Raises:
            ArtifactError: if its weights are not there any more.
        """
        store, artifact = Store(self.root), self.result.artifact
        if not store.has(artifact, strict=True):
            raise ArtifactError(
                f"{self.label}: artifact {artifact} has no weights; lineage.keep: delivered keeps those of the final "
                "model"
            )
        return store.artifact(artifact)


@dataclass(frozen=True)
class Results:
    """What a folder of results held when it was read. Frames of an unfinished sweep have fewer rows, never other ones.

    In every frame but `points`, `point` is the point's id; beside it stand its method and the searched values.

    Attributes:
        records: everything, as it was written.
        outcome: what became of the points, where these are the results of `run_sweep`.
    """

    records: SweepRecords
    outcome: "Outcome | None" = None

    @property
    def description(self) -> SweepDescription:
        """The resolved sweep file, versions and hashes of the data."""
        return self.records.description

    @cached_property
    def main_score(self) -> str | None:
        """The score that points are compared by; None while nothing was scored."""
        return self.records.main

    @cached_property
    def points(self) -> "DataFrame":
        """One row for each point: searched values, status, `score` (the main one), all others, cost, error."""
        scores = list(self.records.columns)
        columns = ["id", "method", "label", *self._keys, "status", "score", *scores]
        return _frame(
            [self._point_row(point, scores) for point in self.records.points],
            [*columns, "seconds", "train_seconds", "attempts", "error"],
            only=True,
        )

    @cached_property
    def epochs(self) -> "DataFrame":
        """One row for each epoch: losses, weights, coefficient, dev score, speed; `parts.*` and `watched.*` by name."""
        rows = [
            {**self._of(point), **_flat(report.measurements())}
            for point in self.records.points
            for report in point.epochs
        ]
        return _frame(rows, ["point", "method", *self._keys, *EPOCH])

    @cached_property
    def generations(self) -> "DataFrame":
        """One row for each generation that is done, from 1: its student and dev score."""
        files = Journal.at(self.records.root).points
        rows = [
            {**self._of(point), "generation": each.index, **vars(each)}
            for point in self.records.points
            for each in files.generations(point.id)
        ]
        return _frame(rows, ["point", "method", *self._keys, *GENERATION], only=True)

    @cached_property
    def cells(self) -> "DataFrame":
        """One row for each finished point and cell, with the metrics of the task (`f1`, say) in percent.

        Question answering has cells of a question and a context language, the other tasks of one `language`.
        """
        rows = [
            {**self._of(point), **cell}
            for point in self.records.points
            if point.scores is not None
            for cell in _cells(point.scores, point.settings)
        ]
        return _frame(rows, ["point", "method", *self._keys, *CELL])

    @cached_property
    def tests(self) -> "DataFrame":
        """One row for each finished point and test set, with its scores there; nothing was chosen by them."""
        rows = [
            {**self._of(point), "test": name, "score": test.scores.main_value, **test.scores.values}
            for point in self.records.points
            for name, test in sorted(point.tests.items())
        ]
        return _frame(rows, ["point", "method", *self._keys, "test", "score"])

    @cached_property
    def base_cells(self) -> "DataFrame":
        """The same of every generation 0, which `base` names."""
        settings = {point.description.base: point.settings for point in self.records.points}
        rows = [
            {"base": base.base, "model": base.model, **cell}
            for base in self.records.bases
            for cell in _cells(base.final, settings[base.base])
        ]
        return _frame(rows, ["base", "model", *CELL])

    def leaderboard(self) -> "DataFrame":
        """Mean and deviation (`*_std`) over the seeds of every configuration as it is now, the best one first."""
        from raykd.report.leaderboard import leaderboard

        board = leaderboard(self.records.root)
        rows = [
            {
                "method": row.method,
                **{key: _plain(value) for key, value in row.varied.items()},
                **row.mean,
                **{f"{score}_std": value for score, value in row.deviation.items()},
                "num_seeds": row.num_seeds,
                "unfinished": sum(row.unfinished.values()),
                "seconds": row.seconds,
            }
            for row in board.rows
        ]
        scores = [name for score in board.columns for name in (score, f"{score}_std")]
        keys = [key for key in self._keys if key != "seed"]
        return _frame(rows, ["method", *keys, *scores, "num_seeds", "unfinished", "seconds"])

    @property
    def best(self) -> FinishedPoint | None:
        """The best seed of the configuration with the best mean on the selection set; None before there is one."""
        best = best_point(self.records.points, Named.of)
        return self._finished(best.id) if best is not None else None

    def point(self, name: str) -> FinishedPoint:
        """A finished point by its label, its id or the beginning of that, its method where one point of that is
        finished, or `best`.

        Raises:
            DataError: if there is none, or there are several.
        """
        names = [Named.of(point) for point in self.records.points]
        return self._finished(find_point(names, name, where=str(self.records.root), finished=True).id)

    def outcomes(self, point: FinishedPoint | str) -> "DataFrame":
        """One row for each example that a finished point was scored on, in the order of the data; empty where the
        folder has none.

        `item` is the same in all cells that ask for the same thing. The outcome is `value` in percent, or the counts
        `true_positives`, `predicted` and `gold` of an F1.
        """
        found = (self.point(point) if isinstance(point, str) else point).record.outcomes
        counted = found is not None and found.statistic == "f1"
        names = ("true_positives", "predicted", "gold") if counted else ("value",)
        rows = [
            {"cell": cell, "item": item, **dict(zip(names, value if counted else [value], strict=True))}
            for cell, entry in (found.cells if found is not None else {}).items()
            for item, value in zip(_keys_of(found, entry), entry.values, strict=True)
        ]
        return _frame(rows, ["cell", "item", *names])

    @cached_property
    def _keys(self) -> list[str]:
        """The searched keys of all points, the seed last."""
        keys = dict.fromkeys(key for point in self.records.points for key in point.description.varied if key != "seed")
        return [*keys, "seed"]

    def _finished(self, point_id: str) -> FinishedPoint:
        record = next(point for point in self.records.points if point.id == point_id)
        assert record.result is not None, f"{point_id} is not finished"
        return FinishedPoint(self.records.root, record, record.result)

    def _of(self, point: PointRecord) -> dict[str, Any]:
        varied = {key: _plain(value) for key, value in point.description.varied.items()}
        return {"point": point.id, "method": point.method, **varied}

    def _point_row(self, point: PointRecord, scores: Iterable[str]) -> dict[str, Any]:
        result, state = point.result, point.state
        return {
            **self._of(point),
            "id": point.id,
            "label": point.label,
            "status": state.status,
            "score": point.main_score,
            **{score: result.scores.values.get(score) if result else None for score in scores},
            "seconds": result.seconds if result else None,
            "train_seconds": result.train_seconds if result else None,
            "attempts": state.attempts,
            "error": state.error,
        }


def load(root: Path | str) -> Results:
    """The results of a sweep, at whatever moment of it.

    Args:
        root: folder, or URL on an object store.

    Raises:
        ConfigError: if there is no sweep.
        ArtifactError: if a record is damaged.
    """
    return Results(read_records(location(root)))


def run_sweep(
    sweep: SweepConfig | Mapping[str, Any] | Path | str,
    *,
    storage: Path | str | None = None,
    folder: Path | str | None = None,
    progress: "Progress | None" = None,
    fail_fast: bool = False,
    retry_failed: bool = False,
    verbose: bool = False,
) -> Results:
    """Run a sweep, or go on with it, as `raykd sweep` does; in any thread.

    Args:
        sweep: a sweep file, its keys, or a configuration.
        storage: where results go, in place of what the sweep says.
        folder: what relative paths of data are looked for in first; by default the file's folder, or the current one.
        progress: told what happens; nothing is said without one.
        fail_fast: stop at the first failure; what was running goes on with the next run.
        retry_failed: try points again that were given up.
        verbose: show what workers and Ray say.

    Returns:
        The results, failed points among them.

    Raises:
        RaykdError: ConfigError, DataError, CapacityError or LeaseHeldError where nothing was started; StallError,
            StorageError or TrainingError where the run could not go on.
    """
    from raykd.plan.inspection import check_data
    from raykd.plan.points import make_plan

    place = Path(folder or ".")
    if isinstance(sweep, (str, Path)):
        config = load_sweep(Path(sweep))
        place = Path(folder or Path(sweep).parent)
    else:
        config = sweep if isinstance(sweep, SweepConfig) else sweep_of(sweep)
    plan = make_plan(config)
    root = config.place(storage)
    Journal.at(root).sweep.pin_commits()
    data = check_data(plan, folder=place)
    from raykd.sweep import Progress
    from raykd.sweep import run_sweep as run

    outcome = run(
        plan,
        root=root,
        folder=place,
        progress=progress or Progress(),
        data=data,
        fail_fast=fail_fast,
        retry_failed=retry_failed,
        verbose=verbose,
    )
    if outcome.missing and not fail_fast:
        raise TrainingError(f"{root}: {counted(outcome.missing, 'point')} did not run; run the same sweep again")
    return Results(read_records(root), outcome)


def _cells(scores: Scores, settings: Settings) -> Iterator[dict[str, Any]]:
    cell_languages = TASKS[settings.task].info.cell_languages
    for name, metrics in scores.cells.items():
        languages = cell_languages(settings.evaluated_languages, name)
        yield {**dict(zip(CELL, (name, *languages), strict=True)), **metrics}


def _keys_of(outcomes: Outcomes | None, cell: CellOutcomes) -> list[str]:
    return outcomes.items[cell.items].split() if outcomes is not None else []


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in section.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _plain(value: Any) -> Any:
    """A searched value that a frame can be grouped by: a schedule is JSON."""
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def _frame(rows: list[dict[str, Any]], columns: list[str], *, only: bool = False) -> "DataFrame":
    """Rows with these columns first, or with these alone; others follow in the order in which they came."""
    from pandas import DataFrame

    others = () if only else (name for row in rows for name in row)
    return DataFrame(rows, columns=list(dict.fromkeys([*columns, *others])))
