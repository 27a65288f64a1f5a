import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.errors import ArtifactError
from raykd.results.artifacts import RECORD, ArtifactRecord, Store, canonical_json, fingerprint, hash_folder

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
"""SHA-256 of `hello`."""

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


def generation(**made) -> ArtifactRecord:
    return ArtifactRecord(kind="generation", **made)


def commit(store: Store, name: str, text: str = "hello", **made) -> None:
    with store.committing(name, lambda: generation(**made)) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "weights.safetensors").write_text(text)
        (folder / "config.json").write_text("{}")


def files_under(folder) -> list[str]:
    """Everything but the folder where things are staged, which must be empty."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return [path for path in found if path != ".scratch"]


def test_files_of_an_artifact_are_as_open_as_its_folder(tmp_path):
    """transformers writes weights that their owner alone may read."""
    store = Store(tmp_path)
    with store.committing("one", generation) as folder:
        (folder / "model.safetensors").touch(mode=0o600)
        folder.chmod(0o750)
    assert (store.artifact("one") / "model.safetensors").stat().st_mode & 0o777 == 0o640


def test_a_fingerprint_is_the_start_of_the_sha256_of_canonical_json():
    recipe = {"b": [1, 2.5, None], "a": {"ü": True}}
    text = '{"a":{"ü":true},"b":[1,2.5,null]}'
    assert canonical_json(recipe) == text
    assert fingerprint(recipe) == hashlib.sha256(text.encode()).hexdigest()[:16]


@given(st.dictionaries(st.text(), values))
def test_a_fingerprint_does_not_depend_on_the_order_of_keys(recipe):
    def backwards(value):
        if isinstance(value, dict):
            return {key: backwards(inner) for key, inner in reversed(value.items())}
        return [backwards(inner) for inner in value] if isinstance(value, list) else value

    assert fingerprint(backwards(recipe)) == fingerprint(recipe)


def test_a_fingerprint_depends_on_every_value_and_on_the_order_of_lists():
    recipes = [{"a": 1}, {"a": 2}, {"a": "1"}, {"b": 1}, {"a": [1, 2]}, {"a": [2, 1]}, {"a": None}, {}]
    assert len({fingerprint(recipe) for recipe in recipes}) == len(recipes)


def test_a_value_that_is_not_a_number_has_no_fingerprint():
    with pytest.raises(ValueError, match="JSON compliant"):
        fingerprint({"learning_rate": float("nan")})


@given(value=values)
def test_what_is_written_is_read_back(tmp_path_factory, value):
    store = Store(tmp_path_factory.mktemp("json"))
    store.write_json("deep/value.json", value)
    assert store.read_json("deep/value.json") == value
    assert files_under(store.root) == ["deep", "deep/value.json"]


@pytest.mark.parametrize("wrong", [object(), float("nan"), {"a": [1, {2, 3}]}], ids=["object", "nan", "nested set"])
def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path, wrong):
    store = Store(tmp_path)
    store.write_json("state.json", {"old": 1})
    with pytest.raises((TypeError, ValueError)):
        store.write_json("state.json", {"new": "x" * 100_000, "wrong": wrong})
    assert files_under(tmp_path) == ["state.json"]
    assert store.read_json("state.json") == {"old": 1}


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"deep/gone\.json: missing"):
        Store(tmp_path).read_json("deep/gone.json")
    assert Store(tmp_path).find_json("deep/gone.json") is None


@given(value=values, data=st.data())
def test_a_record_with_other_bytes_is_refused_by_name(tmp_path_factory, value, data):
    store = Store(tmp_path_factory.mktemp("json"))
    store.write_json("state.json", value)
    written = store.read("state.json")
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(written))] * 2)))
    changed = written[:start] + data.draw(st.binary(max_size=8)) + written[stop:]
    store.write("state.json", changed)
    if changed == written:
        assert store.read_json("state.json") == value
        return
    with pytest.raises(ArtifactError, match=r"state\.json: damaged: .*; remove it and run again"):
        store.read_json("state.json")


def test_a_record_is_created_once_and_is_then_a_record_like_others(tmp_path):
    store = Store(tmp_path)
    store.create_json("lease/1.json", {"who": "first"})
    for value in ({"who": "second"}, {"who": "first"}):
        with pytest.raises(FileExistsError):
            store.create_json("lease/1.json", value)
    assert store.read_json("lease/1.json") == {"who": "first"}
    assert files_under(tmp_path) == ["lease", "lease/1.json"]


def test_a_committed_artifact_holds_its_files_and_a_record_with_their_hashes(tmp_path):
    store = Store(tmp_path)
    assert not store.has("a1")
    commit(store, "a1", generation=2)
    assert store.has("a1")
    record = store.record("a1")
    empty_object = hashlib.sha256(b"{}").hexdigest()
    assert record.files == {"config.json": empty_object, "sub/weights.safetensors": HELLO}
    assert (record.fingerprint, record.generation) == ("a1", 2)
    assert store.verify("a1") == record
    assert files_under(tmp_path / "artifacts") == [
        "a1",
        "a1/config.json",
        "a1/record.json",
        "a1/sub",
        "a1/sub/weights.safetensors",
    ]


def test_nothing_is_visible_before_the_block_ends(tmp_path):
    store = Store(tmp_path)
    with store.committing("a1", generation) as folder:
        (folder / "weights").write_text("hello")
        assert not store.has("a1")
        assert not store.artifact("a1").exists()
    assert store.has("a1")


def test_an_error_in_the_block_leaves_nothing(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="killed"), store.committing("a1", generation) as folder:
        (folder / "weights").write_text("half")
        raise RuntimeError("killed")
    assert files_under(tmp_path) == []


def test_an_error_while_the_record_is_made_leaves_nothing(tmp_path):
    def record():
        raise RuntimeError("no score")

    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="no score"), store.committing("a1", record) as folder:
        (folder / "weights").write_text("whole")
    assert files_under(tmp_path) == []


def test_the_record_is_made_after_the_files_and_written_last(tmp_path):
    store = Store(tmp_path)
    seen = {}

    def record():
        seen["files"] = files_under(seen["folder"])
        return generation()

    with store.committing("a1", record) as folder:
        seen["folder"] = folder
        (folder / "weights").write_text("hello")
    assert seen["files"] == ["weights"]
    assert RECORD not in store.record("a1").files


def test_a_second_committer_of_the_same_name_is_harmless(tmp_path):
    store = Store(tmp_path)
    with store.committing("a1", lambda: generation(language="slow")) as folder:
        (folder / "weights").write_text("slow")
        commit(store, "a1", language="fast")
    assert store.verify("a1").language == "fast"
    assert files_under(tmp_path / ".scratch") == []


def test_a_folder_without_a_record_makes_room_for_the_artifact(tmp_path):
    store = Store(tmp_path)
    store.artifact("a1").mkdir(parents=True)
    (store.artifact("a1") / "half").write_text("half")
    with store.committing("a1", generation) as folder:
        (folder / "weights").write_text("whole")
    assert store.verify("a1").files.keys() == {"weights"}


def test_an_artifact_whose_weights_were_removed_can_be_made_again(tmp_path):
    store = Store(tmp_path)
    for _ in range(2):
        assert not store.has("a1")
        with store.committing("a1", generation) as folder:
            (folder / "model.safetensors").write_text("bytes")
        assert store.has("a1")
        store.remove_weights("a1")


def test_verify_names_a_changed_file(tmp_path):
    store = Store(tmp_path)
    commit(store, "a1")
    (store.artifact("a1") / "sub" / "weights.safetensors").write_text("hellO")
    with pytest.raises(ArtifactError, match=r"sub/weights\.safetensors differs from its record"):
        store.verify("a1")


def test_an_artifact_with_a_damaged_record_counts_as_absent_and_is_made_again(tmp_path, caplog):
    store = Store(tmp_path)
    commit(store, "a1")
    (store.artifact("a1") / RECORD).write_text('{"files"')
    assert not store.has("a1")
    assert "a1/record.json is damaged" in caplog.text
    with pytest.raises(ArtifactError, match=r"a1/record\.json: damaged"):
        store.has("a1", strict=True)
    commit(store, "a1")
    assert store.verify("a1").files.keys() == {"config.json", "sub/weights.safetensors"}


@pytest.mark.parametrize("name", ["../other", "a1/../../b1", "/etc"])
def test_an_artifact_elsewhere_is_refused(tmp_path, name):
    store = Store(tmp_path / "results")
    for read in (store.record, store.artifact, store.verify, store.remove_weights):
        with pytest.raises(ArtifactError, match="leads out of this folder"):
            read(name)


def test_verify_names_a_missing_file(tmp_path):
    store = Store(tmp_path)
    commit(store, "a1")
    (store.artifact("a1") / "config.json").unlink()
    with pytest.raises(ArtifactError, match=r"config\.json is missing"):
        store.verify("a1")


def test_verify_of_an_artifact_that_is_not_there_names_its_record(tmp_path):
    with pytest.raises(ArtifactError, match=r"a1/record\.json: missing"):
        Store(tmp_path).verify("a1")


def test_removed_weights_leave_a_record_that_says_so(tmp_path):
    store = Store(tmp_path)
    with store.committing("a1", lambda: generation(dev_score=61.5)) as folder:
        (folder / "model.safetensors").write_text("hello")
        (folder / "tokenizer.json").write_text("{}")
    store.remove_weights("a1")
    assert files_under(store.artifact("a1")) == ["record.json", "tokenizer.json"]
    assert store.record("a1").dev_score == 61.5
    with pytest.raises(ArtifactError, match="its weights were removed"):
        store.verify("a1")


def test_a_record_is_readable_text(tmp_path):
    store = Store(tmp_path)
    commit(store, "a1", language="中文")
    text = (store.artifact("a1") / RECORD).read_text(encoding="utf-8")
    assert "中文" in text
    assert json.loads(text)["content"]["language"] == "中文"


def test_the_hash_of_a_folder_leaves_its_record_out(tmp_path):
    (tmp_path / "weights").write_text("hello")
    (tmp_path / RECORD).write_text("{}")
    assert hash_folder(tmp_path) == {"weights": HELLO}
