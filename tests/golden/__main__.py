"""`python -m golden`: record the losses of this code, or compare those of two commits bit for bit."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def main(arguments: list[str]) -> int:
    """The exit code: 1 where losses differ."""
    parser = argparse.ArgumentParser(prog="python -m golden", description=__doc__)
    commands = parser.add_subparsers(required=True)
    recording = commands.add_parser("record", help="write the losses of this code")
    recording.add_argument("file", type=Path)
    recording.set_defaults(run=lambda words: record(words.file))
    comparing = commands.add_parser("compare", help="compare the losses of two commits, each by its own recorder")
    comparing.add_argument("first", metavar="REV_A")
    comparing.add_argument("second", metavar="REV_B", nargs="?", help="default: the files as they are here")
    comparing.set_defaults(run=lambda words: compare(words.first, words.second))
    words = parser.parse_args(arguments)
    return words.run(words)


def record(file: Path) -> int:
    """Write the losses of all goldens into a file."""
    # A comparison needs neither this recorder nor torch.
    from golden import recorder

    losses = {name: rows for sweep in recorder.SWEEPS for name, rows in recorder.record(sweep).items()}
    recorder.write(file, losses)
    print(f"{len(losses)} goldens are in {file}")
    return 0


def compare(first: str, second: str | None) -> int:
    """Print each golden that is not the same in both, with the first step that differs."""
    one, other, here = losses_of(first), losses_of(second), second or "the files here"
    differing = [name for name in one | other if one.get(name) != other.get(name)]
    for name in differing:
        pairs = zip_longest(one.get(name, []), other.get(name, []), fillvalue="no such step")
        step, rows = next((step, rows) for step, rows in enumerate(pairs, start=1) if rows[0] != rows[1])
        print(f"{name}: step {step} differs\n  {first}: {shown(rows[0])}\n  {here}: {shown(rows[1])}")
    print(f"{len(differing)} of {len(one | other)} goldens differ")
    return 1 if differing else 0


def shown(row: list[str] | str) -> str:
    """The losses of a step, in a line."""
    return row if isinstance(row, str) else "  ".join(row)


def losses_of(revision: str | None) -> dict[str, list[list[str]]]:
    """What the recorder of a commit, or of the files as they are here, writes.

    Numbers stay text, which is the same where their bits are: 0.0 and -0.0 are equal as numbers.

    Raises:
        SystemExit: if it cannot be checked out or fails.
    """
    with tempfile.TemporaryDirectory() as folder, checked_out(revision, Path(folder, "tree")) as tree:
        # Ahead of where the interpreter has raykd installed from.
        path = os.pathsep.join([str(tree), str(tree / "tests")])
        file = Path(folder, "losses.json")
        call([sys.executable, "-m", "golden", "record", file], cwd=tree, env={**os.environ, "PYTHONPATH": path})
        return json.loads(file.read_text(encoding="utf-8"), parse_float=str)


@contextlib.contextmanager
def checked_out(revision: str | None, folder: Path) -> Iterator[Path]:
    """The root of a commit's files, in a git worktree that is gone after the block."""
    if revision is None:
        yield ROOT
        return
    call(["git", "worktree", "add", "--quiet", "--detach", folder, revision], cwd=ROOT)
    try:
        yield folder
    finally:
        call(["git", "worktree", "remove", "--force", folder], cwd=ROOT)


def call(words: list[str | Path], **options: Any) -> None:
    """Run a command that must not fail; what it says is shown only if it does."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"{done.stderr}\n{' '.join(map(str, words))} failed with exit code {done.returncode}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
