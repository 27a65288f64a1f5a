"""Points that run in this process, real engines and no Ray: results folders, runs, and what they leave behind."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from raykd.config.identity import Identity
from raykd.results.artifacts import Store
from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.results.points import PointResult
from raykd.worker.context import WorkerContext
from raykd.worker.job import PointJob
from raykd.worker.lineage import Driver
from raykd.worker.point import PointRun, lineage_of
from raykd.worker.prepare import prepare

SHARED = ("artifacts", "scores", "signals")
"""The folders of results that points share."""


def opened(root: Path | str, *, folder: Path | None = None) -> WorkerContext:
    """This process as the only worker, with results at `root`; `folder` is the sweep file's, or else `root`."""
    return WorkerContext.open(Store(root), Path(root) if folder is None else folder, alone=True, threads=1)


def sharing(source: Path, root: Path, *, folders: tuple[str, ...] = SHARED) -> WorkerContext:
    """Results at `root` that begin with a copy of what the points at `source` share."""
    for name in folders:
        shutil.copytree(source / name, root / name)
    return opened(root)


def ready(context: WorkerContext, *points: Identity) -> list[str]:
    """Make what points with one generation 0 need before generation 1; what is said about it."""
    return list(prepare(context, points))


def reports(context: WorkerContext, point: Identity) -> Iterator[EpochReport]:
    """Run a point epoch by epoch, from where it stands; to close it is to kill it."""
    job = PointJob(point)
    return PointRun(context, job).run(Driver(lineage_of(job, context.store)).next)


def killed_after(context: WorkerContext, point: Identity, num_epochs: int) -> None:
    """Run a point for so many epochs."""
    running = reports(context, point)
    for _ in range(num_epochs):
        next(running)
    running.close()


def run(context: WorkerContext, point: Identity) -> PointResult:
    """The result of a point that is run to its end."""
    list(reports(context, point))
    found = Journal(context.store).points.result(point.id)
    assert found is not None
    return found


def epochs(context: WorkerContext, point: Identity) -> list[EpochReport]:
    """The records of a point's epochs."""
    return list(Journal(context.store).epochs.of(point.id))


def losses(context: WorkerContext, point: Identity) -> Tensor:
    """[steps, 3 + parts] of all epochs: total, label and KD term, and what the KD term is made of."""
    return torch.tensor([row for epoch in epochs(context, point) for row in epoch.losses])


def weights(context: WorkerContext, artifact: str) -> dict[str, Tensor]:
    """The weights of an artifact, of all its files."""
    files = sorted(context.store.artifact(artifact).glob("*.safetensors"))
    return {name: tensor for file in files for name, tensor in safetensors.torch.load_file(file).items()}


def shared_files(root: Path) -> dict[str, int]:
    """Every file that points share -> when it was written, in ns."""
    return {
        str(path.relative_to(root)): path.stat().st_mtime_ns
        for name in SHARED
        for path in (root / name).rglob("*")
        if path.is_file()
    }
