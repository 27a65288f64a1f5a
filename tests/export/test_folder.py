"""What can be exported, what cannot, and that nothing half-written is left."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from support.finished_sweeps import LABEL, add, finish
from support.tiny_sweeps import point, tag_point

from raykd.errors import ArtifactError, ConfigError, DataError
from raykd.export.choice import chosen_point
from raykd.export.folder import export_point
from raykd.predict import Predictor
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.results.records import read_records
from raykd.results.sweep import SweepDescription
from raykd.tasks.qa.form import QaForm


@pytest.fixture
def root(sweep, tmp_path):
    """A copy of a finished sweep that a test may spoil."""
    return shutil.copytree(sweep("qa"), tmp_path / "results")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "home" / "model"


def refused(error, root, out, **options) -> str:
    """The one line that an export is refused with; nothing is left of it."""
    with pytest.raises(error) as caught:
        export_point(root, out, **options)
    assert not out.exists() and not list(out.parent.glob(".*"))
    (line,) = caught.value.problems
    return line


def test_a_folder_holds_model_tokenizer_card_and_origin(root, out):
    done = export_point(root, out)
    names = {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "raykd.json"} == names - {
        "tokenizer_config.json"
    }
    assert done.check.num_examples == 8 and done.check.difference <= 1e-5
    origin = json.loads((out / "raykd.json").read_text())
    assert (origin["id"], origin["label"], origin["artifact"]) == (done.point.id, LABEL, done.point.result.artifact)
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_a_folder_that_is_empty_is_taken_and_one_that_is_not_is_refused(root, out):
    out.mkdir(parents=True)
    export_point(root, out)
    with pytest.raises(ConfigError, match="exists and is not empty"):
        export_point(root, out)
    with pytest.raises(ConfigError, match="exists and is not empty"):
        export_point(root, out / "README.md")


def test_the_tokenizer_knows_where_the_positions_of_the_model_end(root, out):
    export_point(root, out)
    assert json.loads((out / "tokenizer_config.json").read_text())["model_max_length"] == 256


def test_the_best_finished_point_is_taken_though_others_are_still_to_run(root):
    journal = Journal.at(root)
    (first,) = journal.points.ids()
    waiting = add(root, point(seed=2), "skd seed=2")
    better = add(root, point(seed=3), "skd seed=3")
    result = journal.points.result(first)
    values = {**result.scores.values, result.scores.main: 99.0}
    journal.points.write_result(replace(result, point=better, scores=replace(result.scores, values=values)))
    journal.points.end(better, "finished")
    records = read_records(root)
    assert chosen_point(records, None).id == chosen_point(records, "best").id == better
    assert chosen_point(records, LABEL).id == chosen_point(records, first).id == first
    with pytest.raises(DataError, match=r"is finished .*pending"):
        chosen_point(records, waiting)
    with pytest.raises(DataError, match=r"2 finished points in .* match 'skd'"):
        chosen_point(records, "skd")
    with pytest.raises(DataError, match="has no point 'sdk seed=1'; nearest are 'skd seed=1'"):
        chosen_point(records, "sdk seed=1")


@pytest.mark.parametrize(
    ("status", "found"), [(None, "is pending"), ("failed", "is failed"), ("interrupted", "is interrupted")]
)
def test_a_sweep_without_a_finished_point_says_so(tmp_path, out, status, found):
    root = tmp_path / "results"
    name = add(root, point())
    if status:
        Journal.at(root).points.end(name, status)
    line = refused(DataError, root, out)
    assert f"no point is finished ({LABEL!r} ({name}) {found}" in line and "run the sweep, then export" in line


def test_a_sweep_without_points_and_a_folder_without_a_sweep_say_so(tmp_path, out):
    Journal.at(tmp_path / "empty").sweep.write(SweepDescription(name="empty"))
    assert "there are no points" in refused(DataError, tmp_path / "empty", out)
    assert "not a results folder" in refused(ConfigError, tmp_path / "nowhere", out)


def test_weights_that_are_gone_are_named_with_what_to_do(root, out):
    (only,) = read_records(root).points
    Store(root).remove_weights(only.result.artifact)
    for wanted in (None, LABEL):
        assert "lineage.keep: delivered" in refused(DataError, root, out, wanted=wanted)


def test_a_damaged_artifact_is_named(root, out):
    (only,) = read_records(root).points
    (Store(root).artifact(only.result.artifact) / "model.safetensors").write_bytes(b"weights")
    assert "model.safetensors differs from its record" in refused(ArtifactError, root, out)


def test_a_lineage_that_ends_where_it_began_delivers_generation_0(tmp_path, out):
    finish(tmp_path / "results", point(lineage={"num_generations": 1, "min_delta": 99.0}))
    done = export_point(tmp_path / "results", out)
    assert done.point.result.artifact == done.point.description.base
    assert "this model is generation 0" in (out / "README.md").read_text()
    # Its record does not tell how texts are cut; the exported folder does.
    assert Predictor.load(out).reading.max_length == point().config.data.max_length


def test_a_bilstm_is_refused_by_name(tmp_path, out):
    changes = {"head": {"lstm_size": 8}, "lineage": {"num_generations": 1}}
    finish(tmp_path / "results", tag_point(**changes), "skd seed=1")
    line = refused(DataError, tmp_path / "results", out)
    assert line.startswith("skd seed=1: a BiLSTM of size 8") and "raykd predict" in line
    assert Predictor.load(f"{tmp_path / 'results'}#best").label(["Ada", "was", "born"]).words == ("Ada", "was", "born")


class _Wrong(QaForm):
    """A conversion with a mistake in it."""

    def plain(self, model):
        wrong = type(model)(model.config)
        wrong.load_state_dict(model.state_dict())
        with torch.no_grad():
            wrong.qa_outputs.bias += 1e-3
        return wrong


def test_a_model_that_answers_differently_gets_no_name(root, out, monkeypatch):
    monkeypatch.setattr("raykd.tasks.qa.form.QaForm", _Wrong)
    assert "gives another output: a logit differs by 0.001" in refused(ArtifactError, root, out)


def test_a_point_of_another_version_is_named(root, out):
    journal = Journal.at(root)
    (only,) = journal.points.ids()
    described = journal.points.description(only)
    journal.points.add(replace(described, config={**described.config, "teachers": 2}))
    assert "was written by another version of raykd" in refused(ArtifactError, root, out)


@pytest.mark.parametrize("task", ["qa", "tagging", "parallel"])
def test_onnx_concludes_the_same_for_any_batch_and_length(sweep, out, task):
    import onnxruntime

    done = export_point(sweep(task), out, onnx=True)
    assert done.onnx.num_examples == done.check.num_examples and done.onnx.difference < 1e-4
    session = onnxruntime.InferenceSession(out / "model.onnx")
    for shape in ((1, 1), (5, 200)):
        inputs = {each.name: torch.ones(shape, dtype=torch.int64).numpy() for each in session.get_inputs()}
        (first, *_) = session.run(None, inputs)
        assert first.shape[:2] == shape
    assert "model.onnx" in (out / "README.md").read_text()


def test_without_the_extra_onnx_is_refused_before_anything_is_read(tmp_path, out, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    line = refused(ConfigError, tmp_path / "nowhere", out, onnx=True)
    assert "pip install 'raykd[onnx]'" in line


def test_results_on_an_object_store_are_exported_alike(bucket, out):
    finish(bucket, point())
    done = export_point(bucket, out)
    (only,) = read_records(bucket).points
    assert done.point.id == only.id
    answer = {"question": "Where was Ada born?", "context": "Ada was born in London."}
    assert Predictor.load(out).answer(**answer) == Predictor.load(f"{bucket}#{LABEL}").answer(**answer)
