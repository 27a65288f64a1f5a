"""What a user is told of failures that Ray wrapped."""

import errno
import os

import pytest
import ray
import torch
from ray.train import WorkerGroupError

from raykd.errors import TrainingError
from raykd.reasons import DISK_FULL, OUT_OF_MEMORY, plain_reason, reason_in

GPU = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 139.81 GiB"
CPU = "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
RAY = "1 worker(s) were killed due to the node running low on memory."
LOST = (
    "The actor died unexpectedly. Some common causes include: (1) the process was killed by the OOM killer due to high"
)


def group_error(*failures: Exception) -> WorkerGroupError:
    return WorkerGroupError("workers failed", dict(enumerate(failures)))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(GPU),
        RuntimeError(CPU),
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        ray.exceptions.OutOfMemoryError(RAY),
    ],
)
def test_out_of_memory_is_named_as_such_with_what_to_lower(error):
    connection = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1234")
    for wrapped in (error, group_error(error), group_error(connection, error), group_error(group_error(error))):
        assert plain_reason(wrapped) == OUT_OF_MEMORY
    assert "training.micro_batch_tokens" in OUT_OF_MEMORY
    assert "\n" not in OUT_OF_MEMORY


def test_a_death_that_nobody_saw_is_not_called_out_of_memory():
    assert LOST in plain_reason(group_error(RuntimeError(LOST)))
    assert reason_in(LOST) == LOST


def test_a_full_disk_is_named_as_such():
    assert plain_reason(group_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))) == DISK_FULL


def test_what_raykd_says_itself_comes_before_what_other_workers_say():
    ours = TrainingError("generation 1, epoch 1: the loss of step 3 is not a number")
    assert plain_reason(group_error(RuntimeError("Connection closed by peer"), ours)) == ours.problems[0]


def test_the_innermost_cause_of_the_first_worker_is_told():
    outer = RuntimeError("outer")
    outer.__cause__ = ValueError("inner")
    assert plain_reason(group_error(outer, KeyError("second"))) == "ValueError: inner"
