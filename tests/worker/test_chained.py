"""Sweeps that start from another sweep's point by its name: a parallel encoder under QA and tagging, without Ray."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.finished_sweeps import finish
from support.points import opened, ready
from support.tiny_sweeps import pair_point, point, tag_point
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from raykd.config.identity import Identity
from raykd.errors import DataError
from raykd.plan.file import sweep_of
from raykd.plan.inspection import check_data
from raykd.plan.points import Plan, make_plan
from raykd.plan.preview import count_parameters
from raykd.predict import evaluate
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.results.models import locate_model
from raykd.worker.handoff import given_model, given_teacher

NAME = "runs/multilevel#all seed=1"
SLOW = {"learning_rate": 1e-6}
"""So slow that weights stay, to four digits, where they began."""


def run(root: Path, wanted: Identity, label: str) -> dict:
    """The result of a point that is run to its end and recorded as a sweep records it."""
    return Journal.at(root).points.result(finish(root, wanted, label))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with the results of a parallel sweep in `runs/multilevel`."""
    folder = tmp_path_factory.mktemp("world")
    run(folder / "runs" / "multilevel", pair_point(lineage={"num_generations": 1}), "all seed=1")
    return folder


@pytest.fixture(scope="module")
def answering(world) -> Path:
    """The results of a QA sweep that starts from the parallel one, whose folder is in RAYKD_DATA."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAYKD_DATA", str(world))
        run(world / "runs" / "qa", qa_point(), "qa seed=1")
    return world / "runs" / "qa"


@pytest.fixture(autouse=True)
def here(world, monkeypatch) -> Path:
    monkeypatch.chdir(world)
    monkeypatch.delenv("RAYKD_DATA", raising=False)
    return world


@pytest.fixture
def encoder(world) -> Path:
    """The artifact of the parallel point."""
    journal = Journal.at(world / "runs" / "multilevel")
    (name,) = journal.points.ids()
    return journal.store.artifact(journal.points.result(name).artifact)


def qa_point(**changes) -> Identity:
    return point(base={"model": NAME, "train": SLOW}, training=SLOW, lineage={"num_generations": 1}, **changes)


def largest_difference(found: dict[str, torch.Tensor], start: dict[str, torch.Tensor]) -> float:
    return max(float((found[f"bert.{name}"] - tensor).abs().max()) for name, tensor in start.items())


def test_a_qa_point_starts_from_the_encoder_of_a_parallel_point(encoder, world, answering):
    wanted, store, start = qa_point(), Store(answering), tensors(encoder)
    untrained = tensors(Store(world / "runs" / "multilevel").artifact(pair_point().base))
    assert max(float((start[name] - tensor).abs().max()) for name, tensor in untrained.items()) > 1e-3
    for artifact in (wanted.base, Journal(store).points.result(wanted.id).artifact):
        found = tensors(store.artifact(artifact))
        assert {name for name in found if not name.startswith("bert.")} == {"qa_outputs.weight", "qa_outputs.bias"}
        assert {f"bert.{name}" for name in start} == {name for name in found if name.startswith("bert.")}
        assert 0 < largest_difference(found, start) < 1e-4
    assert store.record(wanted.base).given == Store(encoder).read_json("record.json")["files"]


def test_it_ends_as_a_folder_that_transformers_answers_with(answering):
    folder = Path(locate_model("runs/qa#best", folder=answering))
    model, info = AutoModelForQuestionAnswering.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in tensors(folder).items())
    batch = AutoTokenizer.from_pretrained(folder)("Where?", "In the old city.", return_tensors="pt")
    with torch.no_grad():
        outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    assert outputs.start_logits.shape == batch["input_ids"].shape and outputs.start_logits.isfinite().all()


def test_a_model_by_name_is_given_bit_by_bit(encoder, tmp_path):
    context, start = opened(tmp_path), tensors(encoder)
    qa = given_model(context, qa_point().config)[0].state_dict()
    assert all(torch.equal(qa[f"bert.{name}"], tensor) for name, tensor in start.items())
    tags = given_model(context, tag_point(base={"model": NAME}).config)[0].state_dict()
    assert all(torch.equal(tags[f"encoder.{name}"], tensor) for name, tensor in start.items())
    taught = pair_point(teacher={"model": NAME}, base={"model": "runs/multilevel#best"}).config
    for model, _ in (given_teacher(context, taught, NAME), given_model(context, taught)):
        assert all(torch.equal(model.state_dict()[f"encoder.{name}"], tensor) for name, tensor in start.items())


def test_a_tagging_student_learns_from_teachers_that_start_at_a_parallel_point(encoder, tmp_path):
    wanted = tag_point(base={"model": NAME, "train": SLOW}, training=SLOW, lineage={"num_generations": 1})
    result, start = run(tmp_path, wanted, "tags seed=1"), tensors(encoder)
    for artifact in (*wanted.first_teachers, result.artifact):
        found = tensors(Store(tmp_path).artifact(artifact))
        assert found.keys() == start.keys()
        assert 0 < max(float((found[name] - tensor).abs().max()) for name, tensor in start.items()) < 1e-4


def planned(wanted: Identity) -> Plan:
    return make_plan(sweep_of({"name": "chained", **wanted.config.model_dump(mode="json")}))


@pytest.mark.parametrize(
    "named",
    [
        lambda name: point(base={"model": name}),
        lambda name: point(student={"model": name}),
        lambda name: tag_point(base={"model": name}),
        lambda name: pair_point(teacher={"model": name}),
    ],
    ids=["base.model", "student.model", "base.model of tagging", "teacher.model"],
)
def test_a_name_is_checked_before_a_start_wherever_a_model_is_named(here, named):
    check_data(planned(named(NAME)), folder=here)
    with pytest.raises(DataError) as caught:
        check_data(planned(named("runs/multilevel#al seed=1")), folder=here)
    (line,) = caught.value.problems
    assert "has no point 'al seed=1'; nearest are 'all seed=1'" in line


def test_a_preview_counts_the_weights_of_a_model_by_name(here, encoder):
    expected = sum(tensor.numel() for tensor in tensors(encoder).values())
    assert count_parameters(qa_point().config.base.model, folder=here) == expected


@contextlib.contextmanager
def other_weights(world: Path) -> Iterator[None]:
    """The parallel point's result names generation 0: the same files, with other weights."""
    journal = Journal.at(world / "runs" / "multilevel")
    (name,) = journal.points.ids()
    result = journal.points.result(name)
    journal.points.write_result(replace(result, artifact=result.base))
    try:
        yield
    finally:
        journal.points.write_result(result)


