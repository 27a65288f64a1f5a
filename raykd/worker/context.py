"""A worker's process: its place in the process group, and what stays warm between points."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from raykd.config.base import never_positive
from raykd.config.identity import first_teachers, scored_languages
from raykd.config.point import PointConfig
from raykd.models.qa import load_tokenizer
from raykd.results.artifacts import Store
from raykd.tasks.task import TASKS, TrainData
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
        return self.cache[key]

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

    def items(self, config: PointConfig) -> tuple[Any, str]:
        """All items that budgets are drawn from, and their hash; read once."""
        task = TASKS[config.task]
        data = config.data
        key = "items", config.task, data.train.model_dump_json(), data.languages, data.columns, data.pivot
        return self.remember(key, lambda: task.items(config, folder=self.folder))

    def train_set(self, config: PointConfig, base: str) -> TrainData:
        """The windows of a point; points with the same data and tokenizer share them."""
        task = TASKS[config.task]
        # Task parallel draws the pairs of every epoch, reads them as its teacher cuts them, and collates the inputs of
        # those terms alone that count.
        epochs = config.lineage.num_generations * config.lineage.epochs_per_generation
        needs = config.levels, never_positive(config.distillation.weights[0])
        drawn = (config.seed, epochs, *needs, *first_teachers(config)) if config.task == "parallel" else None
        key = "train", config.task, config.data.model_dump_json(), config.data_seed, base, drawn
        items = self.items(config)[0]

        def build() -> TrainData:
            options = {"items": items, "folder": self.folder, "artifact": self.store.artifact(base)}
            if config.task == "parallel":
                # Without a teacher that is the student: there is nobody who reads otherwise.
                options["teacher"] = self.store.artifact(next(iter(first_teachers(config))))
            return task.train_set(config, self.tokenizer(base), **options)

        return self.remember(key, build)

    def dev_set(self, config: PointConfig, base: str, *, epoch_sample: bool) -> Any:
        """What a point is scored on: all of it, or the smaller sample that is scored after every epoch."""
        task, windows = TASKS[config.task], TASKS[config.task].window_options(config)
        shared = tuple(windows.items()), tuple(scored_languages(config) or ()), base
        evaluation = config.evaluation
        key = "dev", config.task, evaluation.model_dump_json(), *shared
        if epoch_sample and evaluation.selection:
            chosen = evaluation.model_copy(update={"source": evaluation.selection, "selection": None})
            config = config.model_copy(update={"evaluation": chosen})
            key = "dev", config.task, chosen.model_dump_json(), *shared
        place = {"folder": self.folder, "artifact": self.store.artifact(base)}
        whole = self.remember(key, lambda: task.dev_set(config, self.tokenizer(base), **place))
        count = config.evaluation.epoch_max_items
        if not epoch_sample or count is None:
            return whole
        return self.remember((*key, count), lambda: whole.first(count))


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 of a fast tokenizer's whole state but its truncation and padding settings."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return hashlib.sha256(backend.to_str().encode()).hexdigest()
