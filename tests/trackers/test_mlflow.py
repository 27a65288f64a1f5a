"""Runs on a real MLflow server, asked by MLflow's own client."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.tracked_sweep import fill, finish, report, trackers

from raykd.config.trackers import MlflowConfig, TrackersConfig
from raykd.errors import ConfigError
from raykd.results.journal import Journal
from raykd.trackers import check_trackers
from raykd.trackers.mlflow import ENVIRONMENT

os.environ.update(ENVIRONMENT)


@pytest.fixture
def experiment(request) -> str:
    return request.node.name


@pytest.fixture
def follow(mlflow_server, experiment):
    """One run of a sweep that hears of some points; returns what it said."""

    def follow(journal: Journal, *point_ids: str) -> list[str]:
        said: list[str] = []
        section = {"tracking_uri": mlflow_server, "experiment": experiment}
        with trackers(journal, said, mlflow=section) as heard:
            for point_id in point_ids:
                heard.changed(point_id)
        return said

    return follow


class Server:
    """What a server has of an experiment."""

    def __init__(self, uri: str, experiment: str) -> None:
        from mlflow import MlflowClient

        self.client, self.experiment = MlflowClient(uri), experiment

    def runs(self) -> dict:
        """Name -> run; two of the same name are an error."""
        found = self.client.search_runs([self.client.get_experiment_by_name(self.experiment).experiment_id])
        names = [run.info.run_name for run in found]
        assert len(set(names)) == len(names)
        return dict(zip(names, found, strict=True))

    def history(self, run, name: str) -> list[tuple[int, float]]:
        return sorted((metric.step, metric.value) for metric in self.client.get_metric_history(run.info.run_id, name))


@pytest.fixture
def server(mlflow_server, experiment) -> Server:
    return Server(mlflow_server, experiment)


def test_a_point_is_a_run_with_its_knobs_curves_scores_and_origin(tmp_path, follow, server):
    journal = fill(tmp_path)
    journal.points.start("a1")
    for epoch in (1, 2, 3):
        journal.epochs.write("a1", report(epoch))
    finish(journal, "a1")
    assert follow(journal, "a1") == []
    (run,) = server.runs().values()
    assert (run.info.run_name, run.info.status) == ("skd seed=1", "FINISHED")
    assert run.data.params["distillation.temperature"] == "2.0"
    assert run.data.params["method"] == "skd"
    assert "head.kind" not in run.data.params  # of another task
    assert {"raykd.point": "a1", "raykd.generation": "2", "version.raykd": "1.2"}.items() <= run.data.tags.items()
    assert server.history(run, "loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert run.data.metrics["final/gxlt_f1"] == 60.0
    assert run.data.metrics["final/cells/en-de/f1"] == 40.0
    assert run.info.end_time == round(1000 * journal.points.state("a1").ended)


def test_a_run_goes_on_where_another_process_left_it(tmp_path, follow, server):
    journal = fill(tmp_path)
    journal.points.start("a1")
    journal.epochs.write("a1", report(1))
    follow(journal, "a1")
    assert server.runs()["skd seed=1"].info.status == "RUNNING"
    journal.points.end("a1", "interrupted")
    follow(journal)
    assert server.runs()["skd seed=1"].info.status == "KILLED"
    # An epoch that nobody heard of, then one that is repeated, and the end.
    journal.epochs.write("a1", report(2))
    journal.points.start("a1")
    follow(journal)
    assert server.runs()["skd seed=1"].info.status == "RUNNING"
    journal.epochs.write("a1", report(2, loss=0.25))
    journal.epochs.write("a1", report(3))
    finish(journal, "a1")
    follow(journal, "a1")
    run = server.runs()["skd seed=1"]
    assert run.info.status == "FINISHED"
    assert server.history(run, "loss") == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert len(server.history(run, "final/gxlt_f1")) == 1


def test_a_run_whose_process_died_before_it_was_remembered_is_found_again(tmp_path, follow, server):
    journal = fill(tmp_path)
    journal.points.start("a1")
    journal.epochs.write("a1", report(1))
    follow(journal, "a1")
    journal.store.remove("points/a1/tracked")
    follow(journal)
    assert server.history(server.runs()["skd seed=1"], "loss") == [(1, 1.0)]


def test_the_same_point_of_another_folder_is_another_run(tmp_path, follow, server):
    for folder in ("one", "two"):
        journal = fill(tmp_path / folder)
        journal.points.add(replace(journal.points.description("a1"), label=folder))
        journal.points.start("a1")
        journal.epochs.write("a1", report(1))
        follow(journal, "a1")
    assert set(server.runs()) == {"one", "two"}


def test_failed_and_stopped_points_say_so(tmp_path, follow, server):
    journal = fill(tmp_path)
    for point_id, status, reason in (("a1", "failed", "out of memory"), ("b1", "stopped", "stopped early by ASHA")):
        journal.points.start(point_id)
        journal.epochs.write(point_id, report(1))
        journal.points.end(point_id, status, error=reason)
    follow(journal, "a1", "b1")
    runs = server.runs()
    assert {name: run.info.status for name, run in runs.items()} == {"skd seed=1": "FAILED", "ce seed=1": "KILLED"}
    assert runs["skd seed=1"].data.tags["raykd.error"] == "out of memory"


def test_a_server_that_is_gone_costs_one_line_and_little_time_and_is_told_everything_later(
    tmp_path, follow, server, no_server, experiment
):
    journal, said = fill(tmp_path), []
    started = time.monotonic()
    with trackers(journal, said, mlflow={"tracking_uri": no_server, "experiment": experiment}) as heard:
        for epoch in (1, 2):
            journal.points.start("a1")
            journal.epochs.write("a1", report(epoch))
            heard.changed("a1")
    assert time.monotonic() - started < 15
    first, last = said
    assert first.startswith("mlflow: it took nothing (") and "\n" not in first
    assert last == "mlflow: not all of it was told; the same command tells the rest"
    assert follow(journal) == []
    assert [step for step, _ in server.history(server.runs()["skd seed=1"], "loss")] == [1, 2]


def test_nobody_listening_is_found_before_anything_starts(no_server, mlflow_server):
    check_trackers(TrackersConfig(mlflow=MlflowConfig(tracking_uri=mlflow_server)))
    with pytest.raises(ConfigError, match=rf"trackers.mlflow.tracking_uri: {no_server} does not answer.*start it"):
        check_trackers(TrackersConfig(mlflow=MlflowConfig(tracking_uri=no_server)))


def test_no_server_named_is_found_before_anything_starts(monkeypatch, mlflow_server):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match=r"trackers.mlflow.tracking_uri: missing; name the server here or in"):
        check_trackers(TrackersConfig(mlflow=MlflowConfig()))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    check_trackers(TrackersConfig(mlflow=MlflowConfig()))


def test_nothing_is_left_in_the_current_folder(tmp_path, monkeypatch, follow):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    journal = fill(tmp_path / "runs")
    journal.points.start("a1")
    journal.epochs.write("a1", report(1))
    follow(journal, "a1")
    assert list(Path().iterdir()) == []
