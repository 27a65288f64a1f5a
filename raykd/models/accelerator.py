"""Which accelerator DeepSpeed is told that there is, where it is only loaded because transformers loads it."""

import os

import torch


def settle_accelerator() -> None:
    """Where there is no GPU, say so: transformers loads DeepSpeed with accelerate, and its guess goes to stdout."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
