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

    def is_there(count: int, best: str | None = None) -> bool:
        return all(has(name) for name in lineage.needed(records[:count], best=best))

    def fits(position: Position) -> bool:
        """Whether all is there that goes on from a position, whose generation is one that may come next."""
        under_way = position.generation_epochs < per_generation
        epochs = (position.generation - 1) * per_generation + position.generation_epochs
        if position.epochs != epochs or not 1 <= position.generation <= len(records) + 1:
            return False
        best = position.best_artifact
        is_recorded = position.generation <= len(records) and not under_way
        count = position.generation if is_recorded else position.generation - 1
        return (best is None or has(best)) and is_there(count, None if is_recorded else best)

    def fits_next(position: Position) -> bool:
        return position.generation == len(records) + 1 and fits(position)

    if lineage.is_done(records) and is_there(len(records)):
        return ResumeState(records, None)
    if goes_on:
        saved = checkpoints.newest(fits)
        if saved is None:
            records = []
        else:
            records = records[: saved.position.generation - (saved.position.generation_epochs < per_generation)]
    else:
        saved = checkpoints.newest(fits_next)
        while saved is None and not is_there(len(records)):
            records = records[:-1]
            saved = checkpoints.newest(fits_next)
    checkpoints.forget_after(saved)
    return ResumeState(records, saved)


def _load_generations(checkpoints: Checkpoints) -> list[GenerationRecord]:
    """The finished generations, up to the first that is not the next one."""
    try:
        records = Journal(checkpoints.store).points.generations(checkpoints.point_id)
    except ArtifactError as error:
        log.warning("the generations of point %s are trained again: %s", checkpoints.point_id, error)
        return []
    numbered = enumerate(records, start=1)
    return [record for number, record in itertools.takewhile(lambda each: each[1].index == each[0], numbered)]
