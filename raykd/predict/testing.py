"""A sweep that is done, scored on test sets: those of its file that it lacks, and further ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from raykd.config.digest import dump
from raykd.config.identity import Identity
from raykd.errors import ConfigError, DataError
from raykd.models.accelerator import settle_accelerator
from raykd.plan.inspection import check_sets
from raykd.plan.vary import check_point
from raykd.results.artifacts import Store
from raykd.results.delivered import delivered_artifact
from raykd.results.find import Named, best_point, find_point, states
from raykd.results.journal import Journal
from raykd.results.lease import Lease
from raykd.results.records import PointRecord, SweepRecords, read_records
from raykd.tasks import TASKS, point_from_record
from raykd.worker.context import WorkerContext
from raykd.worker.testing import score_artifact_on_tests, score_bases_on_tests


def score_sweep_on_tests(
    root: Path | str,
    *,
    tests: Mapping[str, Any] | None = None,
    points: Sequence[str] = (),
    every: bool = False,
    folder: Path = Path(),
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Score what points of a sweep delivered on its test sets, and generation 0 with them.

    What was scored before is not scored again, so a run that was cut off goes on with the same call.

    Args:
        root: the results, a folder or a URL.
        tests: name -> section of a further test set, as in `tests` of a sweep file.
        points: names of points, as `find_point` takes them; none are all seeds of the best configuration.
        every: all finished points.
        folder: what relative paths are looked for in where the sweep file's folder is not known, or not here.
        say: told a line for each score.

    Raises:
        ConfigError: if there is no sweep, a section is wrong, or there is no test set.
        DataError: if data is missing, wrong, changed or shared with what points were trained on or chosen by; if no
            point is finished; or if a model's weights are gone.
        LeaseHeldError: if the sweep is running.
    """
    settle_accelerator()
    records = read_records(root, whole=False)
    recorded = records.description.folder
    folder = Path(recorded) if recorded is not None and Path(recorded).is_dir() else folder
    chosen = _chosen(records, points, every=every)
    wanted = [(point, _identity(point, tests or {}, where=str(root))) for point in chosen]
    if not any(point.config.test_sets for _, point in wanted):
        raise ConfigError(f"{root}: its file has no test set; give a YAML file with `tests: {{NAME: {{source: ...}}}}`")
    store = Store(records.root)
    artifacts = {point.id: delivered_artifact(store, point) for point, _ in wanted}
    Journal(store).sweep.pin_commits()
    data = check_sets([identity.config for _, identity in wanted], folder=folder)
    with Lease.take(store, say=say) as lease:
        journal = Journal(lease.fenced_store())
        journal.sweep.write(replace(records.description, data=journal.sweep.unchanged(data)))
        context = WorkerContext.open(journal.store, folder, alone=True)
        for line in score_bases_on_tests(context, [identity for _, identity in wanted]):
            say(line)
        for point, identity in wanted:
            for test in score_artifact_on_tests(context, identity, artifacts[point.id]):
                say(f"test set {test.name}: {point.label} scores {test.scores.headline}")


def _chosen(records: SweepRecords, names: Sequence[str], *, every: bool) -> list[PointRecord]:
    finished = [point for point in records.points if point.status == "finished"]
    if not finished:
        found = states([Named.of(point) for point in records.points]) or "there are no points"
        raise DataError(f"{records.root}: no point is finished ({found}); run the sweep first")
    if every:
        return finished
    if names:
        among = [Named.of(point) for point in records.points]
        ids = {find_point(among, name, where=str(records.root), finished=True).id for name in names}
        return [point for point in finished if point.id in ids]
    best = best_point(records.points, Named.of)
    if best is None:
        raise DataError(f"{records.root}: no finished point has a main score; name points, or use --all")
    return [point for point in finished if point.description.configuration == best.description.configuration]


def _identity(point: PointRecord, tests: Mapping[str, Any], *, where: str) -> Identity:
    """A point with further test sets; these have no influence on what it is."""
    config = point_from_record(point.description.config, where=f"{where}: {point.label}")
    keys = dump(config)
    found, problems = check_point(TASKS[config.task], {**keys, "tests": {**keys["tests"], **tests}})
    if found is None:
        raise ConfigError(problem.line() for problem in problems)
    return Identity(found)