def test_another_base_under_the_same_name_is_refused_when_the_sweep_goes_on(world, tmp_path):
    context, wanted = opened(tmp_path), qa_point()
    ready(context, wanted)
    ready(context, wanted)
    refused = pytest.raises(DataError, match=r"^base\.model runs/multilevel#all seed=1: model\.safetensors changed")
    with other_weights(world), refused:
        ready(context, wanted)


def test_a_point_is_evaluated_by_its_name(here, answering, tmp_path):
    qas = [{"id": "q", "question": "Who?", "answers": [{"text": "Alva", "answer_start": 0}]}]
    document = {"data": [{"title": "t", "paragraphs": [{"context": "Alva lives here.", "qas": qas}]}]}
    data = tmp_path / "squad.json"
    data.write_text(json.dumps(document))
    with pytest.raises(DataError, match="en is one side of every pair; languages names the other sides"):
        evaluate(NAME, data=str(data), languages=("en",))
    # The model reads 256 tokens, in windows of its sweep.
    by_name = evaluate("runs/qa#best", data=str(data), languages=("en",), n_best=2)
    assert by_name.answers["en-en"].keys() == {"q"}
    folder = locate_model(f"{answering}#qa", folder=here)
    assert by_name == evaluate(folder, data=str(data), languages=("en",), n_best=2)


def test_another_student_model_under_the_same_name_has_another_hash(here):
    # A sweep refuses to go on where one of these hashes changed.
    plan, key = planned(point(student={"model": NAME})), f"student.model {NAME}"
    before = check_data(plan, folder=here)
    assert check_data(plan, folder=here) == before
    with other_weights(here):
        after = check_data(plan, folder=here)
    assert after[key] != before[key] and {**after, key: before[key]} == before
