"""One operation on a folder or a bucket: its name stays inside, and it is tried again while nothing answers."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from raykd.errors import ArtifactError
from raykd.storage.bucket import Bucket
from raykd.storage.folder import Folder
from raykd.storage.retries import with_retries

Name = str | PurePosixPath
"""Path relative to the root, with slashes."""


def perform(root: Path | str, operation: str, name: Name, *arguments: Any) -> Any:
    """What an operation of `Folder` or `Bucket` returns.

    Raises:
        ArtifactError: if the name leads out of the root.
        StorageError: if the storage does not answer for long.
    """
    checked = checked_name(root, name)
    method: Callable[..., Any] = getattr(Folder(root) if isinstance(root, Path) else Bucket(root), operation)
    return with_retries(lambda: method(checked, *arguments), where=str(root))


def checked_name(root: Path | str, name: Name) -> str:
    """The name in its plain form; that of the root itself is empty.

    Raises:
        ArtifactError: if it leads out of the root.
    """
    text = str(name)
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or any(mark in text for mark in "\\\0"):
        raise ArtifactError(f"{root}: {text!r} leads out of this folder; remove the record that contains it")
    if isinstance(root, Path) and not (root / path).resolve().is_relative_to(root.resolve()):
        raise ArtifactError(f"{root}/{path}: a link out of this folder; replace it by the files")
    return "" if path == PurePosixPath() else str(path)
