"""The only module that knows DeepSpeed: process group, student and teacher engines, checkpoints, gathered weights."""

import argparse
import contextlib
import io
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from raykd.errors import CapacityError

# DeepSpeed picks its accelerator when it is imported.
if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")


@contextlib.contextmanager
def hidden(module: str) -> Iterator[None]:
    """Let imports of a module fail inside, unless it is there already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


# DeepSpeed's tuner, which nobody here calls, imports MLflow where it is installed: a second of every process.
with hidden("mlflow"):
    import deepspeed
    import deepspeed.comm
    from deepspeed.checkpoint import ds_to_universal
    from deepspeed.utils import logger as deepspeed_logger

deepspeed_logger.setLevel("ERROR")

TAG = "state"
"""The name that DeepSpeed gives to the inside of a checkpoint's folder."""
BETAS = (0.9, 0.999)
NO_DECAY = re.compile(r"(norm|Norm)\.weight$|(^|\.)bias[^.]*$|bias$")
"""Biases, also those that an LSTM numbers (`bias_ih_l0`), and norms."""


@dataclass(frozen=True)
class EngineOptions:
    """What an engine needs to know; the words are those of the sweep file."""

    zero_stage: Literal[0, 1, 2, 3]
    offload: Literal["none", "cpu"]
    precision: Literal["float32", "bf16"]
    learning_rate: float
    weight_decay: float
    adam_epsilon: float
    max_grad_norm: float
    optimizer: Literal["adamw", "adamw_legacy"] = "adamw"
    rate_factors: tuple[tuple[str, float], ...] = ()
    """Beginning of a parameter's name -> what its learning rate is multiplied by."""


def join_process_group(*, alone: bool) -> None:
    """Make DeepSpeed use the process group that exists, or make one of this process alone.

    Raises:
        CapacityError: if several CPU workers need DeepSpeed's shared-memory op and no compiler is there to build it.
    """
    on_cpu = not torch.cuda.is_available()
    if alone and not torch.distributed.is_initialized():
        os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
        backend = "gloo" if on_cpu else "nccl"
        store = torch.distributed.HashStore()
        torch.distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    if on_cpu and torch.distributed.get_world_size() == 1:
        # A single rank never reduces: building the shared-memory op would cost half a minute for nothing.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    elif on_cpu:
        # The ninja of this environment, also where the environment is not activated.
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        missing = [tool for tool in ("g++", "ninja") if not shutil.which(tool)]
        if missing:
            raise CapacityError(
                f"several CPU workers need {' and '.join(missing)} to build DeepSpeed's shared-memory op; install it"
            )
    if not deepspeed.comm.is_initialized():
        deepspeed.init_distributed(dist_backend=torch.distributed.get_backend(), dist_init_required=None, verbose=False)


