"""The front of both kinds of storage: names that stay inside, patience, and copies on this machine."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from raykd.errors import ArtifactError, CapacityError, StorageError
from raykd.storage.bucket import Bucket
from raykd.storage.folder import Folder
from raykd.storage.location import location, machine_folder
from raykd.storage.patience import patiently

Name = str | PurePosixPath
"""Path relative to the root, with slashes."""

PROBE_BYTES = 1 << 20


class StoredFile(NamedTuple):
    """Size in bytes, and when it was written last, in seconds of the Unix clock."""

    size: int
    changed: float


@dataclass(frozen=True)
class Storage:
    """A place of files that every node reads and writes alike.

    Every operation refuses names that lead out of the root (ArtifactError), and tries again while the storage does not
    answer; then it raises StorageError.

    Attributes:
        root: a folder, or a URL such as `s3://bucket/folder`.
    """

    root: Path | str

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", location(self.root))

    @property
    def is_local(self) -> bool:
        """Whether files are there under a path."""
        return isinstance(self.root, Path)

    def describe(self, name: Name) -> str:
        """A name as a user can look it up."""
        return f"{self.root}/{name}"

    def read(self, name: Name) -> bytes:
        """All bytes of a file.

        Raises:
            FileNotFoundError: if there is none.
        """
        return self._do("read", name)

    def find(self, name: Name) -> bytes | None:
        """All bytes of a file; None where there is none."""
        try:
            return self.read(name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: Name, data: bytes) -> None:
        """Write or replace a file: a reader sees all of it or the one before."""
        self._do("write", name, data)

    def create(self, name: Name, data: bytes) -> None:
        """Write a file that is not there; of several writers one succeeds.

        Args:
            data: unlike what any other writer has: after a lost answer it is how this one knows its own file.

        Raises:
            FileExistsError: if it is there.
        """
        try:
            self._do("create", name, data)
        except FileExistsError:
            if self.find(name) != data:
                raise

    def exists(self, name: Name) -> bool:
        """Whether there is a file or a folder of this name."""
        return self._do("exists", name)

    def children(self, name: Name) -> list[str]:
        """Sorted names of what lies directly in a folder; those that begin with a dot are left out."""
        return sorted({child for child in self._do("children", name) if not child.startswith(".")})

    def files(self, name: Name) -> dict[str, StoredFile]:
        """Path relative to `name` -> what is known of it, of every file below a folder; "" for a file itself."""
        return {path: StoredFile(*found) for path, found in sorted(self._do("files", name).items())}

    def remove(self, name: Name) -> None:
        """Remove a file or a folder with all below it, and this machine's copy of it; nothing happens without one."""
        assert self._checked(name), "the root itself is never removed"
        self._do("remove", name)
        self.drop_copy(name)

    def publish(self, source: Path, name: Name) -> None:
        """Give a local file or folder a name in the storage; `source` is gone afterwards, or of no use.

        What was published never changes: other content takes another name. On an object store its files appear one by
        one, so the record that makes it count is written after this returns.

        Raises:
            FileExistsError: if the name is taken.
        """
        if self.is_local:
            self._do("publish", name, source)
            return
        if self.exists(name):
            raise FileExistsError(self.describe(name))
        paths = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        for path in paths:
            self._do("put", PurePosixPath(name) / path.relative_to(source), path)

    def fetch(self, name: Name, *, files: Mapping[str, str] | None = None) -> Path:
        """A local path of what was published: the thing itself, or this machine's copy of it.

        Processes of one machine share the copy, which is made once.

        Args:
            files: path relative to `name` -> SHA-256, which a copy must have.

        Raises:
            ArtifactError: if an object store does not hold it, or a copy differs.
        """
        checked = self._checked(name)
        if self.is_local:
            return self.root / checked
        target = self._copies() / checked
        with _locked(self._copies() / f".lock-{hashlib.sha256(checked.encode()).hexdigest()[:16]}"):
            if not target.exists():
                with self.staging() as staging:
                    copy = staging / "copy"
                    self._download(checked, copy, files)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    copy.replace(target)
        return target

    def keep_copy(self, source: Path, name: Name) -> None:
        """Let the folder that was just published be this machine's copy, which then need not be fetched."""
        target = self._copies() / self._checked(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            source.replace(target)

    def drop_copy(self, name: Name) -> None:
        """Forget this machine's copy of a file or folder of an object store, and of all below it."""
        if self.is_local:
            return
        copy = self._copies() / self._checked(name)
        if copy.is_dir():
            shutil.rmtree(copy, ignore_errors=True)
        else:
            copy.unlink(missing_ok=True)

    def scratch(self) -> Path:
        """A folder for what is yet to be published: in the root, or this machine's own for an object store."""
        if self.is_local:
            return Folder(self.root).scratch()
        folder = machine_folder(self.root) / "scratch"
        folder.mkdir(exist_ok=True)
        return folder

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """An empty folder in `scratch`, gone after the block if it was not published."""
        folder = self.scratch() / f"staging-{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def ray_folder(self) -> Path:
        """Where Ray may keep its own files of a run: raykd reads none of them."""
        return self.root.resolve() / ".ray" if self.is_local else machine_folder(self.root) / "ray"

    def is_full(self) -> bool:
        """Whether not even a record fits any more."""
        return self.is_local and shutil.disk_usage(self.root).free < PROBE_BYTES

    def probe_write(self, token: str) -> None:
        """Write a little, for `probe_read` on every node.

        Args:
            token: of letters and digits; a name that no other run uses.

        Raises:
            CapacityError: if this machine cannot write here, or a file can be created twice: no lease could be trusted.
        """
        name = f".probe-{token}"
        with self._probing("write"):
            self.create(name, _probe_content(token))
            try:
                self.create(name, b"again")
            except FileExistsError:
                return
        raise CapacityError(
            f"{self.root}: a file can be created twice here, so two runs could hold this sweep at once; set another "
            "storage (an object store must know conditional writes, If-None-Match)"
        )

    def probe_read(self, token: str) -> None:
        """Read what `probe_write` wrote, on whatever node.

        Raises:
            CapacityError: if this machine does not see it.
        """
        with self._probing("read"):
            data = self.read(f".probe-{token}")
        if data != _probe_content(token):
            raise CapacityError(
                f"{self.root}: {os.uname().nodename} reads other bytes than were written; check the mount"
            )

    def probe_end(self, token: str) -> None:
        """Remove what `probe_write` wrote."""
        self.remove(f".probe-{token}")

    @contextlib.contextmanager
    def _probing(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (OSError, StorageError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise CapacityError(f"{self.root}: the disk is full; free space or set another storage") from error
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise CapacityError(
                f"{self.root}: cannot {verb} here, on {os.uname().nodename} ({reason}); make it reachable from every "
                "node, or set another storage"
            ) from error

    def _download(self, name: str, copy: Path, files: Mapping[str, str] | None) -> None:
        found = self._do("files", name)
        if not found:
            raise ArtifactError(f"{self.describe(name)}: missing")
        for path in found:
            # A key may hold what leads out of the folder of copies.
            self._do("get", self._checked(PurePosixPath(name) / path), copy / path)
        for path, expected in (files or {}).items():
            if path not in found or hash_file(copy / path) != expected:
                raise ArtifactError(f"{self.describe(name)}: {path or 'its content'} is not what its record says")

    def _copies(self) -> Path:
        folder = machine_folder(self.root) / "copies"
        folder.mkdir(exist_ok=True)
        return folder

    def _do(self, operation: str, name: Name, *arguments: Any) -> Any:
        """An operation of the folder or the bucket, tried again while it does not answer."""
        checked = self._checked(name)
        method: Callable[..., Any] = getattr(Folder(self.root) if self.is_local else Bucket(self.root), operation)
        return patiently(lambda: method(checked, *arguments), where=str(self.root))

    def _checked(self, name: Name) -> str:
        """The name in its plain form.

        Raises:
            ArtifactError: if it leads out of the root.
        """
        text = str(name)
        path = PurePosixPath(text)
        if path.is_absolute() or ".." in path.parts or any(mark in text for mark in "\\\0"):
            raise ArtifactError(f"{self.root}: {text!r} leads out of this folder; remove the record that names it")
        if self.is_local and not (self.root / path).resolve().is_relative_to(self.root.resolve()):
            raise ArtifactError(f"{self.root}/{path}: a link out of this folder; put the files themselves here")
        return "" if path == PurePosixPath() else str(path)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _probe_content(token: str) -> bytes:
    return token.encode() * (PROBE_BYTES // len(token))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among the processes of this machine."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
