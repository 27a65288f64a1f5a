"""Which accelerator DeepSpeed is told that there is, where it is only loaded because transformers loads it."""

import os

import torch


def settle_accelerator() -> None:
    """Without a GPU say so: transformers loads DeepSpeed where accelerate is installed, and its guess goes to stdout."""
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
