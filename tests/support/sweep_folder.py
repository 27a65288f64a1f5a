"""A sweep file in the current folder, and what its run left there."""

from pathlib import Path

import torch
import yaml

from raykd.results.journal import Journal
from raykd.results.points import PointResult


def write(keys: dict) -> str:
    """The keys as `sweep.yaml`."""
    Path("sweep.yaml").write_text(yaml.safe_dump(keys))
    return "sweep.yaml"


def results(folder: str = "runs/tiny") -> dict[str, PointResult]:
    """Label -> result of every finished point."""
    journal = Journal.at(Path(folder))
    return {journal.points.description(point).label: journal.points.result(point) for point in journal.points.ids()}


def losses(label: str, folder: str = "runs/tiny") -> torch.Tensor:
    """[steps, 3] of a point."""
    journal = Journal.at(Path(folder))
    (point,) = [point for point in journal.points.ids() if journal.points.description(point).label == label]
    return torch.tensor([row for epoch in journal.epochs.of(point) for row in epoch.losses])
