"""What `raykd gc` shows and deletes, over results as sweeps leave them."""

import json
from pathlib import PurePosixPath

import pytest
import torch
from support.tiny_sweeps import point
from support.written_results import description, report, result

from raykd import cli
from raykd.config.digest import dump
from raykd.config.identity import Identity
from raykd.errors import ArtifactError, LeaseHeldError
from raykd.report.leaderboard import leaderboard
from raykd.results import lease
from raykd.results.artifacts import ArtifactRecord, Store
from raykd.results.gc import Waste, collect
from raykd.results.journal import Journal
from raykd.results.signals import SignalStore
from raykd.results.sweep import SweepDescription


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path) -> Store:
    """Results with generation 0, on both kinds of storage."""
    root = tmp_path / "results" if request.param == "folder" else request.getfixturevalue("bucket")
    made = Store(root)
    Journal(made).sweep.write(SweepDescription(name="tiny"))
    model(made, "base", ArtifactRecord(kind="base"))
    return made


def model(store: Store, name: str, record: ArtifactRecord) -> str:
    with store.committing(name, lambda: record) as folder:
        (folder / "model.safetensors").write_bytes(b"w" * 1000)
        (folder / "config.json").write_text("{}")
    return name


def add(store: Store, status: str, *, seed: int, **changes) -> Identity:
    """A point of two generations and a checkpoint, which ended as `status` says."""
    config = point(seed=seed, **changes)
    journal, name = Journal(store), config.id
    settings = dump(config.config)
    journal.points.add(description(name, label=f"seed={seed}", varied={"seed": seed}, base="base", config=settings))
    journal.points.start(name)
    journal.epochs.write(name, report(1))
    for generation in (1, 2):
        record = ArtifactRecord(kind="generation", point=config.recipe, generation=generation)
        model(store, artifact_of(config, generation), record)
    store.write(f"points/{name}/checkpoints/0001/state", b"c" * 500)
    if status == "finished":
        journal.points.write_result(result(name, 61.5, artifact=artifact_of(config, 2)))
    if status != "running":
        journal.points.end(name, status)
    return config


def artifact_of(config: Identity, generation: int) -> str:
    return f"{config.id}-{generation}"


def hear(store: Store, name: str, teacher: str) -> None:
    signals = SignalStore(store, PurePosixPath("signals", name), teacher)
    signals.write(["w"], [2], {"start": torch.zeros(2)})


def found(store: Store) -> dict[str, Waste]:
    return {each.name: each for each in collect(store, delete=False)}


def everything(store: Store) -> dict[str, int]:
    """Every file and its size; leases come and go."""
    return {name: file.size for name, file in store.files("").items() if not name.startswith("lease/")}


def test_of_a_finished_point_its_checkpoints_go_and_the_weights_that_its_lineage_does_not_keep(store):
    config = add(store, "finished", seed=1)
    name, before = config.id, everything(store)
    waste = found(store)
    assert waste.keys() == {f"points/{name}/checkpoints", f"artifacts/{artifact_of(config, 1)}"}
    assert waste[f"points/{name}/checkpoints"].num_bytes == 500
    weights = waste[f"artifacts/{artifact_of(config, 1)}"]
    assert weights.num_bytes == 1000
    assert weights.why == "weights of generation 1 of seed=1 (lineage.keep: delivered); the record stays"
    assert everything(store) == before
    board = leaderboard(store.root)
    collect(store, delete=True)
    assert found(store) == {} and leaderboard(store.root) == board
    assert store.has(artifact_of(config, 2)) and store.has("base") and not store.has(artifact_of(config, 1))
    assert store.record(artifact_of(config, 1)).generation == 1
    gone = before.keys() - everything(store).keys()
    assert {path.rpartition("/")[2] for path in gone} == {"state", "model.safetensors"} and len(gone) == 2


@pytest.mark.parametrize(("keep", "generations"), [("none", {1, 2}), ("all", set())])
def test_lineage_keep_says_which_weights_go(store, keep, generations):
    config = add(store, "finished", seed=1, lineage={"keep": keep})
    going = {each.artifact for each in found(store).values()} - {None}
    assert going == {artifact_of(config, generation) for generation in generations}


