"""A place of files that every node reads and writes alike: a folder, or an object store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from raykd.storage.copies import Copies
from raykd.storage.location import location
from raykd.storage.operations import Name, checked_name, perform
from raykd.storage.scratch import Scratch

Fence = Callable[[], None]
"""Asked before anything is changed; raises if whoever opened the storage may no longer write to it."""


def no_fence() -> None:
    """Whoever opened the storage may write to it for ever."""


class StoredFile(NamedTuple):
    """Size in bytes, and when it was written last, in seconds of the Unix clock."""

    size: int
    changed: float


@dataclass(frozen=True)
class Storage:
    """Files by name, below a root.

    Every operation refuses names that lead out of the root (ArtifactError), and tries again while the storage does not
    answer; then it raises StorageError. What changes a file asks the fence first, and raises what that raises.

    Attributes:
        root: a folder, or a URL such as `s3://bucket/folder`.
        fence: goes wherever the storage goes, to other processes too.
    """

    root: Path | str
    fence: Fence = field(default=no_fence, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", location(self.root))

    @property
    def is_local(self) -> bool:
        """Whether files are there under a path."""
        return isinstance(self.root, Path)

    @property
    def copies(self) -> Copies:
        """What this machine holds of it."""
        return Copies(self.root)

    @property
    def scratch(self) -> Scratch:
        """Local folders for what is yet to be published."""
        return Scratch(self.root)

    def describe(self, name: Name) -> str:
        """A name as a user can look it up."""
        return f"{self.root}/{name}"

    def check_fence(self) -> None:
        """Raise what the next change would raise, if whoever opened this storage may no longer write to it."""
        self.fence()

    def read(self, name: Name) -> bytes:
        """All bytes of a file.

        Raises:
            FileNotFoundError: if there is none.
        """
        data: bytes = perform(self.root, "read", name)
        return data

    def find(self, name: Name) -> bytes | None:
        """All bytes of a file; None where there is none."""
        try:
            return self.read(name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def exists(self, name: Name) -> bool:
        """Whether there is a file or a folder of this name."""
        found: bool = perform(self.root, "exists", name)
        return found

    def children(self, name: Name) -> list[str]:
        """Sorted names of what lies directly in a folder; those that begin with a dot are left out."""
        return sorted({child for child in perform(self.root, "children", name) if not child.startswith(".")})

    def files(self, name: Name) -> dict[str, StoredFile]:
        """Path relative to `name` -> what is known of it, of every file below a folder; "" for a file itself."""
        found: dict[str, tuple[int, float]] = perform(self.root, "files", name)
        return {path: StoredFile(*known) for path, known in sorted(found.items())}

    def write(self, name: Name, data: bytes) -> None:
        """Write or replace a file: a reader sees all of it or the one before."""
        self._change("write", name, data)

    def create(self, name: Name, data: bytes) -> None:
        """Write a file that is not there; of several writers one succeeds.

        Args:
            data: unlike what any other writer has: after a lost answer it is how this one knows its own file.

        Raises:
            FileExistsError: if it is there.
        """
        try:
            self._change("create", name, data)
        except FileExistsError:
            if self.find(name) != data:
                raise

    def remove(self, name: Name) -> None:
        """Remove a file or a folder with all below it, and this machine's copy of it; nothing happens without one."""
        assert checked_name(self.root, name), "the root itself is never removed"
        self._change("remove", name)
        self.copies.drop(name)

    def publish(self, source: Path, name: Name) -> None:
        """Give a local file or folder a name in the storage; `source` is gone afterwards, or of no use.

        What was published never changes: other content takes another name. On an object store its files appear one by
        one, so the record that makes it count is written after this returns.

        Raises:
            FileExistsError: if the name is taken.
        """
        if self.is_local:
            self._change("publish", name, source)
            return
        if self.exists(name):
            raise FileExistsError(self.describe(name))
        paths = [source] if source.is_file() else sorted(path for path in source.rglob("*") if path.is_file())
        for path in paths:
            self._change("put", PurePosixPath(name) / path.relative_to(source), path)

    def fetch(self, name: Name, *, files: Mapping[str, str] | None = None) -> Path:
        """A local path of what was published: the thing itself, or this machine's copy of it.

        Args:
            files: path relative to `name` -> SHA-256, which a copy must have.

        Raises:
            ArtifactError: if an object store does not hold it, or a copy differs.
        """
        if isinstance(self.root, Path):
            return self.root / checked_name(self.root, name)
        return self.copies.fetch(name, files=files)

    def _change(self, operation: str, name: Name, *arguments: Any) -> None:
        self.fence()
        perform(self.root, operation, name, *arguments)
