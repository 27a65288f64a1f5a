"""A tiny model that trains on any number of ranks, stops, and goes on with another number."""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from raykd.config.point import ComputeConfig
from raykd.results.artifacts import Store
from raykd.worker.checkpoints import Checkpoints, Position, Saved
from raykd.worker.context import WorkerContext
from raykd.worker.engine import Engine, EngineOptions, join_process_group
from raykd.worker.timer import no_notice

STAGES = (0, 1, 2, 3)
STEPS, HALF, ROWS = 6, 3, 4


class Model(nn.Module):
    """Weights that decay, and a norm and biases that do not: two groups of the optimiser."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Tanh(), nn.Linear(7, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)


def engine(stage: int) -> Engine:
    options = {"offload": "none", "precision": "float32", "learning_rate": 0.05, "weight_decay": 0.3}
    limits = {"adam_epsilon": 1e-8, "max_grad_norm": 1.0}
    return Engine(Model(), EngineOptions(zero_stage=stage, **options, **limits))


def train(trained: Engine, steps: range) -> None:
    """Steps on rows that every number of ranks shares out evenly."""
    trained.train()
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        inputs, targets = torch.randn(ROWS, 5, generator=generator), torch.randn(ROWS, 3, generator=generator)
        mine = slice(trained.rank, ROWS, trained.world_size)
        loss = ((trained(inputs=inputs[mine]) - targets[mine]) ** 2).sum() / ROWS
        trained.backward(loss * trained.world_size)
        trained.step(0.05)


def undisturbed(stage: int) -> dict[str, Tensor]:
    """The weights after all steps."""
    trained = engine(stage)
    train(trained, range(STEPS))
    weights = trained.weights()
    trained.destroy()
    return weights


def checkpoints(context: WorkerContext, name: str) -> Checkpoints:
    return Checkpoints(context, name, ComputeConfig(), notice=no_notice)


def first_half(context: WorkerContext, stage: int) -> None:
    """Train until the middle and save that under the number of ranks."""
    trained, saving = engine(stage), checkpoints(context, f"{context.world_size}-stage-{stage}")
    train(trained, range(HALF))
    saving.save(trained, Position(1, 1, 1))
    saving.close()
    context.barrier()
    trained.destroy()


def second_half(context: WorkerContext, stage: int, *, saved_by: int) -> dict[str, Tensor]:
    """The weights at the end, gone on from what so many ranks saved."""
    trained, saving = engine(stage), checkpoints(context, f"{saved_by}-stage-{stage}")
    found: Saved = context.from_rank_0(saving.newest(lambda position: True) if context.rank == 0 else None)
    assert found.num_workers == saved_by
    saving.load(trained, found)
    train(trained, range(HALF, STEPS))
    weights = trained.weights()
    saving.close()
    trained.destroy()
    return weights


def rank_of_two(rank: int) -> dict[int, dict[str, Tensor]]:
    """Go on with two ranks from what one saved, in every stage, and leave what one goes on from."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    join_process_group(alone=False)
    root = Path(os.environ["RAYKD_TEST_ROOT"])
    context = WorkerContext(Store(root), root, rank, 2)
    found = {}
    for stage in STAGES:
        first_half(context, stage)
        found[stage] = second_half(context, stage, saved_by=1)
    return found
