"""The step checkpoints of a point: a share of every rank, and a position that makes them count."""

import errno
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Collection, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from raykd.config.point import ComputeConfig
from raykd.errors import ArtifactError, StorageError
from raykd.storage import hash_file
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine, to_universal
from raykd.worker.loop import Begun
from raykd.worker.timer import CheckpointTimer

log = logging.getLogger(__name__)

KEPT = 2
"""The newest checkpoints that stay: the one before is there when the newest turns out to be damaged."""
ROOM = 1 << 20
"""Bytes: a disk with less is full."""
POSITION = "position.json"
_NEVER = "~"
"""Sorts after the name of every checkpoint."""

Files = dict[str, tuple[int, str]]
"""Path below a folder -> size in bytes and SHA-256."""


@dataclass(frozen=True)
class Position:
    """Where a checkpoint stands.

    Attributes:
        generation: the generation it was saved in, from 1.
        generation_epochs, epochs: epochs done of that generation, and of the lineage.
        begun: what is done of the epoch after these.
        best_artifact, best_score: of that generation, where the lineage asks for the best epoch and no earlier
            generation had one as good.
        epoch_scores: main scores after each epoch of that generation.
    """

    generation: int
    generation_epochs: int
    epochs: int
    begun: Begun = field(default_factory=Begun)
    best_artifact: str | None = None
    best_score: float | None = None
    epoch_scores: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Saved:
    """A checkpoint in storage: `num_workers` ranks wrote a share each."""

    name: str
    position: Position
    num_workers: Annotated[int, Field(ge=1)]


