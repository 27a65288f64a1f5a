"""Results on an object store: a local S3 server in place of a cloud, real clients, real models."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.points import killed_after, opened, ready, run
from support.racing_processes import ROUNDS, copies, winners
from support.tiny_sweeps import point
from support.written_results import description

from raykd import cli
from raykd.config.digest import dump
from raykd.errors import ArtifactError, CapacityError, StorageError
from raykd.report.leaderboard import leaderboard
from raykd.results.artifacts import ArtifactRecord, Store
from raykd.results.journal import Journal
from raykd.results.models import check_model, locate_model
from raykd.results.points import PointResult
from raykd.results.sweep import SweepDescription
from raykd.storage import Storage, machine_folder, read_probe, remove_probe, retries, write_probe


@pytest.fixture
def store(bucket) -> Store:
    return Store(bucket)


def commit(store: Store, name: str, text: str = "hello") -> None:
    with store.committing(name, lambda: ArtifactRecord(kind="generation")) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "model.safetensors").write_text(text)
        (folder / "config.json").write_text("{}")


def forget(store: Store) -> None:
    """This machine becomes another one, without copies."""
    shutil.rmtree(machine_folder(store.root))


def test_records_are_written_read_listed_and_removed(store):
    assert (store.children(""), store.files("points"), store.exists("points")) == ([], {}, False)
    for point_number in ("a", "b"):
        store.write_json(f"points/{point_number}/point.json", {"id": point_number})
    store.write_json("points/a/point.json", {"id": "a", "label": "again"})
    assert store.read_json("points/a/point.json") == {"id": "a", "label": "again"}
    assert store.children("points") == ["a", "b"]
    assert store.children("points/a/point.json") == []
    assert store.exists("points/a") and store.exists("points/a/point.json") and not store.exists("points/a/point")
    assert list(store.files("points")) == ["a/point.json", "b/point.json"]
    assert list(store.files("points/a/point.json")) == [""]
    store.remove("points/a")
    store.remove("nothing")
    assert store.children("points") == ["b"]
    with pytest.raises(ArtifactError, match=r"s3://results/.*/points/a/point\.json: missing"):
        store.read_json("points/a/point.json")


def test_a_neighbour_with_the_same_beginning_is_another_place(store):
    other = Store(f"{store.root}-other")
    other.write_json("x.json", 1)
    store.write_json("point/x.json", 1)
    store.write_json("points/x.json", 2)
    store.remove("point")
    assert (store.children(""), list(store.files("points")), other.read_json("x.json")) == (["points"], ["x.json"], 1)


def test_of_two_processes_that_create_one_object_one_succeeds(store):
    assert winners(store.root) == list(range(ROUNDS))


def test_a_truncated_record_is_refused_by_name(store):
    store.write_json("points/a/state.json", {"status": "finished"})
    store.write("points/a/state.json", store.read("points/a/state.json")[:-3])
    with pytest.raises(ArtifactError, match=r"points/a/state\.json: damaged"):
        store.read_json("points/a/state.json")


def test_an_artifact_is_committed_read_anywhere_and_its_weights_go(store):
    commit(store, "a1")
    forget(store)
    folder = store.artifact("a1")
    assert (folder / "sub" / "model.safetensors").read_text() == "hello"
    assert store.verify("a1").kind == "generation"
    store.remove_weights("a1")
    assert not store.has("a1") and not (folder / "sub" / "model.safetensors").exists()
    assert sorted(path.rpartition("/")[2] for path in store.files("artifacts/a1")) == ["config.json", "record.json"]
    commit(store, "a1", "again")
    assert (store.artifact("a1") / "sub" / "model.safetensors").read_text() == "again"


def test_of_two_committers_the_first_counts_and_no_file_is_the_others(store):
    with store.committing("a1", lambda: ArtifactRecord(kind="generation", language="slow")) as folder:
        (folder / "model.safetensors").write_text("slow")
        commit(store, "a1", "fast")
    forget(store)
    store.verify("a1")
    assert (store.artifact("a1") / "sub" / "model.safetensors").read_text() == "fast"


def test_an_artifact_without_its_record_is_not_there(store, monkeypatch):
    monkeypatch.setattr(Store, "create_json", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        commit(store, "a1")
    monkeypatch.undo()
    assert not store.has("a1")


def test_a_changed_object_is_refused_and_a_changed_copy_is_fetched_again(store):
    commit(store, "a1")
    weights = store.artifact("a1") / "sub" / "model.safetensors"
    weights.write_text("hellO")
    store.verify("a1")
    assert weights.read_text() == "hello"
    store.write(f"artifacts/a1/{store.record('a1').place}/sub/model.safetensors", b"hellO")
    forget(store)
    with pytest.raises(ArtifactError, match=r"sub/model\.safetensors is not what its record says"):
        store.artifact("a1")


def test_processes_that_fetch_at_once_share_one_whole_copy(store, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "file").write_bytes(b"x" * 3_000_000)
    store.publish(tmp_path / "made", "models/a")
    assert len(copies(store.root, "models/a")) == 1
    assert (store.fetch("models/a") / "file").stat().st_size == 3_000_000
    with pytest.raises(FileExistsError):
        store.publish(tmp_path / "made", "models/a")


def test_a_key_that_leads_out_of_the_copies_is_refused(store, tmp_path):
    import boto3

    bucket, _, prefix = store.root.removeprefix("s3://").partition("/")
    boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/models/a/../../../../out", Body=b"secret")
    with pytest.raises(ArtifactError, match="leads out of this folder"):
        store.fetch("models/a")
    assert not list(tmp_path.rglob("out"))


def test_a_server_that_is_gone_for_a_moment_is_waited_for(store, s3_server):
    store.write_json("x.json", {"a": 1})
    with s3_server.gone_for(2):
        assert store.read_json("x.json") == {"a": 1}


def test_a_server_that_stays_away_gives_one_line(store, s3_server, monkeypatch):
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0.1)
    s3_server.stop()
    try:
        with pytest.raises(StorageError, match=rf"{store.root}: the storage has not answered for 0.1 s"):
            store.read_json("x.json")
    finally:
        s3_server.start()


def test_a_missing_bucket_is_named(store):
    with pytest.raises(CapacityError, match=r"s3://no-such-bucket/x: cannot write here, on .*bucket"):
        write_probe(Storage("s3://no-such-bucket/x"), "abc")


def test_a_probe_is_written_read_and_gone(store):
    write_probe(store, "abc")
    read_probe(store, "abc")
    remove_probe(store, "abc")
    assert store.files("") == {}


# A sweep's point -------------------------------------------------------------------------------------------------


class Machine:
    """A worker that runs points of one place of results."""

    def __init__(self, root: Path | str, folder: Path) -> None:
        self.point = point(lineage={"num_generations": 2, "keep": "delivered"}, compute={"checkpoint_seconds": 0})
        self.context = opened(root, folder=folder)
        self.journal, self.id = Journal(self.context.store), self.point.id

    def prepare(self) -> None:
        ready(self.context, self.point)
        self.journal.sweep.write(SweepDescription(name="tiny", points=(self.id,)))
        described = description(self.id, label="skd seed=1", varied={"seed": 1}, base=self.point.base)
        self.journal.points.add(replace(described, config=dump(self.point.config)))

    def run(self, *, epochs: int | None = None) -> PointResult | None:
        """Run to the end, or die after so many epochs."""
        self.journal.points.start(self.id)
        if epochs is not None:
            killed_after(self.context, self.point, epochs)
            return None
        run(self.context, self.point)
        self.journal.points.end(self.id, "finished")
        return self.journal.points.result(self.id)

    def weights(self, artifact: str) -> dict[str, torch.Tensor]:
        return safetensors.torch.load_file(self.context.store.artifact(artifact) / "model.safetensors")


def test_a_point_on_s3_killed_and_resumed_elsewhere_is_the_one_of_a_local_folder(bucket, tmp_path, monkeypatch, capsys):
    local = Machine(tmp_path / "local", tmp_path)
    local.prepare()
    expected = local.run()
    first = Machine(bucket, tmp_path)
    first.prepare()
    assert first.run(epochs=1) is None
    monkeypatch.setenv("RAYKD_CACHE", str(tmp_path / "another-machine"))
    second = Machine(bucket, tmp_path)
    found = second.run()
    assert found.artifact == expected.artifact and found.scores == expected.scores
    for name, tensor in local.weights(expected.artifact).items():
        assert torch.equal(second.weights(found.artifact)[name], tensor)

    rows = [(row.method, row.num_seeds, row.mean) for row in leaderboard(bucket).rows]
    assert rows == [(row.method, row.num_seeds, row.mean) for row in leaderboard(tmp_path / "local").rows]
    assert cli.main(["leaderboard", bucket, "--json"]) == 0
    assert [row["method"] for row in json.loads(capsys.readouterr().out)["rows"]] == [method for method, _, _ in rows]

    model = Path(locate_model(f"{bucket}#best", folder=tmp_path))
    assert (model / "config.json").is_file()
    check_model(f"{bucket}#skd seed=1", folder=tmp_path)
    kept = {path.split("/")[0] for path in second.context.store.files(f"points/{second.id}")}
    assert kept == {"epochs", "generations.json", "outcomes.json", "point.json", "result.json", "state.json"}
    assert not list(tmp_path.glob("another-machine/**/scratch/*"))
    assert not list(tmp_path.glob(f"another-machine/**/points/{second.id}/checkpoints"))
