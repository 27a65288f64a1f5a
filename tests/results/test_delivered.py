"""Models by the name of a point of another sweep, over results folders as a sweep leaves them."""

from pathlib import Path

import pytest
from support.written_results import description, result, scores_of

from raykd.errors import DataError
from raykd.results.artifacts import ArtifactRecord
from raykd.results.delivered import delivered_by
from raykd.results.journal import Journal
from raykd.results.models import check_model, locate_model
from raykd.results.sweep import SweepDescription


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch) -> dict[str, Path]:
    """Three empty folders: that of the sweep file, the current one, and the one in RAYKD_DATA."""
    folders = {name: tmp_path / name for name in ("sweep", "cwd", "data")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.chdir(folders["cwd"])
    monkeypatch.setenv("RAYKD_DATA", str(folders["data"]))
    return folders


@pytest.fixture
def results(places) -> Path:
    return places["cwd"] / "runs" / "first"


def put(results: Path, point_id: str, label: str, *, score: float | None = 1.0, weights: str = "weights") -> Path:
    """Add a finished point whose artifact has these weights, and return the artifact's folder."""
    journal, artifact = add(results, point_id, label), f"artifact-{point_id}"
    with journal.store.committing(artifact, lambda: ArtifactRecord(kind="generation")) as folder:
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_text(weights)
    scores = scores_of({"retrieval": score}, {"retrieval": "retrieval"}, main="retrieval")
    journal.points.write_result(result(point_id, scores, artifact=artifact))
    journal.points.end(point_id, "finished")
    return journal.store.artifact(artifact)


def add(results: Path, point_id: str, label: str) -> Journal:
    """Add a point that was not started."""
    journal = Journal.at(results)
    journal.points.add(description(point_id, label.split(maxsplit=1)[0], label=label))
    journal.sweep.write(SweepDescription(name="first", points=tuple(journal.points.ids())))
    return journal


def refused(name: str) -> str:
    with pytest.raises(DataError) as caught:
        locate_model(name, folder=Path("nowhere"))
    (line,) = caught.value.problems
    assert line.startswith(f"model {name}: ") and "\n" not in line
    return line


@pytest.fixture
def three(results) -> dict[str, Path]:
    """Two points of method `all` and one of `no-word`, all of them finished."""
    scores = {"all seed=1": 50.0, "all seed=2": 70.0, "no-word seed=1": 60.0}
    return {label: put(results, f"id{number}", label, score=scores[label]) for number, label in enumerate(scores)}


# Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("runs/first#all seed=1", "all seed=1"),
        ("runs/first#all seed=2", "all seed=2"),
        ("runs/first#id0", "all seed=1"),
        ("runs/first#no-word", "no-word seed=1"),
        ("runs/first#id2", "no-word seed=1"),
        ("runs/first#best", "all seed=2"),
        ("runs/first#", "all seed=2"),
        ("runs/first", "all seed=2"),
        ("runs/first/#best", "all seed=2"),
    ],
)
def test_a_point_goes_by_label_id_method_or_best(three, name, label):
    assert locate_model(name, folder=Path("nowhere")) == str(three[label])
    check_model(name, folder=Path("nowhere"))


def test_a_method_names_its_only_finished_point_beside_unfinished_ones(results, three):
    add(results, "id9", "no-word seed=2")
    assert delivered_by(results, "no-word") == three["no-word seed=1"]
    Journal.at(results).points.end("id9", "failed", error="out of memory")
    assert delivered_by(results, "no-word") == three["no-word seed=1"]


def test_a_label_wins_over_a_method_of_the_same_name(results):
    label = put(results, "id0", "plain")
    put(results, "id1", "plain seed=2")
    assert delivered_by(results, "plain") == label


def test_a_label_may_hold_the_mark_and_be_longer_than_a_file_name(results):
    label = f"all model=runs/other#best {'x' * 300}"
    expected = put(results, "id0", label)
    assert locate_model(f"runs/first#{label}", folder=Path("nowhere")) == str(expected)


def test_the_best_is_among_points_with_a_score_and_ties_go_to_the_first_id(results):
    put(results, "id3", "unscored seed=1", score=None)
    put(results, "id2", "late seed=1", score=5)
    first = put(results, "id1", "early seed=1", score=5)
    add(results, "id4", "failed seed=1").points.end("id4", "failed", error="diverged")
    assert delivered_by(results, "best") == first


def test_points_that_the_sweep_no_longer_has_are_not_found(results, three):
    Journal.at(results).sweep.write(SweepDescription(name="first", points=("id0", "id2")))
    assert delivered_by(results, "best") == three["no-word seed=1"]
    assert delivered_by(results, "all") == three["all seed=1"]
    assert "has no point 'all seed=2'" in refused("runs/first#all seed=2")


def test_results_are_searched_for_beside_the_sweep_then_here_then_in_raykd_data(places):
    for name in ("data", "cwd", "sweep"):
        expected = put(places[name] / "runs" / "first", "id0", "all seed=1")
        assert locate_model("runs/first#all", folder=places["sweep"]) == str(expected)
    other = put(places["sweep"].parent / "other", "id0", "all seed=1")
    assert locate_model(f"{other.parents[1]}#best", folder=places["sweep"]) == str(other)


