"""The storage layer on a local folder: names, whole files, exclusive ones, retries, probes."""

import errno
import pickle
import threading
from pathlib import Path

import pytest
from support.racing_processes import ROUNDS, winners

from raykd.errors import ArtifactError, CapacityError, ConfigError, StorageError
from raykd.results.artifacts import Store
from raykd.storage import (
    Storage,
    location,
    machine_folder,
    read_probe,
    remove_probe,
    resolved,
    retries,
    write_probe,
)
from raykd.storage.folder import Folder


@pytest.fixture
def storage(tmp_path) -> Storage:
    return Storage(tmp_path / "results")


def files_under(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# Places ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("runs/tiny", Path("runs/tiny")),
        (Path("/shared/runs"), Path("/shared/runs")),
        ("s3://bucket/runs/tiny", "s3://bucket/runs/tiny"),
        ("s3://bucket/runs/tiny/", "s3://bucket/runs/tiny"),
        ("gs://bucket/runs", "gs://bucket/runs"),
    ],
)
def test_a_place_is_a_path_or_a_url(text, expected):
    assert location(text) == expected == Storage(text).root


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://host/runs", "use a folder, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"),
        ("s3://", "give a bucket and a folder"),
        ("s3://bucket", "give a bucket and a folder"),
        ("s3:///runs", "give a bucket and a folder"),
        ("s3://bucket/../other", "give a bucket and a folder"),
        ("s3://bucket//runs", "give a bucket and a folder"),
        ("s3://key:secret@bucket/runs", "no credentials"),
        ("gs://bucket/runs?token=secret", "no credentials"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_and_its_secrets_are_not_repeated(text, said):
    with pytest.raises(ConfigError) as caught:
        location(text)
    (line,) = caught.value.problems
    assert said in line and "secret" not in line


def test_a_missing_extra_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(ConfigError, match=r"pip install 'raykd\[gcs\]' on every node"):
        Storage("gs://bucket/runs").read("x")


def test_a_relative_folder_is_resolved_and_a_url_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolved(Path("runs")) == tmp_path / "runs"
    assert resolved("s3://bucket/runs") == "s3://bucket/runs"


def test_a_store_travels_to_other_processes(tmp_path):
    for root in (tmp_path, "s3://bucket/runs"):
        assert pickle.loads(pickle.dumps(Store(root))) == Store(root)


def test_copies_are_kept_only_where_nobody_else_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYKD_CACHE", str(tmp_path))
    first = machine_folder("s3://bucket/one")
    assert first.parent.stat().st_mode & 0o777 == 0o700
    assert machine_folder("s3://bucket/two") != first == machine_folder("s3://bucket/one")
    first.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="others can write to it"):
        machine_folder("s3://bucket/one")


# Names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/etc/passwd", "..", "a\\..\\b", "a\0b"])
def test_a_name_that_leads_out_is_refused_by_every_operation(storage, name, tmp_path):
    (tmp_path / "out").write_text("secret")
    operations = [
        storage.read,
        storage.exists,
        storage.children,
        storage.files,
        storage.remove,
        storage.fetch,
        lambda name: storage.write(name, b"x"),
        lambda name: storage.create(name, b"x"),
        lambda name: storage.publish(tmp_path / "out", name),
    ]
    for operation in operations:
        with pytest.raises(ArtifactError, match="leads out of this folder"):
            operation(name)
    assert (tmp_path / "out").read_text() == "secret"


def test_a_link_that_leads_out_is_refused_and_one_inside_is_followed(storage, tmp_path):
    storage.write("a/file", b"inside")
    (tmp_path / "out").mkdir()
    (storage.root / "link").symlink_to(tmp_path / "out")
    (storage.root / "inner").symlink_to(storage.root / "a")
    for operation in (storage.children, storage.fetch, lambda name: storage.write(f"{name}/x", b"x")):
        with pytest.raises(ArtifactError, match="a link out of this folder"):
            operation("link")
    assert storage.read("inner/file") == b"inside"


def test_a_root_that_is_itself_a_link_is_fine(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "disk")
    Storage(tmp_path / "results").write("a/b", b"x")
    assert (tmp_path / "disk" / "a" / "b").read_bytes() == b"x"


# Files -----------------------------------------------------------------------------------------------------------


def test_files_are_listed_and_removed(storage):
    for name in ("a/one", "a/two", "a/sub/three", "b"):
        storage.write(name, name.encode())
    storage.write("a/.hidden", b"")
    assert storage.children("a") == ["one", "sub", "two"]
    assert storage.children("") == ["a", "b"]
    assert storage.children("nothing") == storage.children("b") == []
    assert {name: file.size for name, file in storage.files("a/sub").items()} == {"three": 11}
    assert storage.files("b")[""].size == 1
    assert storage.files("nothing") == {}
    storage.remove("a/sub")
    storage.remove("b")
    storage.remove("nothing")
    assert files_under(storage.root) == ["a/.hidden", "a/one", "a/two"]
    assert storage.exists("a") and storage.exists("a/one") and not storage.exists("a/sub")