class Engine:
    """A model under DeepSpeed: the student with its optimiser, or a frozen teacher.

    Gradients of any number of `backward` calls accumulate until `step`. Ranks' gradients are averaged, so a loss that
    is a sum over this rank's share must be multiplied by `world_size` and divided by the global count.
    """

    def __init__(self, model: nn.Module, options: EngineOptions, *, frozen: bool = False) -> None:
        self.options, self.frozen = options, frozen
        self.world_size = torch.distributed.get_world_size()
        self.rank = torch.distributed.get_rank()
        if frozen:
            model.requires_grad_(False).eval()
        arguments: dict[str, Any] = {"model": model, "config": _deepspeed_config(options, frozen=frozen)}
        if not frozen:
            groups = _parameter_groups(model, options)
            self._factors = [group.pop("factor") for group in groups]
            arguments["optimizer"] = torch.optim.AdamW(
                groups,
                lr=options.learning_rate,
                betas=BETAS,
                eps=options.adam_epsilon,
                fused=options.offload == "none" or None,
            )
        self._num_steps = 0
        self._engine, *_ = deepspeed.initialize(**arguments)
        self.device = self._engine.device
        if self.world_size == 1 and not options.zero_stage:
            # One rank has nobody to average with; DeepSpeed would copy all gradients into a buffer and back.
            self._engine.enable_backward_allreduce = False

    @property
    def model(self) -> Any:
        """The task's model; under stage 3 its parameters are empty outside of a forward pass."""
        return self._engine.module

    def train(self) -> None:
        """Dropout on."""
        self._engine.train()

    def eval(self) -> None:
        """Dropout off."""
        self._engine.eval()

    def __call__(self, **inputs: Tensor) -> Any:
        """Forward pass; every rank must make the same number of calls under stage 3."""
        return self._engine(**inputs)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a scalar loss."""
        self._engine.backward(loss)

    def step(self, learning_rate: float) -> None:
        """Reduce over ranks, clip, update, and forget the gradients."""
        for group, factor in zip(self._engine.optimizer.param_groups, self._factors, strict=True):
            group["lr"] = learning_rate * factor
        self._num_steps += 1
        if self.options.optimizer == "adamw_legacy":
            for group in self._engine.optimizer.param_groups:
                group["eps"] = legacy_epsilon(self.options.adam_epsilon, self._num_steps)
        self._engine.step()

    def weights(self) -> dict[str, Tensor]:
        """All weights in float32 on the CPU of rank 0, an empty dict elsewhere. Every rank must call it."""
        if self.options.zero_stage == 3:
            gathered = self._engine._zero3_consolidated_16bit_state_dict()
        else:
            gathered = self.model.state_dict()
        if self.rank != 0:
            return {}
        return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in gathered.items()}

    def save(self, folder: Path) -> None:
        """Write this rank's share of model and optimiser into a folder. Every rank must call it."""
        folder.mkdir(parents=True, exist_ok=True)
        self._engine.save_checkpoint(str(folder), tag=TAG, save_latest=False)

    def load(self, folder: Path) -> None:
        """Read back what `save` wrote on as many ranks, the shares of all of them in one folder."""
        self._engine.load_checkpoint(str(folder), tag=TAG)
        self._num_steps = self._steps_of_state()

    def needs_universal(self, num_ranks: int) -> bool:
        """Whether what so many ranks saved must go through `to_universal`; replicas fit any number of ranks."""
        return bool(self.options.zero_stage) and num_ranks != self.world_size

    def load_universal(self, folder: Path) -> None:
        """Read back what `to_universal` wrote, on any number of ranks."""
        groups = [dict(group) for group in self._engine.optimizer.param_groups]
        settings = self._engine._config
        settings.load_universal_checkpoint = True
        try:
            self._engine.load_checkpoint(str(folder), tag=TAG)
        finally:
            settings.load_universal_checkpoint = False
        # Stage 3 gives every group the settings of the first one, and all of them one step counter to increase.
        for group, before in zip(self._engine.optimizer.param_groups, groups, strict=True):
            group.update({name: value for name, value in before.items() if name != "params"})
        for state in self._engine.optimizer.state.values():
            if isinstance(state.get("step"), Tensor):
                state["step"] = state["step"].clone()
        self._num_steps = self._steps_of_state()

    def _steps_of_state(self) -> int:
        """The steps that the optimiser counts; 0 before the first."""
        return max(
            (int(state["step"]) for state in self._engine.optimizer.state.values() if "step" in state), default=0
        )

    def destroy(self) -> None:
        """Free what the engine holds. The process group stays."""
        self._engine.destroy()


def legacy_epsilon(epsilon: float, step: int) -> float:
    """The epsilon of AdamW that makes a step that of older transformers, which add theirs to the uncorrected root.

    There the denominator of step t is (sqrt(v) + epsilon) / sqrt(1 - 0.999**t), here sqrt(v) / sqrt(1 - 0.999**t) plus
    what this returns. No optimiser of its own is needed, so every ZeRO stage has it.

    Args:
        step: from 1.
    """
    return epsilon / math.sqrt(1 - BETAS[1] ** step)


def to_universal(source: Path, target: Path) -> None:
    """Turn what `Engine.save` wrote into a checkpoint for any number of ranks.

    Args:
        source: the shares of all ranks in one folder.
        target: a folder of its own, made here.
    """
    words = argparse.Namespace(
        input_folder=str(source / TAG),
        output_folder=str(target / TAG),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    (target / TAG).mkdir(parents=True)
    # The converter is a command that tells its terminal what it does.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        ds_to_universal.main(words)


def _parameter_groups(model: nn.Module, options: EngineOptions) -> list[dict[str, Any]]:
    """Trainable parameters by weight decay and by the factor of their learning rate, as `factor`."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = next((value for start, value in options.rate_factors if name.startswith(start)), 1.0)
            decay = 0.0 if NO_DECAY.search(name) else options.weight_decay
            groups.setdefault((decay, factor), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "factor": factor}
        for (decay, factor), parameters in groups.items()
    ]


def _deepspeed_config(options: EngineOptions, *, frozen: bool) -> dict[str, Any]:
    # A frozen model has nothing to shard but its parameters.
    stage = (3 if options.zero_stage == 3 else 0) if frozen else options.zero_stage
    zero: dict[str, Any] = {"stage": stage}
    if options.offload == "cpu" and not frozen:
        zero["offload_optimizer"] = {"device": "cpu"}
    if options.offload == "cpu" and stage == 3:
        zero["offload_param"] = {"device": "cpu"}
    if stage == 3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    if stage == 2:
        zero["overlap_comm"] = torch.cuda.is_available()
    elif stage:
        zero["overlap_comm"] = False
    return {
        # Batches are cut by raykd; DeepSpeed only has to agree with itself.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": options.max_grad_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "torch_autocast": {"enabled": options.precision == "bf16", "dtype": "bfloat16"},
        "steps_per_print": 10**9,
    }
