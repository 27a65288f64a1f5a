"""Functions that run as the ranks of a process group: real processes over gloo, which meet in a file."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.multiprocessing import start_processes

from support.forked import CONTEXT


def run_as_ranks(function: Callable[[int], Any], world_size: int, folder: Path) -> list[Any]:
    """What `function(rank)` returned on each rank; it stands in a module that a fresh process can import."""
    arguments = (dict(os.environ), function, world_size, str(folder))
    start_processes(_rank, args=arguments, nprocs=world_size, start_method=CONTEXT.get_start_method())
    return [torch.load(folder / f"{rank}.pt") for rank in range(world_size)]


def _rank(rank: int, environment: dict[str, str], function: Callable[[int], Any], world_size: int, folder: str) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/store", world_size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    torch.save(function(rank), f"{folder}/{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()
