"""Where a killed point goes on: its finished generations, and the checkpoint that the next one goes on from."""

import itertools
import logging
from dataclasses import dataclass

from raykd.errors import ArtifactError
from raykd.results.journal import Journal
from raykd.results.points import GenerationRecord
from raykd.worker.checkpoints import Checkpoints, Position, Saved
from raykd.worker.lineage import Lineage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResumeState:
    """How far a point is: its finished generations, and the checkpoint that the next one goes on from."""

    records: list[GenerationRecord]
    saved: Saved | None


def load_resume_state(checkpoints: Checkpoints, lineage: Lineage) -> ResumeState:
    """How far a point is, as far as it can be gone on from.

    A student that goes on through generations needs its optimiser: the generations after its newest checkpoint are
    trained again, all of them if it has none.
    """
    checkpoints.clear_staging()
    records, has = _load_generations(checkpoints), checkpoints.store.has
    per_generation = lineage.config.epochs_per_generation
    goes_on = lineage.config.student_init == "previous"

    def is_there(count: int) -> bool:
        return all(has(name) for name in lineage.needed(records[:count]))

    def num_done(position: Position) -> int:
        return position.generation - (position.generation_epochs < per_generation)

    def fits(position: Position) -> bool:
        epochs = (position.generation - 1) * per_generation + position.generation_epochs
        best = position.best_artifact
        return position.epochs == epochs and (best is None or has(best))

    def fits_student(position: Position) -> bool:
        return 1 <= position.generation <= len(records) + 1 and is_there(num_done(position)) and fits(position)

    if lineage.is_done(records) and is_there(len(records)):
        return ResumeState(records, None)
    if goes_on:
        saved = checkpoints.newest(fits_student)
        return ResumeState(records[: num_done(saved.position)] if saved is not None else [], saved)
    records = records[: next(count for count in range(len(records), -1, -1) if is_there(count))]
    return ResumeState(records, checkpoints.newest(lambda at: at.generation == len(records) + 1 and fits(at)))


def _load_generations(checkpoints: Checkpoints) -> list[GenerationRecord]:
    """The finished generations, up to the first that is not the next one."""
    try:
        records = Journal(checkpoints.store).points.generations(checkpoints.point_id)
    except ArtifactError as error:
        log.warning("the generations of point %s are trained again: %s", checkpoints.point_id, error)
        return []
    numbered = enumerate(records, start=1)
    return [record for number, record in itertools.takewhile(lambda each: each[1].index == each[0], numbered)]
