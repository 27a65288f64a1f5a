"""Where a killed point goes on: its finished generations and its newest step checkpoint."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from raykd.artifacts import Store, read_json, write_json
from raykd.config.point import PointConfig
from raykd.engine import Engine
from raykd.lineage import GenerationRecord
from raykd.workspace import Workspace

POSITION = "position.json"


@dataclass(frozen=True)
class Position:
    """Where a checkpoint stands.

    Attributes:
        generation: the generation it was saved in, from 1.
        generation_epochs, epochs: epochs done of that generation, and of the lineage.
        best_artifact, best_score: of that generation, where the lineage asks for the best epoch.
    """

    generation: int
    generation_epochs: int
    epochs: int
    best_artifact: str | None = None
    best_score: float | None = None


def checkpoint_folder(store: Store, point_id: str, position: Position) -> Path:
    """Where the checkpoint of a position is."""
    return store.point(point_id) / "checkpoints" / f"epoch-{position.epochs:04d}"


def save_checkpoint(space: Workspace, point_id: str, engine: Engine, position: Position) -> None:
    """Save optimiser and model, then the position that makes the checkpoint count, then drop older ones.

    Every rank must call it.
    """
    folder = checkpoint_folder(space.store, point_id, position)
    if space.rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    space.barrier()
    engine.save(folder)
    space.barrier()
    if space.rank == 0:
        write_json(folder / POSITION, {**asdict(position), "num_workers": space.world_size})
        for other in folder.parent.glob("epoch-*"):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
    space.barrier()


def drop_checkpoints(store: Store, point_id: str) -> None:
    """Remove the checkpoints of a finished point."""
    shutil.rmtree(store.point(point_id) / "checkpoints", ignore_errors=True)


def save_generations(store: Store, point_id: str, records: list[GenerationRecord]) -> None:
    """Record the finished generations of a point."""
    write_json(store.point(point_id) / "generations.json", [record.to_json() for record in records])


def load_progress(store: Store, point_id: str, config: PointConfig) -> tuple[list[GenerationRecord], Position | None]:
    """The finished generations of a point and its newest checkpoint, as far as they can be gone on from.

    A student that goes on through generations needs its optimiser: without a checkpoint its lineage starts again.
    """
    path = store.point(point_id) / "generations.json"
    records = [GenerationRecord(**record) for record in read_json(path)] if path.is_file() else []
    complete = [store.has(record.artifact) for record in records]
    records = records[: complete.index(False)] if False in complete else records
    position = _newest(store, point_id, config.compute.num_workers)
    if position is not None and position.generation not in (len(records), len(records) + 1):
        position = None
    unfinished = 0 < len(records) < config.lineage.num_generations
    if unfinished and config.lineage.student_init == "previous" and position is None:
        return [], None
    return records, position


def _newest(store: Store, point_id: str, num_workers: int) -> Position | None:
    found = []
    for path in (store.point(point_id) / "checkpoints").glob(f"epoch-*/{POSITION}"):
        saved = read_json(path)
        if saved.pop("num_workers") == num_workers:
            found.append(Position(**saved))
    return max(found, key=lambda position: position.epochs, default=None)
