import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.artifacts import RECORD, Store, canonical_json, fingerprint, hash_folder, read_json, write_json
from raykd.errors import ArtifactError

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
"""SHA-256 of `hello`."""

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


def commit(store: Store, name: str, text: str = "hello", **record) -> None:
    with store.committing(name, lambda: record) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "weights.safetensors").write_text(text)
        (folder / "config.json").write_text("{}")


def files_under(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


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
    path = tmp_path_factory.mktemp("json") / "deep" / "value.json"
    write_json(path, value)
    assert read_json(path) == value
    assert files_under(path.parent) == ["value.json"]


@pytest.mark.parametrize("wrong", [object(), float("nan"), {"a": [1, {2, 3}]}], ids=["object", "nan", "nested set"])
def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path, wrong):
    path = tmp_path / "state.json"
    write_json(path, {"old": 1})
    with pytest.raises((TypeError, ValueError)):
        write_json(path, {"new": "x" * 100_000, "wrong": wrong})
    assert files_under(tmp_path) == ["state.json"]
    assert read_json(path) == {"old": 1}


def test_a_missing_and_a_torn_file_are_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"gone\.json: missing"):
        read_json(tmp_path / "gone.json")
    (tmp_path / "torn.json").write_text('{"a": 1')
    with pytest.raises(ArtifactError, match=r"torn\.json: not valid JSON"):
        read_json(tmp_path / "torn.json")


def test_a_committed_artifact_holds_its_files_and_a_record_with_their_hashes(tmp_path):
    store = Store(tmp_path)
    assert not store.has("a1")
    commit(store, "a1", generation=2)
    assert store.has("a1")
    record = store.record("a1")
    empty_object = hashlib.sha256(b"{}").hexdigest()
    assert record["files"] == {"config.json": empty_object, "sub/weights.safetensors": HELLO}
    assert (record["fingerprint"], record["generation"]) == ("a1", 2)
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
    with store.committing("a1", dict) as folder:
        (folder / "weights").write_text("hello")
        assert not store.has("a1")
        assert not store.artifact("a1").exists()
    assert store.has("a1")


def test_an_error_in_the_block_leaves_nothing(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="killed"), store.committing("a1", dict) as folder:
        (folder / "weights").write_text("half")
        raise RuntimeError("killed")
    assert files_under(tmp_path) == ["artifacts"]


def test_an_error_while_the_record_is_made_leaves_nothing(tmp_path):
    def record():
        raise RuntimeError("no score")

    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="no score"), store.committing("a1", record) as folder:
        (folder / "weights").write_text("whole")
    assert files_under(tmp_path) == ["artifacts"]


def test_the_record_is_made_after_the_files_and_written_last(tmp_path):
    store = Store(tmp_path)
    seen = {}

    def record():
        seen["files"] = files_under(seen["folder"])
        return {}

    with store.committing("a1", record) as folder:
        seen["folder"] = folder
        (folder / "weights").write_text("hello")
    assert seen["files"] == ["weights"]
    assert RECORD not in store.record("a1")["files"]


def test_a_second_committer_of_the_same_name_is_harmless(tmp_path):
    store = Store(tmp_path)
    with store.committing("a1", lambda: {"by": "slow"}) as folder:
        (folder / "weights").write_text("slow")
        commit(store, "a1", by="fast")
    assert store.verify("a1")["by"] == "fast"
    assert not list((tmp_path / "artifacts").glob(".staging-*"))


def test_a_folder_without_a_record_makes_room_for_the_artifact(tmp_path):
    store = Store(tmp_path)
    store.artifact("a1").mkdir(parents=True)
    (store.artifact("a1") / "half").write_text("half")
    with store.committing("a1", dict) as folder:
        (folder / "weights").write_text("whole")
    assert store.verify("a1")["files"].keys() == {"weights"}


def test_an_artifact_whose_weights_were_removed_can_be_made_again(tmp_path):
    store = Store(tmp_path)
    for _ in range(2):
        assert not store.has("a1")
        with store.committing("a1", dict) as folder:
            (folder / "model.safetensors").write_text("bytes")
        assert store.has("a1")
        store.remove_weights("a1")


def test_verify_names_a_changed_file(tmp_path):
    store = Store(tmp_path)
    commit(store, "a1")
    (store.artifact("a1") / "sub" / "weights.safetensors").write_text("hellO")
    with pytest.raises(ArtifactError, match=r"sub/weights\.safetensors differs from its record"):
        store.verify("a1")


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
    with store.committing("a1", lambda: {"dev_score": 61.5}) as folder:
        (folder / "model.safetensors").write_text("hello")
        (folder / "tokenizer.json").write_text("{}")
    store.remove_weights("a1")
    assert files_under(store.artifact("a1")) == ["record.json", "tokenizer.json"]
    assert store.record("a1")["dev_score"] == 61.5
    with pytest.raises(ArtifactError, match="its weights were removed"):
        store.verify("a1")


def test_a_record_is_readable_text(tmp_path):
    store = Store(tmp_path)
    commit(store, "a1", language="中文")
    text = (store.artifact("a1") / RECORD).read_text(encoding="utf-8")
    assert "中文" in text
    assert json.loads(text)["language"] == "中文"


def test_the_hash_of_a_folder_leaves_its_record_out(tmp_path):
    (tmp_path / "weights").write_text("hello")
    (tmp_path / RECORD).write_text("{}")
    assert hash_folder(tmp_path) == {"weights": HELLO}