def test_a_folder_without_a_sweep_does_not_hide_results_further_on(places, results):
    (places["sweep"] / "runs" / "first").mkdir(parents=True)
    expected = put(results, "id0", "all seed=1")
    assert locate_model("runs/first#all", folder=places["sweep"]) == str(expected)


def test_a_model_folder_of_that_very_name_comes_first(places, three):
    folder = places["cwd"] / "runs" / "first#all"
    folder.mkdir()
    assert locate_model("runs/first#all", folder=places["sweep"]) == str(folder)


# What is refused --------------------------------------------------------------------------------------------------


def test_without_results_every_place_is_named(places):
    (places["cwd"] / "runs" / "first").mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        check_model("runs/first#best", folder=places["sweep"])
    (line,) = caught.value.problems
    assert all(f"{folder / 'runs/first'}" in line for folder in places.values())
    assert "no results folder (sweep.json) in " in line and "run that sweep first" in line


def test_an_unknown_point_is_answered_with_those_that_are_near(three):
    line = refused("runs/first#al seed=2")
    assert "has no point 'al seed=2'; nearest are 'all seed=2', 'all seed=1', " in line
    assert "A point is named by label, id or its beginning, method (if it has one finished point)" in line
    assert ", or 'best'" in line


def test_several_points_are_all_named(three):
    line = refused("runs/first#all")
    assert "2 finished points in " in line
    assert "'all seed=1' (id0), 'all seed=2' (id1); choose one by its label or id" in line


def test_points_of_one_label_are_told_apart_by_id(results):
    found = [put(results, point_id, "all lr=0.001") for point_id in ("id0", "id1")]
    assert "'all lr=0.001' (id0), 'all lr=0.001' (id1)" in refused("runs/first#all lr=0.001")
    assert delivered_by(results, "id1") == found[1]


def test_a_long_list_is_cut(results):
    for number in range(7):
        put(results, f"id{number}", f"all seed={number}")
    line = refused("runs/first#all")
    assert "7 finished points" in line and "'all seed=4' (id4), and 2 more; choose" in line and "seed=5" not in line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda journal: None, "'all seed=1' (id0) is pending"),
        (lambda journal: journal.points.start("id0"), "'all seed=1' (id0) is running"),
        (lambda journal: journal.points.end("id0", "stopped"), "'all seed=1' (id0) is stopped"),
        (lambda journal: journal.points.end("id0", "failed", error="it diverged"), "(id0) is failed: it diverged"),
        (lambda journal: journal.points.end("id0", "finished"), "'all seed=1' (id0) is pending"),
    ],
)
@pytest.mark.parametrize("wanted", ["all", "all seed=1", "id0"])
def test_a_point_that_is_not_finished_says_where_it_stands(results, change, said, wanted):
    change(add(results, "id0", "all seed=1"))
    line = refused(f"runs/first#{wanted}")
    assert f"no point {wanted!r} in {results} is finished (" in line and "finish that sweep" in line
    assert said in line


def test_a_result_of_a_point_that_runs_again_does_not_count(results, three):
    Journal.at(results).points.start("id2")
    assert "'no-word seed=1' (id2) is running" in refused("runs/first#no-word")


@pytest.mark.parametrize("status", ["pending", "running"])
def test_there_is_no_best_while_points_are_still_to_run(results, three, status):
    journal = add(results, "id9", "no-tlm seed=1")
    if status == "running":
        journal.points.start("id9")
    line = refused("runs/first#best")
    assert f"1 of 4 points in {results} are not finished" in line and f"'no-tlm seed=1' (id9) is {status}" in line
    journal.points.end("id9", "stopped")
    assert delivered_by(results, "best") == three["all seed=2"]


def test_where_nothing_was_scored_there_is_no_best(results):
    add(results, "id0", "all seed=1").points.end("id0", "failed", error="it diverged")
    assert "has a main score ('all seed=1' (id0) is failed: it diverged)" in refused("runs/first")


def test_a_sweep_without_points_says_so(results):
    Journal.at(results).sweep.write(SweepDescription(name="first"))
    assert "there are none" in refused("runs/first#best")
    assert "the sweep has no points yet" in refused("runs/first#all")


def test_removed_weights_are_said_to_be_removed(results, three):
    Journal.at(results).store.remove_weights("artifact-id0")
    line = refused("runs/first#all seed=1")
    assert "the weights of 'all seed=1' (id0) were removed" in line and "lineage.keep: delivered" in line
    for file in three["all seed=2"].iterdir():
        file.unlink()
    assert "the weights of 'all seed=2' (id1) are missing" in refused("runs/first#best")


def test_an_artifact_that_is_not_what_its_record_says_is_refused_before_a_start(three):
    (three["all seed=2"] / "model.safetensors").write_text("other")
    for name in ("runs/first#best", str(three["all seed=2"])):
        with pytest.raises(DataError, match=r"^model .*: .*model\.safetensors differs from its record"):
            check_model(name, folder=Path("nowhere"))


def test_a_record_that_cannot_be_read_is_an_error_about_the_model(results, three):
    (results / "points" / "id0" / "result.json").write_text("{")
    assert "result.json: damaged" in refused("runs/first#all seed=1")


def test_a_model_folder_with_a_file_called_record_is_left_alone(places):
    folder = places["cwd"] / "artifacts" / "model"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text('{"weights": "elsewhere"}')
    check_model("artifacts/model", folder=places["sweep"])
