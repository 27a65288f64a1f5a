"""Fingerprints, records and atomic writes: what makes a folder trustworthy."""

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.errors import ArtifactError

RECORD = "record.json"


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of a recipe's canonical JSON."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()[:16]


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_folder(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file below a folder, the record left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that a reader sees all of it or the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(value, file, ensure_ascii=False, indent=1, allow_nan=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """Read a JSON file of ours.

    Raises:
        ArtifactError: if it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"{path}: missing") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: not valid JSON ({error}); remove the folder it is in and run again") from error


@dataclass(frozen=True)
class Store:
    """The folder of a sweep's results on storage that every node sees."""

    root: Path

    def artifact(self, name: str) -> Path:
        """Folder of the artifact with this fingerprint, there or not."""
        return self.root / "artifacts" / name

    def point(self, point_id: str) -> Path:
        """Folder of a point's own state and records."""
        return self.root / "points" / point_id

    def signals(self, name: str) -> Path:
        """Folder of one teacher's signals."""
        return self.root / "signals" / name

    def has(self, name: str) -> bool:
        """Whether the artifact is there with its weights: its record, written last, says so."""
        path = self.artifact(name) / RECORD
        return path.is_file() and not read_json(path).get("weights_removed")

    def record(self, name: str) -> dict[str, Any]:
        """The record of an artifact.

        Raises:
            ArtifactError: if there is none.
        """
        return read_json(self.artifact(name) / RECORD)

    def read_json(self, name: str) -> Any:
        return read_json(self.root / name)

    def write_json(self, name: str, value: Any) -> None:
        write_json(self.root / name, value)

    def create_json(self, name: str, value: Any) -> None:
        temporary = self.root / f"{name}.{uuid.uuid4().hex[:8]}"
        write_json(temporary, value)
        try:
            os.link(temporary, self.root / name)
        finally:
            temporary.unlink()

    def exists(self, name: str) -> bool:
        return (self.root / name).exists()

    def children(self, name: str) -> list[str]:
        return sorted(path.name for path in (self.root / name).glob("*"))

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def committing(self, name: str, record: Callable[[], Mapping[str, Any]]) -> Iterator[Path]:
        """A temporary folder that becomes the artifact when the block ends without an error.

        The record, with the hash of every file, is the last file written before the rename, so a reader sees a
        complete artifact or none. Where another process was first with the same recipe, its folder stays.
        """
        final = self.artifact(name)
        staging = self.root / "artifacts" / f".staging-{name}-{uuid.uuid4().hex[:8]}"
        staging.mkdir(parents=True)
        try:
            yield staging
            body = {"fingerprint": name, **record(), "files": hash_folder(staging), "written": time.time()}
            write_json(staging / RECORD, body)
            if final.exists() and not self.has(name):
                shutil.rmtree(final)
            try:
                staging.replace(final)
            except OSError:
                if not self.has(name):
                    raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def verify(self, name: str) -> dict[str, Any]:
        """Read an artifact's record and compare every file with its hash.

        Raises:
            ArtifactError: if a file is missing or differs; the message names it.
        """
        folder, record = self.artifact(name), self.record(name)
        if record.get("weights_removed"):
            raise ArtifactError(f"{folder}: its weights were removed when its lineage was done (lineage.keep: last)")
        for file, expected in record["files"].items():
            path = folder / file
            if not path.is_file():
                raise ArtifactError(f"{folder}: {file} is missing; remove the folder and run again")
            if hash_file(path) != expected:
                raise ArtifactError(f"{folder}: {file} differs from its record; remove the folder and run again")
        return record

    def remove_weights(self, name: str) -> None:
        """Delete an artifact's weights and say so in its record, which stays."""
        folder = self.artifact(name)
        record = self.record(name)
        write_json(folder / RECORD, {**record, "weights_removed": True})
        for path in folder.glob("*.safetensors"):
            path.unlink()
