"""A real sweep with every tracker that needs no server, of which a point fails, and which goes on with one more."""

from pathlib import Path

import pytest
from support.sweep_folder import write
from support.tiny_sweeps import sweep
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raykd.cli import main
from raykd.results.journal import Journal
from raykd.trackers.run import TrackedSweep

pytestmark = pytest.mark.cluster


def curves(name: str) -> dict[str, list[tuple[int, float]]]:
    """Label -> (step, value) of a curve of every point, by way of TensorBoard."""
    journal, found = Journal.at(Path("runs/tiny")), {}
    for point_id in journal.points.ids():
        (folder,) = Path("runs/tiny/tensorboard").glob(f"*-{point_id}")
        shown = EventAccumulator(str(folder))
        shown.Reload()
        has_it = name in shown.Tags()["scalars"]
        found[journal.points.description(point_id).label] = [
            (event.step, event.value) for event in (shown.Scalars(name) if has_it else ())
        ]
    return found


def test_what_one_run_told_and_what_the_next_one_adds_are_the_curves_of_the_journal(tmp_path, capsys):
    # A database of MLflow's own, without a server.
    database = f"sqlite:///{tmp_path}/mlflow.db"
    keys = sweep(
        methods={"fine": {}, "broken": {"training": {"learning_rate": 1e30, "max_grad_norm": 0.0}}},
        trackers={"mlflow": {"tracking_uri": database}, "wandb": {"mode": "offline"}},
    )
    assert main(["sweep", write(keys)]) == 1
    said = capsys.readouterr().out
    assert "mlflow:" not in said and "wandb:" not in said
    assert len(list(Path("runs/tiny/wandb").glob("offline-run-*"))) == 2

    assert main(["sweep", write({**keys, "methods": {"fine": {}}, "seeds": [1, 2]})]) == 0
    capsys.readouterr()
    journal = Journal.at(Path("runs/tiny"))
    reported = {
        journal.points.description(point_id).label: [
            (report.epoch, pytest.approx(report.loss)) for report in journal.epochs.of(point_id)
        ]
        for point_id in journal.points.ids()
    }
    assert curves("loss") == reported
    assert {label: len(found) for label, found in reported.items()} == {
        "broken seed=1": 0,
        "fine seed=1": 2,
        "fine seed=2": 2,
    }
    assert [step for step, _ in curves("final/gxlt_f1")["fine seed=2"]] == [2]

    from mlflow import MlflowClient

    client = MlflowClient(database)
    runs = client.search_runs([client.get_experiment_by_name("tiny").experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == {
        "broken seed=1": "FAILED",
        "fine seed=1": "FINISHED",
        "fine seed=2": "FINISHED",
    }
    name = journal.store.read_record("tracked.json", TrackedSweep).id
    assert {run.data.tags["raykd.sweep"] for run in runs} == {name}
    assert all(name in folder.name for folder in Path("runs/tiny/wandb").glob("offline-run-*"))
    for run in runs:
        history = client.get_metric_history(run.info.run_id, "loss")
        assert sorted((each.step, each.value) for each in history) == reported[run.info.run_name]
    # The point that was done has no second run.
    assert len(list(Path("runs/tiny/wandb").glob("offline-run-*"))) == 3