@pytest.mark.parametrize("status", ["running", "interrupted"])
def test_nothing_that_an_unfinished_point_needs_is_waste(store, status):
    config = add(store, status, seed=1)
    for number, teacher in enumerate([*config.first_teachers, artifact_of(config, 1)]):
        hear(store, f"heard-{number}", teacher)
    assert found(store) == {}


def test_a_point_whose_result_is_gone_runs_again(store):
    config = add(store, "finished", seed=1)
    store.remove(f"points/{config.id}/result.json")
    assert found(store) == {}


def test_of_a_failed_point_the_checkpoints_may_go_and_its_generations_stay(store):
    name = add(store, "failed", seed=1).id
    waste = found(store)
    assert waste.keys() == {f"points/{name}/checkpoints"}
    assert "is failed; if it runs again it starts from its last complete generation" in waste.popitem()[1].why


def test_a_point_that_was_stopped_early_leaves_nothing_but_records(store):
    config = add(store, "stopped", seed=1)
    going = {each.artifact for each in found(store).values()} - {None}
    assert going == {artifact_of(config, 1), artifact_of(config, 2)}


def test_signals_go_when_nobody_who_is_unfinished_hears_their_teacher(store):
    done = add(store, "finished", seed=1)
    hear(store, "shared", *done.first_teachers)
    hear(store, "own", artifact_of(done, 1))
    running = add(store, "running", seed=2)
    assert [*running.first_teachers] == [*done.first_teachers]
    going = {name for name in found(store) if name.startswith("signals/")}
    assert going == {"signals/own"}
    Journal(store).points.end(running.id, "stopped")
    assert {name for name in found(store) if name.startswith("signals/")} == {"signals/own", "signals/shared"}


def test_what_killed_runs_left_is_waste(tmp_path):
    store = Store(tmp_path)
    Journal(store).sweep.write(SweepDescription(name="tiny"))
    store.write(".scratch/staging-1/sub/weights", b"x" * 10)
    store.write(".scratch/staging-1/more", b"x" * 5)
    store.write(".ray/tune-1/log", b"x" * 7)
    store.write(".probe-abc", b"x")
    store.write("points/a/.state.json.0123abcd", b"x" * 3)
    sizes = {name: each.num_bytes for name, each in found(store).items()}
    left = {".scratch/staging-1": 15, ".ray/tune-1": 7, ".probe-abc": 1, "points/a/.state.json.0123abcd": 3}
    assert sizes == left
    collect(store, delete=True)
    assert everything(store).keys() == {"sweep.json"}


def test_a_running_sweep_is_left_alone(store, monkeypatch):
    add(store, "finished", seed=1)
    before = everything(store)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    with lease.Lease.take(store), pytest.raises(LeaseHeldError, match="is running this sweep"):
        collect(store, delete=True)
    assert everything(store) == before


def test_a_damaged_record_ends_it_before_anything_is_deleted(store):
    config = add(store, "finished", seed=1)
    store.write(f"points/{config.id}/state.json", b'{"status": "finished"')
    before = everything(store)
    with pytest.raises(ArtifactError, match=r"state\.json: damaged"):
        collect(store, delete=True)
    assert everything(store) == before


def test_a_folder_without_a_sweep_is_refused_and_left_as_it_is(tmp_path, capsys):
    assert cli.main(["gc", str(tmp_path), "--delete"]) == 2
    assert "not a results folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_shows_sizes_and_reasons_and_deletes_only_when_asked(store, capsys):
    add(store, "finished", seed=1)
    assert cli.main(["gc", str(store.root), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [each["num_bytes"] for each in shown] == [500, 1000]
    assert cli.main(["gc", str(store.root)]) == 0
    assert "0.0 MB in 2 places unneeded; --delete deletes them" in capsys.readouterr().out
    assert cli.main(["gc", str(store.root), "--delete"]) == 0
    assert "2 places deleted" in capsys.readouterr().out
    assert found(store) == {}
