"""What several commands share."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raykd.plan.sweep import SweepConfig

INTERRUPTED = 130
"""Exit code of a command that was interrupted."""


def load(file: Path) -> "SweepConfig":
    """The sweep of a file."""
    from raykd.plan.file import load_sweep

    return load_sweep(file)


def place_of(sweep: "SweepConfig", storage: str | None = None) -> Path | str:
    """Where a sweep's results go: folder or URL."""
    return sweep.place(storage)


def silence_libraries() -> None:
    """Keep what libraries say about themselves off the terminal."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
