"""Fingerprints, records with checksums, and artifacts: what makes a folder trustworthy."""

import contextlib
import hashlib
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from raykd.errors import ArtifactError
from raykd.storage import Name, Storage, give_rights_of_folder, hash_file

log = logging.getLogger(__name__)

RECORD, WEIGHTS = "record.json", ".safetensors"
_ARTIFACTS = PurePosixPath("artifacts")
_RECORD = re.compile(
    rb'\{"sha256": "(?P<sha256>[0-9a-f]{64})"(?:, "creator": "\w+")?, "content":\n(?P<content>.*)\n\}\n', re.DOTALL
)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no white space: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(recipe: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of a recipe's canonical JSON."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()[:16]


def hash_folder(folder: Path) -> dict[str, str]:
    """Relative path -> SHA-256 of every file below a folder, the record left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in files}


def to_record(value: Any, *, creator: str | None = None) -> bytes:
    """JSON of a value with the SHA-256 of its text.

    Args:
        creator: letters and digits that set this record apart from the same one by another writer.
    """
    content = json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False).encode("utf-8", "surrogatepass")
    head = {"sha256": hashlib.sha256(content).hexdigest()} | ({"creator": creator} if creator else {})
    return json.dumps(head).encode()[:-1] + b', "content":\n' + content + b"\n}\n"


def from_record(data: bytes, *, where: str) -> Any:
    """The value of a record.

    Args:
        where: the file, for the error.

    Raises:
        ArtifactError: if the bytes are not those that were written.
    """
    found = _RECORD.fullmatch(data)
    if found is None or hashlib.sha256(found["content"]).hexdigest().encode() != found["sha256"]:
        raise ArtifactError(f"{where}: damaged, its content is not what its checksum says; remove it and run again")
    return json.loads(found["content"].decode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class Store(Storage):
    """A sweep's results on storage that every node sees."""

    def point(self, point_id: str) -> PurePosixPath:
        """Name of the folder of a point's own state and records."""
        return PurePosixPath("points", point_id)

    def signals(self, name: str) -> PurePosixPath:
        """Name of the folder of one teacher's signals."""
        return PurePosixPath("signals", name)

    def write_json(self, name: Name, value: Any) -> None:
        """Write a record so that a reader sees all of it or the one before."""
        self.write(name, to_record(value))

    def create_json(self, name: Name, value: Any) -> None:
        """Write a record that is not there; of several writers one succeeds.

        Raises:
            FileExistsError: if it is there.
        """
        self.create(name, to_record(value, creator=uuid.uuid4().hex))

    def read_json(self, name: Name) -> Any:
        """Read a record.

        Raises:
            ArtifactError: if it is missing or damaged.
        """
        data = self.find(name)
        if data is None:
            raise ArtifactError(f"{self.describe(name)}: missing")
        return from_record(data, where=self.describe(name))

    def find_json(self, name: Name) -> Any:
        """Read a record; None where there is none.

        Raises:
            ArtifactError: if it is damaged.
        """
        data = self.find(name)
        return None if data is None else from_record(data, where=self.describe(name))

    def has(self, name: str, *, strict: bool = False) -> bool:
        """Whether the artifact is there with its weights: its record, written last, says so.

        Args:
            strict: a damaged record is an error. Otherwise the artifact counts as absent, for it can be made again.
        """
        try:
            record = self.find_json(_record_of(name))
        except ArtifactError:
            if strict:
                raise
            log.warning("%s is damaged: the artifact counts as absent", self.describe(_record_of(name)))
            return False
        return record is not None and not record.get("weights_removed")

    def record(self, name: str) -> dict[str, Any]:
        """The record of an artifact.

        Raises:
            ArtifactError: if there is none.
        """
        return self.read_json(_record_of(name))

    def artifact(self, name: str) -> Path:
        """A local folder with the files of the artifact of this fingerprint.

        In a folder that every node sees it is the artifact itself, there or not; of an object store a copy.

        Raises:
            ArtifactError: if an object store does not hold it as its record says.
        """
        folder = _ARTIFACTS / name
        if self.is_local:
            return self.fetch(folder)
        record = self.record(name)
        return self.fetch(folder / record["place"], files=record["files"])

    @contextlib.contextmanager
    def committing(self, name: str, record: Callable[[], Mapping[str, Any]]) -> Iterator[Path]:
        """A temporary folder that becomes the artifact when the block ends without an error.

        The record, with the hash of every file, is the last file written, so a reader sees a complete artifact or none.
        Where another process was first with the same recipe, its artifact stays.
        """
        self.check_fence()
        with self.scratch.staging() as staging:
            yield staging
            give_rights_of_folder(staging)
            body = {"fingerprint": name, **record(), "files": hash_folder(staging), "written": time.time()}
            if not self.has(name):
                self.remove(_ARTIFACTS / name if self.is_local else _record_of(name))
            with contextlib.suppress(FileExistsError):
                if self.is_local:
                    Store(staging).write_json(RECORD, body)
                    self.publish(staging, _ARTIFACTS / name)
                else:
                    self._commit_objects(name, staging, body)

    def _commit_objects(self, name: str, staging: Path, body: Mapping[str, Any]) -> None:
        """Objects cannot be renamed: each writer's files have a place of their own, and the record says whose count."""
        place = uuid.uuid4().hex
        self.publish(staging, _ARTIFACTS / name / place)
        self.create_json(_record_of(name), {**body, "place": place})
        self.copies.keep(staging, _ARTIFACTS / name / place)

    def verify(self, name: str) -> dict[str, Any]:
        """Read an artifact's record and compare every file with its hash.

        Raises:
            ArtifactError: if a file is missing or differs; the message names it.
        """
        record, where = self.record(name), self.describe(_ARTIFACTS / name)
        if record.get("weights_removed"):
            raise ArtifactError(f"{where}: its weights were removed when its lineage was done (lineage.keep: last)")
        wrong = _difference(self.artifact(name), record["files"])
        if wrong and not self.is_local:
            # It may be this machine's copy alone.
            self.copies.drop(_ARTIFACTS / name)
            wrong = _difference(self.artifact(name), record["files"])
        if wrong:
            raise ArtifactError(f"{where}: {wrong}; remove the folder and run again")
        return record

    def remove_weights(self, name: str) -> None:
        """Delete an artifact's weights and say so in its record, which stays."""
        record = self.record(name)
        self.write_json(_record_of(name), {**record, "weights_removed": True})
        folder = _ARTIFACTS / name / record.get("place", "")
        for file in record["files"]:
            if file.endswith(WEIGHTS):
                self.remove(folder / file)


def _difference(folder: Path, files: Mapping[str, str]) -> str | None:
    """What is wrong with the first file that is not as its hash says."""
    for file, expected in files.items():
        path = folder / file
        if not path.is_file():
            return f"{file} is missing"
        if hash_file(path) != expected:
            return f"{file} differs from its record"
    return None


def _record_of(name: str) -> PurePosixPath:
    return _ARTIFACTS / name / RECORD
