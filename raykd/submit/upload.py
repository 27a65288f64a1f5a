"""What a job takes along: the files that Ray would upload, and a refusal where they are too large."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from raykd.errors import ConfigError
from raykd.executors.ray_internals import ignore_gitignore_variable, upload_limit, walk_upload

_SHOWN = 5
_ZIP_ENTRY = 76
_ZIP_END = 22


def files_to_upload(folder: Path, excludes: Iterable[str]) -> dict[str, int]:
    """Relative path -> bytes of what Ray would upload of a folder.

    Ray's own walk finds them, so `.gitignore`, `.rayignore` and what Ray never takes are left out exactly as there.
    """
    folder = folder.absolute()
    sizes: dict[str, int] = {}

    def take(path: Path) -> None:
        if path.is_file():
            sizes[path.relative_to(folder).as_posix()] = path.stat().st_size

    reads_gitignore = os.environ.get(ignore_gitignore_variable()) != "1"
    walk_upload(folder, excludes, take, reads_gitignore=reads_gitignore)
    return sizes


def upload_bytes(sizes: Mapping[str, int]) -> int:
    """Size of the archive of these files. Ray does not compress it."""
    return _ZIP_END + sum(size + _ZIP_ENTRY + 2 * len(path.encode()) for path, size in sizes.items())


def check_upload(folder: Path, sizes: Mapping[str, int]) -> None:
    """Refuse what the Jobs API would not take.

    Raises:
        ConfigError: with the size, the largest files, and what to leave out.
    """
    total = upload_bytes(sizes)
    if total <= upload_limit():
        return
    largest = sorted(sizes, key=lambda path: (-sizes[path], path))
    left = f"; {len(largest) - _SHOWN} more" if len(largest) > _SHOWN else ""
    named = ", ".join(f"{path} ({mebibytes(sizes[path])})" for path in largest[:_SHOWN])
    raise ConfigError(
        [
            f"{folder}: the upload is {mebibytes(total)}, the limit of Ray is {mebibytes(upload_limit())}",
            f"{folder}: largest files: {named}{left}",
            f"{folder}: exclude what the job does not need, one line each in .rayignore: "
            f"{', '.join(_enough_to_leave_out(sizes, total))}; put data and models where every node can read them",
        ]
    )


def _enough_to_leave_out(sizes: Mapping[str, int], total: int) -> list[str]:
    """The largest entries of the folder itself, until what remains can be uploaded."""
    entries: dict[str, int] = {}
    for path, size in sizes.items():
        top, slash, _ = path.partition("/")
        entries[top + slash] = entries.get(top + slash, 0) + size
    chosen = []
    for entry in sorted(entries, key=lambda entry: (-entries[entry], entry)):
        if total <= upload_limit():
            break
        chosen.append(f"/{entry} ({mebibytes(entries[entry])})")
        total -= entries[entry]
    return chosen


def mebibytes(count: float) -> str:
    """A number of bytes as text."""
    return f"{count / 2**20:.1f} MiB"
