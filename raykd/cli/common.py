"""What several commands share."""

import argparse
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raykd.plan.sweep import SweepConfig

INTERRUPTED = 130
"""Exit code of a command that was interrupted."""


def add_command(
    commands: Any, name: str, *, help: str, examples: Sequence[str], description: str = "", **options: Any
) -> argparse.ArgumentParser:
    """The parser of a command, whose help ends with examples.

    Args:
        commands: what `add_subparsers` returned.
        help: what the command does, for the list of commands.
        examples: command lines.
        description: the same in more words; by default a sentence made of `help`.
    """
    text = description or f"{help[0].upper()}{help[1:]}."
    return commands.add_parser(
        name,
        help=help,
        description=textwrap.fill(text, 80),
        epilog="\n".join(["examples:", *(f"  {line}" for line in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )


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
