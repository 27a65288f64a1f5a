"""A local or shared folder: whatever is written appears whole or not at all."""

import errno
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

SCRATCH = ".scratch"


@dataclass(frozen=True)
class Folder:
    """Files below a folder; names are relative and were checked."""

    root: Path

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        return (self.root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """Replace a file: a reader sees all of it or the one before."""
        path = self.root / name
        temporary = self._beside(path, data)
        try:
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)

    def create(self, name: str, data: bytes) -> None:
        """Write a file that is not there yet; one of several writers succeeds, the others get FileExistsError."""
        path = self.root / name
        temporary = self._beside(path, data)
        try:
            # Unlike O_EXCL, a link shows the whole file at once; both are exclusive on NFS.
            os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder; an error of the storage is no answer."""
        try:
            (self.root / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def children(self, name: str) -> list[str]:
        """Names of what lies directly in a folder."""
        try:
            return os.listdir(self.root / name)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files(self, name: str) -> dict[str, tuple[int, float]]:
        """Path relative to `name` -> size and time of change, of every file below a folder; "" for a file itself."""
        top = self.root / name
        paths = [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
        found = {}
        for path in paths:
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found[path.relative_to(top).as_posix() if path != top else ""] = (stat.st_size, stat.st_mtime)
        return found

    def remove(self, name: str) -> None:
        """Remove a file or a folder; a folder disappears at once."""
        path = self.root / name
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
            return
        grave = self.scratch() / f"removed-{uuid.uuid4().hex}"
        try:
            path.replace(grave)
        except FileNotFoundError:
            return
        shutil.rmtree(grave, ignore_errors=True)

    def publish(self, name: str, source: Path) -> None:
        """Move a file or folder to a name that is free."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            source.replace(path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from error
            if error.errno != errno.EXDEV:
                raise
            self.publish(name, self._copy_in(source))
        _sync(path.parent)

    def scratch(self) -> Path:
        """A folder on the same disk, so that what is staged there can be moved."""
        folder = self.root / SCRATCH
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _copy_in(self, source: Path) -> Path:
        copy = self.scratch() / f"copy-{uuid.uuid4().hex}"
        return Path(shutil.copytree(source, copy) if source.is_dir() else shutil.copy2(source, copy))

    def _beside(self, path: Path, data: bytes) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary


def _sync(folder: Path) -> None:
    """Make a rename survive a machine that goes down."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def give_rights_of_folder(folder: Path) -> None:
    """Let whoever may read a folder read the files below it: libraries that write weights keep them to their owner."""
    rights = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(rights)
