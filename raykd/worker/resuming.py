"""Where a killed point goes on: its finished generations, and the checkpoint that the next one goes on from."""

import itertools
import logging
from dataclasses import dataclass

from raykd.config.point import LineageConfig
from raykd.errors import ArtifactError
from raykd.results.journal import Journal
from raykd.results.points import GenerationRecord
from raykd.worker.checkpoints import Checkpoints, Position, Saved

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResumeState:
    """How far a point is: its finished generations, and the checkpoint that the next one goes on from."""

    records: list[GenerationRecord]
    saved: Saved | None


def load_resume_state(checkpoints: Checkpoints, lineage: LineageConfig) -> ResumeState:
    """How far a point is, as far as it can be gone on from.

    A student that goes on through generations needs its optimiser: the generations after its newest checkpoint are
    trained again, all of them if it has none.
    """
    checkpoints.clear_staging()
    records = _load_generations(checkpoints)
    if len(records) == lineage.num_generations:
        return ResumeState(records, None)
    per_generation, goes_on = lineage.epochs_per_generation, lineage.student_init == "previous"

    def fits(position: Position) -> bool:
        epochs = (position.generation - 1) * per_generation + position.generation_epochs
        best = position.best_artifact
        reached = 1 <= position.generation <= len(records) + 1 if goes_on else position.generation == len(records) + 1
        return reached and position.epochs == epochs and (best is None or checkpoints.store.has(best))

    saved = checkpoints.newest(fits)
    if not goes_on:
        return ResumeState(records, saved)
    if saved is None:
        return ResumeState([], None)
    under_way = saved.position.generation_epochs < per_generation
    return ResumeState(records[: saved.position.generation - under_way], saved)


def _load_generations(checkpoints: Checkpoints) -> list[GenerationRecord]:
    """The finished generations whose students are still there, up to the first that is not."""
    try:
        records = Journal(checkpoints.store).points.generations(checkpoints.point_id)
    except ArtifactError as error:
        log.warning("the generations of point %s are trained again: %s", checkpoints.point_id, error)
        return []
    numbered = enumerate(records, start=1)
    return [record for number, record in itertools.takewhile(lambda each: _is_there(checkpoints, *each), numbered)]


def _is_there(checkpoints: Checkpoints, number: int, record: GenerationRecord) -> bool:
    return record.index == number and checkpoints.store.has(record.artifact)