class Checkpoints:
    """The step checkpoints of a point, on every rank.

    A checkpoint is a folder with a share of every rank. A share counts when its record is there, which is written when
    all of its files are; a checkpoint counts when its position and all of its shares do.
    """

    def __init__(
        self,
        context: WorkerContext,
        point_id: str,
        compute: ComputeConfig,
        *,
        notice: Callable[[], Hashable],
    ) -> None:
        """
        Args:
            notice: as `CheckpointTimer` has it.
        """
        self.context, self.store = context, context.store
        self.timer = CheckpointTimer(context, compute.checkpoint_seconds, notice) if compute.checkpoints else None
        self.point_id, self.folder = point_id, context.store.point(point_id) / "checkpoints"
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.upload: Future[None] | None = None
        self._newest: str | None = None
        self._released: list[tuple[str, str]] = []

    def is_due(self) -> bool:
        """Whether to save at this boundary of steps. Every rank must ask at each of them."""
        return self.timer is not None and self.timer.is_due(busy=self.upload is not None and not self.upload.done())

    def save(self, engine: Engine, position: Position) -> None:
        """Save optimiser and model here, and send them to the storage while training goes on.

        Every rank must call it. What an earlier upload came to is told first. Does nothing where no checkpoints are
        wanted.
        """
        if self.timer is None:
            return
        self.wait()
        if self.context.rank == 0:
            self.store.check_fence()
        name = f"{position.epochs:04d}-{len(position.begun.losses):08d}-{uuid.uuid4().hex[:8]}"
        saved = self.context.from_rank_0(Saved(name, position, self.context.world_size))
        staging = self._staging(f"{saved.name}-{self.context.rank}")
        try:
            engine.save(staging)
        except (OSError, RuntimeError) as error:
            # torch does not say why a file could not be written.
            full = shutil.disk_usage(staging).free < ROOM
            shutil.rmtree(staging, ignore_errors=True)
            if full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(staging)) from error
            raise
        self._newest = saved.name
        self.upload = self.thread.submit(self._send, saved, staging)
        self.timer.saved()

    def release(self, artifacts: Collection[str], *, at_end: bool = False) -> None:
        """Remove weights that nobody needs who goes on from the checkpoint that was saved last, once that is whole.

        Every rank may call it; rank 0 removes. Where no checkpoint was saved they go at once.

        Args:
            at_end: not before `drop`.
        """
        if self.context.rank == 0 and artifacts:
            self._released += [(_NEVER if at_end else self._newest or "", name) for name in artifacts]
            self.thread.submit(self._remove_released)

    def forget_after(self, saved: Saved | None) -> None:
        """Remove the checkpoints after the one that a point goes on from: they are of a way that is not gone again."""
        for name in self.store.children(self.folder):
            if saved is None or name > saved.name:
                self.store.remove(self.folder / name)

    def wait(self) -> None:
        """Wait for the upload that is under way. One that failed is named in the log: the next one tries again."""
        upload, self.upload = self.upload, None
        try:
            if upload is not None:
                upload.result()
        except (OSError, StorageError) as error:
            where = self.store.describe(self.folder)
            log.error("%s: a checkpoint was not stored (%s); training continues", where, error)

    def close(self) -> None:
        """Wait, and save no more."""
        try:
            self.wait()
        finally:
            self.thread.shutdown()

    def clear_staging(self) -> None:
        """Remove what runs of this point that were killed while they saved left on this machine."""
        for path in self.store.scratch.folder().glob(f"checkpoint-{self.point_id}-*"):
            shutil.rmtree(path, ignore_errors=True)

    def newest(self, fits: Callable[[Position], bool]) -> Saved | None:
        """The newest checkpoint that is whole and fits; damaged ones are removed, with a line in the log."""
        for name in reversed(self.store.children(self.folder)):
            try:
                saved = self._read(name)
                if fits(saved.position):
                    self._verify(saved)
                    return saved
            except (ArtifactError, ValidationError) as error:
                reason = str(error).splitlines()[0]
                where = self.store.describe(self.folder / name)
                log.warning("checkpoint %s is skipped, the one before it is used: %s", where, reason)
                self.store.remove(self.folder / name)
        return None

    def load(self, engine: Engine, saved: Saved) -> None:
        """Put an engine where it was when the checkpoint was saved, on as many ranks or not; every rank calls it."""
        with tempfile.TemporaryDirectory() as folder:
            if engine.needs_universal(saved.num_workers):
                self._load_universal(engine, saved, Path(folder))
            else:
                engine.load(self._together(saved, Path(folder)))
        self.context.barrier()
        # An object store's copies would only fill this machine's disk: what they hold is in memory.
        self.store.copies.drop(self.folder)

    def drop(self) -> None:
        """Remove the checkpoints of a finished point."""
        self.wait()
        self.store.remove(self.folder)
        self._newest = None
        self._released = [("", name) for _, name in self._released]
        self.thread.submit(self._remove_released).result()

    def _load_universal(self, engine: Engine, saved: Saved, folder: Path) -> None:
        universal = self.folder / saved.name / self.context.from_rank_0(f"universal-{uuid.uuid4().hex[:8]}")
        if self.context.rank == 0:
            log.info("checkpoint %s of %d workers is resumed with %d", saved.name, saved.num_workers, engine.world_size)
            staging = self._staging(f"{saved.name}-{universal.name}")
            to_universal(self._together(saved, folder), staging)
            self.store.publish(staging, universal)
        self.context.barrier()
        engine.load_universal(self.store.fetch(universal))
        self.context.barrier()
        if self.context.rank == 0:
            self.store.remove(universal)

    def _send(self, saved: Saved, staging: Path) -> None:
        share = self._share(saved, self.context.rank)
        try:
            files = _inventory(staging)
            self.store.publish(staging, share)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        self.store.write_json(_record(share), files)
        if self.context.rank == 0:
            self.store.write_json(self.folder / saved.name / POSITION, asdict(saved))
            self._prune()
            self._remove_released()

    def _prune(self) -> None:
        """Keep the newest checkpoints that are whole, and what is newer than these: it may be on its way."""
        whole = 0
        for name in reversed(self.store.children(self.folder)):
            if whole == KEPT:
                self.store.remove(self.folder / name)
            else:
                whole += self._is_whole(name)

    def _is_whole(self, name: str) -> bool:
        try:
            saved = self._read(name)
        except (ArtifactError, ValidationError):
            return False
        return all(self.store.exists(_record(self._share(saved, rank))) for rank in range(saved.num_workers))

    def _remove_released(self) -> None:
        """Remove the released weights whose checkpoint is whole. What fails is tried again after the next one."""
        whole = max(filter(self._is_whole, self.store.children(self.folder)), default="") if self._released else ""
        try:
            while self._released and self._released[0][0] <= whole:
                name = self._released[0][1]
                if self.store.has(name):
                    self.store.remove_weights(name)
                del self._released[0]
        except (OSError, StorageError, ArtifactError) as error:
            log.warning("artifact %s was not removed (%s)", name, error)

    def _read(self, name: str) -> Saved:
        found = TypeAdapter(Saved).validate_python(self.store.read_json(self.folder / name / POSITION))
        if found.name != name:
            raise ArtifactError(f"{self.store.describe(self.folder / name)}: its record is that of {found.name}")
        return found

    def _staging(self, name: str) -> Path:
        return self.store.scratch.folder() / f"checkpoint-{self.point_id}-{name}"

    def _share(self, saved: Saved, rank: int) -> PurePosixPath:
        return self.folder / saved.name / f"rank-{rank:04d}"

    def _verify(self, saved: Saved) -> None:
        for rank in range(saved.num_workers):
            share = self._share(saved, rank)
            expected = TypeAdapter(Files).validate_python(self.store.read_json(_record(share)))
            wrong = self._difference(share, expected)
            if wrong and not self.store.is_local:
                # It may be this machine's copy alone.
                self.store.copies.drop(share)
                wrong = self._difference(share, expected)
            if wrong:
                raise ArtifactError(f"{self.store.describe(share)}: {', '.join(wrong)} is not what its record says")

    def _difference(self, share: PurePosixPath, expected: Files) -> list[str]:
        # A rank that replicates writes nothing, and an object store has no empty folders.
        found = _inventory(self.store.fetch(share)) if expected else {}
        return sorted(file for file in expected.keys() | found.keys() if expected.get(file) != found.get(file))

    def _together(self, saved: Saved, folder: Path) -> Path:
        """The shares of all ranks as links in one folder."""
        for rank in range(saved.num_workers):
            name = self._share(saved, rank)
            if not self.store.exists(name):
                continue
            share = self.store.fetch(name)
            for path in filter(Path.is_file, share.rglob("*")):
                link = folder / path.relative_to(share)
                link.parent.mkdir(parents=True, exist_ok=True)
                if not link.exists():
                    link.symlink_to(path.resolve())
        return folder


def _inventory(folder: Path) -> Files:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): (path.stat().st_size, hash_file(path)) for path in files}


def _record(share: PurePosixPath) -> PurePosixPath:
    return share.with_suffix(".json")
