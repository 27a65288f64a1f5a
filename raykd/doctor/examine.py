"""All checks, in the order of the report."""

import os
from collections.abc import Iterator
from pathlib import Path

from raykd.doctor import machine
from raykd.doctor.bounded import Check, run_checks
from raykd.doctor.finding import Finding, Step
from raykd.doctor.token import explain
from raykd.plan.file import load_sweep
from raykd.plan.points import make_plan
from raykd.storage import location

LOAD_SECONDS = 60.0
"""For a library to be loaded, on a machine that is busy."""


def examine(file: Path | None = None, *, storage: str | None = None, address: str | None = None) -> Iterator[Finding]:
    """Look at this machine, its cluster, and a sweep file.

    Args:
        file: a sweep file whose data, models and points are looked at too.
        storage: place of results in place of the file's.
        address: of the cluster, in place of RAY_ADDRESS.

    Raises:
        ConfigError: if the file or the storage cannot be read as such.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    root = _place(file, storage)
    checks = [
        Check("this machine", _this_machine, (_has_several_workers(file),)),
        Check("GPUs", _gpus),
        Check("Hub", _hub, level="warning"),
        Check("Ray", _cluster, (address, file, root), explain),
    ]
    if root is not None:
        checks.append(Check("storage", _storage, (root,)))
    if file is not None:
        checks.append(Check("sweep file", _file_data, (file,)))
    yield from run_checks(checks)


def _place(file: Path | None, storage: str | None) -> Path | str | None:
    """Where results go; None where nobody says."""
    if storage is None and file is not None:
        sweep = load_sweep(file)
        storage = sweep.storage or f"runs/{sweep.name}"
    place = None if storage is None else location(storage)
    return place.expanduser().absolute() if isinstance(place, Path) else place


def _has_several_workers(file: Path | None) -> bool:
    """Whether a point of the file asks for several workers and for no GPU."""
    points = make_plan(load_sweep(file)).points if file is not None else ()
    computes = [point.config.compute for point in points]
    return any(compute.max_workers > 1 and not compute.gpus_per_worker for compute in computes)


def _this_machine(several_cpu_workers: bool) -> Iterator[Finding]:
    yield from machine.packages()
    yield from machine.compilers(several_cpu_workers=several_cpu_workers)
    yield from machine.shared_memory()
    yield from machine.temporary_folder()
    yield from machine.data_folders()


# Each of these loads what it needs in its own process: nobody waits for another one's libraries.


def _gpus() -> Iterator[Finding | Step]:
    yield Step("loading torch", LOAD_SECONDS)
    yield from machine.gpus()


def _hub() -> Iterator[Finding | Step]:
    yield Step("loading huggingface_hub", LOAD_SECONDS)
    from raykd.doctor.inputs import hub

    yield from hub()


def _cluster(address: str | None, file: Path | None, root: Path | str | None) -> Iterator[Finding | Step]:
    yield Step("loading Ray", LOAD_SECONDS)
    from raykd.doctor.cluster import cluster

    yield from cluster(address, file, root)


def _storage(root: Path | str) -> Iterator[Finding | Step]:
    yield Step("loading what writes there", LOAD_SECONDS)
    from raykd.doctor.inputs import storage

    yield from storage(root)


def _file_data(file: Path) -> Iterator[Finding | Step]:
    yield Step("loading the readers", LOAD_SECONDS)
    from raykd.doctor.inputs import file_data

    yield from file_data(file)
