"""What a sweep reads and where it writes: the Hub, storage, and the data and models of a file."""

import os
from collections.abc import Iterator
from pathlib import Path

from raykd.data.hub import commits_in
from raykd.data.sources import DATA_VARIABLE, hub_problem
from raykd.doctor.finding import Finding, Step, errors_of
from raykd.doctor.machine import disk
from raykd.errors import RaykdError
from raykd.plan.file import load_sweep
from raykd.plan.inspection import check_data
from raykd.plan.points import make_plan
from raykd.storage import Storage

READ_SECONDS = 120.0
"""For reading all data of a file: work, not waiting."""


def hub() -> Iterator[Finding | Step]:
    """Whether the Hugging Face Hub answers."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        todo = "unset HF_HUB_OFFLINE to download what is missing"
        yield Finding("ok", "Hub", "HF_HUB_OFFLINE is set: only cached Hub ids work", todo)
        return
    yield Step("asking the Hub")
    problem = hub_problem()
    if problem is None:
        yield Finding("ok", "Hub", "answers")
        return
    yield no_hub(problem)


def no_hub(problem: str) -> Finding:
    """The Hub does not answer. Local paths, the cache and built-in data work all the same."""
    todo = f"connect, set HF_ENDPOINT to a mirror, or give paths: data below {DATA_VARIABLE}, models as folders"
    return Finding("warning", "Hub", f"does not answer ({problem}): only cached Hub ids work", todo)


def storage(root: Path | str) -> Iterator[Finding | Step]:
    """Whether results can be written from here. A folder that is not there is tried where it would be made."""
    # It brings Ray, which nothing else here needs.
    from raykd.executors.capacity import check_storage

    yield Step(f"writing to {root}")
    place = _there(root) if isinstance(root, Path) else root
    try:
        check_storage(Storage(place))
    except RaykdError as error:
        yield from errors_of("storage", error)
        return
    except (OSError, ImportError) as error:
        todo = "pip install 'raykd[s3]' or 'raykd[gcs]', and set credentials and address in the environment"
        yield Finding("error", "storage", f"{root}: {error}", "" if isinstance(root, Path) else todo)
        return
    if isinstance(place, Path):
        yield disk("storage", place, "free space on it, or use another storage")
    else:
        yield Finding("ok", "storage", f"{root}: can be written and read from this machine")


def _there(root: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    root = root.expanduser().absolute()
    return next(place for place in (root, *root.parents) if place.exists())


def file_data(file: Path) -> Iterator[Finding | Step]:
    """The data and models that a sweep file names."""
    try:
        plan = make_plan(load_sweep(file))
        yield Step(f"reading the data of {file}", READ_SECONDS)
        hashes = check_data(plan, folder=file.parent)
    except RaykdError as error:
        yield from errors_of("sweep file", error)
        return
    found = (
        f"{file}: {len(plan.points)} points; {len(hashes) - len(commits_in(hashes))} data sets and models, all found"
    )
    yield Finding("ok", "sweep file", found)
