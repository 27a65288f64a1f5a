"""A worker's process: its place in the process group, and what is reused between points."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from raykd.config.digest import digest
from raykd.config.identity import Identity
from raykd.config.point import PointBase
from raykd.config.scored import ScoredConfig
from raykd.models.qa import load_tokenizer
from raykd.models.tokenizer import tokenizer_hash
from raykd.results.artifacts import Store
from raykd.results.journal import Journal
from raykd.tasks import task_of
from raykd.tasks.sizes import Items
from raykd.tasks.task import Places, ScoredSet, TrainSet
from raykd.worker.engine import join_process_group
from raykd.worker.heartbeat import Heartbeat

T = TypeVar("T")
CACHE_SIZE = 64


@dataclass
class WorkerContext:
    """One worker process.

    Attributes:
        store: where artifacts and signals live, the same for all workers.
        folder: the sweep file's folder, from which relative paths are found.
        heartbeat: where signs of life go.
    """

    store: Store
    folder: Path
    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    cache: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)
    heartbeat: Heartbeat = field(default_factory=Heartbeat)

    @classmethod
    def open(cls, store: Store, folder: Path, *, alone: bool, threads: int | None = None) -> "WorkerContext":
        """Join the process group (or make one of this process alone) and take a device."""
        if threads:
            torch.set_num_threads(threads)
        join_process_group(alone=alone)
        Journal(store).sweep.pin_commits()
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")
        return cls(store, folder, torch.distributed.get_rank(), torch.distributed.get_world_size(), device)

    @property
    def num_threads(self) -> int:
        """Threads of this worker's tensor operations on the CPU."""
        return torch.get_num_threads()

    def remember(self, key: Hashable, make: Callable[[], T]) -> T:
        """The cached value of a key, or a fresh one; the least recently used are forgotten."""
        if key not in self.cache:
            self.cache[key] = make()
            while len(self.cache) > CACHE_SIZE:
                self.cache.popitem(last=False)
        self.cache.move_to_end(key)
        value: T = self.cache[key]
        return value

    def gpu_memory_bytes(self) -> int | None:
        """The most that this process held on its GPU since `begin_gpu_memory`; None on a CPU. Waits for nothing."""
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None

    def begin_gpu_memory(self) -> None:
        """Forget what earlier work held at most."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def barrier(self) -> None:
        """Wait for all ranks."""
        if self.world_size > 1:
            torch.distributed.barrier()

    def from_rank_0(self, value: T) -> T:
        """What rank 0 passed, on every rank."""
        if self.world_size == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def from_all_ranks(self, share: list[T]) -> list[T]:
        """The shares of all ranks, one after another, on every rank."""
        if self.world_size == 1:
            return share
        shares: list[Any] = [None] * self.world_size
        torch.distributed.all_gather_object(shares, share)
        return [each for one in shares for each in one]

    def to_device(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch on this worker's device."""
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def tokenizer(self, artifact: str) -> Any:
        """The tokenizer of an artifact."""
        return self.remember(("tokenizer", artifact), lambda: load_tokenizer(str(self.store.artifact(artifact))))

    def tokenizer_hash(self, artifact: str) -> str:
        """What tells the tokenizer of an artifact from others."""
        return self.remember(("tokenizer hash", artifact), lambda: tokenizer_hash(self.tokenizer(artifact)))

    def items(self, config: PointBase) -> Items:
        """All items that budgets are drawn from; read once."""
        key = "items", config.task, digest(config.items_recipe())
        return self.remember(key, lambda: task_of(config).data.items(config, folder=self.folder))

    def train_set(self, point: Identity) -> TrainSet:
        """The windows of a point; points with the same data and tokenizer share them."""
        config = point.config
        key = "train", config.task, digest(config.train_recipe()), point.student, *point.first_teachers
        items = self.items(config).all

        def build() -> TrainSet:
            tokenizer, places = self.tokenizer(point.student), self._places(point)
            return task_of(config).data.train_set(config, tokenizer, items=items, places=places)

        return self.remember(key, build)

    def scored_set(self, point: Identity, section: ScoredConfig, *, reader: str, most: int | None = None) -> ScoredSet:
        """A set that a point is scored on.

        Args:
            section: of the set.
            reader: artifact of the model that reads it, or of another one with the same tokenizer.
            most: items of every cell or language; None takes all.
        """
        config, tokenizer, places = point.config, self.tokenizer(reader), self._places(point)
        key = "scored", config.task, digest(config.score_recipe(section)), point.base, self.tokenizer_hash(reader)
        whole = self.remember(key, lambda: task_of(config).data.scored_set(config, section, tokenizer, places=places))
        return whole if most is None else self.remember((*key, most), lambda: whole.first(most))

    def _places(self, point: Identity) -> Places:
        # Without a teacher the first one is the student: there is nobody who reads otherwise.
        teacher = self.store.artifact(next(iter(point.first_teachers)))
        return Places(self.folder, self.store.artifact(point.base), teacher)