def test_a_reader_sees_a_whole_file_at_any_time(storage):
    versions = [bytes([number]) * 100_000 for number in (1, 2)]
    storage.write("state", versions[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(100):
            storage.write("state", versions[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(storage.read("state"))
    writer.join()
    assert seen <= set(versions)
    assert files_under(storage.root) == ["state"]


def test_of_two_processes_that_create_one_file_one_succeeds(tmp_path):
    assert winners(tmp_path) == list(range(ROUNDS))


def test_a_folder_is_published_once_and_fetched_where_it_is(storage, tmp_path):
    for number in range(2):
        (tmp_path / f"made-{number}").mkdir()
        (tmp_path / f"made-{number}" / "file").write_text(str(number))
    storage.publish(tmp_path / "made-0", "models/a")
    with pytest.raises(FileExistsError):
        storage.publish(tmp_path / "made-1", "models/a")
    assert storage.fetch("models/a") == storage.root / "models" / "a"
    assert storage.read("models/a/file") == b"0"


def test_a_folder_from_another_disk_is_copied_and_appears_whole(storage, tmp_path, monkeypatch):
    """A rename across disks is refused by the system; what is in the root is on its own disk."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "file").write_text("content")
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if not self.is_relative_to(storage.root):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    storage.publish(tmp_path / "made", "models/a")
    assert files_under(storage.root) == ["models/a/file"]


def test_what_is_staged_is_on_the_same_disk_and_gone_after_the_block(storage):
    with storage.scratch.staging() as folder:
        (folder / "half").write_text("half")
        assert folder.is_relative_to(storage.root)
    assert files_under(storage.root) == []


# Retries ---------------------------------------------------------------------------------------------------------


class Flaky:
    """A backend operation that fails a few times first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    def __call__(self, name: str) -> bytes:
        if self.errors:
            raise self.errors.pop(0)
        return b"content"


class HTTPClientError(Exception):
    """As botocore calls what goes wrong on the way to a server."""


class HttpError(Exception):
    """As gcsfs calls an answer of the server."""

    def __init__(self, code: int) -> None:
        super().__init__(f"answer {code}")
        self.code = code


def flaky(storage: Storage, monkeypatch, *errors: Exception) -> Flaky:
    operation = Flaky(*errors)
    monkeypatch.setattr(Folder, "read", operation)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.001)
    return operation


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(number, "gone") for number in (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT)),
        *(ConnectionResetError(), TimeoutError(), HTTPClientError("no route"), HttpError(503), HttpError(429)),
    ],
    ids=repr,
)
def test_a_storage_that_is_gone_for_a_moment_is_asked_again(storage, monkeypatch, caplog, error):
    operation = flaky(storage, monkeypatch, error, error)
    assert storage.read("x") == b"content"
    assert operation.errors == []
    assert caplog.text.count("does not answer") == 2


def test_a_storage_that_stays_away_gives_one_line(storage, monkeypatch):
    flaky(storage, monkeypatch, *[OSError(errno.EIO, "Input/output error")] * 1000)
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0.05)
    with pytest.raises(StorageError) as caught:
        storage.read("x")
    (line,) = caught.value.problems
    assert str(storage.root) in line and "has not answered for 0.05 s" in line and "run the same command again" in line


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), PermissionError(), FileNotFoundError(), ValueError("a bug")], ids=repr
)
def test_what_time_does_not_heal_is_raised_at_once(storage, monkeypatch, error):
    operation = flaky(storage, monkeypatch, error, error)
    with pytest.raises(type(error)):
        storage.read("x")
    assert len(operation.errors) == 1


def test_an_answer_that_refuses_is_a_storage_error_at_once(storage, monkeypatch):
    monkeypatch.setattr(HttpError, "__module__", "gcsfs.retry")
    operation = flaky(storage, monkeypatch, HttpError(403), HttpError(403))
    with pytest.raises(StorageError, match="answer 403; check the address and credentials"):
        storage.read("x")
    assert len(operation.errors) == 1


def test_a_creation_whose_answer_was_lost_is_known_as_ones_own(tmp_path, monkeypatch):
    create, answers = Folder.create, [TimeoutError()]

    def lose(backend: Folder, name: str, data: bytes) -> None:
        create(backend, name, data)
        if answers:
            raise answers.pop()

    monkeypatch.setattr(Folder, "create", lose)
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.001)
    Store(tmp_path).create_json("lease.json", {"who": "first"})
    with pytest.raises(FileExistsError):
        Store(tmp_path).create_json("lease.json", {"who": "first"})


# Probes ----------------------------------------------------------------------------------------------------------


def test_a_probe_is_written_read_and_gone(storage):
    write_probe(storage, "abc")
    read_probe(storage, "abc")
    remove_probe(storage, "abc")
    assert files_under(storage.root) == []


def test_a_node_that_does_not_see_the_probe_is_refused(storage, tmp_path):
    write_probe(storage, "abc")
    with pytest.raises(CapacityError, match=r"elsewhere: cannot read here, on .* \(No such file or directory\)"):
        read_probe(Storage(tmp_path / "elsewhere"), "abc")
    storage.write(".probe-abc", b"other")
    with pytest.raises(CapacityError, match="reads other bytes than were written"):
        read_probe(storage, "abc")


def test_a_storage_that_overwrites_what_must_be_created_is_refused(storage, monkeypatch):
    monkeypatch.setattr(Folder, "create", Folder.write)
    with pytest.raises(CapacityError, match="a file can be created twice here"):
        write_probe(storage, "abc")


def test_a_full_disk_is_named(storage, monkeypatch):
    def full(backend: Folder, name: str, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Folder, "create", full)
    with pytest.raises(CapacityError, match="the disk is full"):
        write_probe(storage, "abc")
