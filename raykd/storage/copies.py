"""This machine's copies of what was published on an object store."""

import contextlib
import fcntl
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from raykd.errors import ArtifactError
from raykd.storage.location import machine_folder
from raykd.storage.operations import Name, checked_name, perform
from raykd.storage.scratch import Scratch


@dataclass(frozen=True)
class Copies:
    """Copies of files and folders of an object store, which the processes of this machine share.

    A folder that every node sees needs none: of it, `drop` forgets nothing, and nobody fetches.
    """

    root: Path | str

    def fetch(self, name: Name, *, files: Mapping[str, str] | None = None) -> Path:
        """The copy of a file or folder, which is made once.

        Args:
            files: path relative to `name` -> SHA-256, which a copy must have.

        Raises:
            ArtifactError: if the store does not hold it, or a copy differs.
        """
        checked = checked_name(self.root, name)
        target = self._folder() / checked
        with _locked(self._folder() / f".lock-{hashlib.sha256(checked.encode()).hexdigest()[:16]}"):
            if not target.exists():
                with Scratch(self.root).staging() as staging:
                    copy = staging / "copy"
                    self._download(checked, copy, files or {})
                    target.parent.mkdir(parents=True, exist_ok=True)
                    copy.replace(target)
        return target

    def keep(self, source: Path, name: Name) -> None:
        """Let a folder that was just published be the copy, which then need not be fetched."""
        target = self._folder() / checked_name(self.root, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            source.replace(target)

    def drop(self, name: Name) -> None:
        """Forget the copy of a file or folder, and of all below it."""
        if isinstance(self.root, Path):
            return
        copy = self._folder() / checked_name(self.root, name)
        if copy.is_dir():
            shutil.rmtree(copy, ignore_errors=True)
        else:
            copy.unlink(missing_ok=True)

    def _download(self, name: str, copy: Path, files: Mapping[str, str]) -> None:
        where = f"{self.root}/{name}"
        found = perform(self.root, "files", name)
        if not found:
            raise ArtifactError(f"{where}: missing")
        for path in found:
            # A key may hold what leads out of the folder of copies.
            perform(self.root, "get", PurePosixPath(name) / path, copy / path)
        for path, expected in files.items():
            if path not in found or hash_file(copy / path) != expected:
                raise ArtifactError(f"{where}: {path or 'its content'} is not what its record says")

    def _folder(self) -> Path:
        folder = machine_folder(str(self.root)) / "copies"
        folder.mkdir(exist_ok=True)
        return folder


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among the processes of this machine."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
