"""Folders for what is not results yet, or never will be."""

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raykd.storage.folder import Folder
from raykd.storage.location import machine_folder


@dataclass(frozen=True)
class Scratch:
    """Local folders that belong to a storage: inside its root, or this machine's own for an object store."""

    root: Path | str

    def folder(self) -> Path:
        """A folder for what is yet to be published, on the disk of the root where that is a folder."""
        if isinstance(self.root, Path):
            return Folder(self.root).scratch()
        folder = machine_folder(self.root) / "scratch"
        folder.mkdir(exist_ok=True)
        return folder

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """An empty folder, gone after the block if it was not published."""
        folder = self.folder() / f"staging-{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def of_ray(self) -> Path:
        """Where Ray may keep its own files of a run: raykd reads none of them."""
        return self.root.resolve() / ".ray" if isinstance(self.root, Path) else machine_folder(self.root) / "ray"
