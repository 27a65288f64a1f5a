"""Fingerprints, records with checksums, and artifacts: what makes a folder trustworthy."""

import contextlib
import hashlib
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

from raykd.errors import ArtifactError
from raykd.results.record import Record
from raykd.storage import Name, Storage, give_rights_of_folder, hash_file

log = logging.getLogger(__name__)

RecordT = TypeVar("RecordT", bound=Record)
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
        raise ArtifactError(f"{where}: damaged: its content does not match its checksum; remove it and run again")
    return json.loads(found["content"].decode("utf-8", "surrogatepass"))


@dataclass(frozen=True, kw_only=True)
class ArtifactRecord(Record, version=1):
    """How an artifact was made, and its files. What a kind of artifact has no use for stays at its default.

    Attributes:
        kind: `base` is generation 0, `teacher` one that is not, `student` the first student where it is another
            model, `generation` a student that was trained, `tokenizer` the built-in one.
        fingerprint: its name.
        files: relative path -> SHA-256.
        written: when, in seconds of the Unix clock.
        place: the folder of its files inside its own, in an object store.
        weights_removed: its files of weights are gone, on purpose.
        config, model: what the sweep file says of a model that was given.
        given: relative path -> SHA-256 of a folder that it was taken from.
        train, language: how it was trained on labels, and in which language; None is all.
        base: fingerprint of its generation 0.
        point: all of the configuration that a student depends on.
        generation: number of a student's generation; `epoch` of the lineage, where it is not the last one of that.
        parents: fingerprints of the generations before; `teachers` those that taught.
        data, windows: hashes of what it was trained on.
        dev_score: its score on the epoch sample; None where none was taken.
        tokenizer: hash of its tokenizer.
        vocabulary: of a trimmed one, pieces kept and how the texts of each language are read, see
            `raykd.models.vocabulary.Coverage`.
    """

    kind: Literal["base", "teacher", "student", "generation", "tokenizer"]
    fingerprint: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    written: float = 0.0
    place: str = ""
    weights_removed: bool = False
    config: Mapping[str, Any] | None = None
    model: str | None = None
    given: Mapping[str, str] = field(default_factory=dict)
    train: Mapping[str, Any] | None = None
    language: str | None = None
    base: str | None = None
    point: Mapping[str, Any] | None = None
    generation: int | None = None
    epoch: int | None = None
    parents: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    data: str | None = None
    windows: str | None = None
    dev_score: float | None = None
    tokenizer: str | None = None
    vocabulary: Mapping[str, Any] | None = None


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

    def write_record(self, name: Name, record: Record) -> None:
        """Write a record so that a reader sees all of it or the one before."""
        self.write_json(name, record.to_json())

    def create_record(self, name: Name, record: Record) -> None:
        """Write a record that is not there; of several writers one succeeds.

        Raises:
            FileExistsError: if it is there.
        """
        self.create_json(name, record.to_json())

    def read_record(self, name: Name, kind: type[RecordT]) -> RecordT:
        """Read a record.

        Raises:
            ArtifactError: if it is missing, damaged, or not of this kind.
        """
        return kind.from_json(self.read_json(name), where=self.describe(name))

    def find_record(self, name: Name, kind: type[RecordT]) -> RecordT | None:
        """Read a record; None where there is none.

        Raises:
            ArtifactError: if it is damaged, or not of this kind.
        """
        found = self.find_json(name)
        return None if found is None else kind.from_json(found, where=self.describe(name))

    def has(self, name: str, *, strict: bool = False) -> bool:
        """Whether the artifact is there with its weights: its record, written last, says so.

        Args:
            strict: a damaged record is an error. Otherwise the artifact counts as absent, for it can be made again.
        """
        try:
            record = self.find_record(_record_of(name), ArtifactRecord)
        except ArtifactError:
            if strict:
                raise
            log.warning("%s is damaged: the artifact is treated as missing", self.describe(_record_of(name)))
            return False
        return record is not None and not record.weights_removed

    def has_record(self, name: str) -> bool:
        """Whether the artifact was ever made; its weights may have been removed since."""
        return self.exists(_record_of(name))

    def record(self, name: str) -> ArtifactRecord:
        """The record of an artifact.

        Raises:
            ArtifactError: if there is none.
        """
        return self.read_record(_record_of(name), ArtifactRecord)

    def artifacts(self) -> Iterator[tuple[str, ArtifactRecord]]:
        """Name and record of every artifact that still has its weights.

        Raises:
            ArtifactError: if a record is damaged.
        """
        for name in self.children(_ARTIFACTS):
            record = self.find_record(_record_of(name), ArtifactRecord)
            if record is not None and not record.weights_removed:
                yield name, record

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
        return self.fetch(folder / record.place, files=record.files)

    @contextlib.contextmanager
    def committing(self, name: str, record: Callable[[], ArtifactRecord]) -> Iterator[Path]:
        """A temporary folder that becomes the artifact when the block ends without an error.

        The record is the last file written, so a reader sees a complete artifact or none. Where another process was
        first with the same recipe, its artifact stays.

        Args:
            record: called at the end: how it was made. Its name, its files and the time are added.
        """
        self.check_fence()
        with self.scratch.staging() as staging:
            yield staging
            give_rights_of_folder(staging)
            whole = replace(record(), fingerprint=name, files=hash_folder(staging), written=time.time())
            if not self.has(name):
                self.remove(_ARTIFACTS / name if self.is_local else _record_of(name))
            with contextlib.suppress(FileExistsError):
                if self.is_local:
                    Store(staging).write_record(RECORD, whole)
                    self.publish(staging, _ARTIFACTS / name)
                else:
                    self._commit_objects(name, staging, whole)

    def _commit_objects(self, name: str, staging: Path, record: ArtifactRecord) -> None:
        """Objects cannot be renamed: each writer's files have a place of their own, and the record says whose count."""
        place = uuid.uuid4().hex
        self.publish(staging, _ARTIFACTS / name / place)
        self.create_record(_record_of(name), replace(record, place=place))
        self.copies.keep(staging, _ARTIFACTS / name / place)

    def verify(self, name: str) -> ArtifactRecord:
        """Read an artifact's record and compare every file with its hash.

        Raises:
            ArtifactError: if a file is missing or differs; the message names it.
        """
        record, where = self.record(name), self.describe(_ARTIFACTS / name)
        if record.weights_removed:
            raise ArtifactError(f"{where}: its weights were removed when its lineage ended (lineage.keep: delivered)")
        wrong = _difference(self.artifact(name), record.files)
        if wrong and not self.is_local:
            # It may be this machine's copy alone.
            self.copies.drop(_ARTIFACTS / name)
            wrong = _difference(self.artifact(name), record.files)
        if wrong:
            raise ArtifactError(f"{where}: {wrong}; remove the folder and run again")
        return record

    def remove_weights(self, name: str) -> None:
        """Delete an artifact's weights and say so in its record, which stays."""
        record = self.record(name)
        self.write_record(_record_of(name), replace(record, weights_removed=True))
        folder = _ARTIFACTS / name / record.place
        for file in record.files:
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
