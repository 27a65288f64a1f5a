"""The driver of a lineage: which generation comes next, who teaches it and where its student starts. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from raykd.config.point import LineageConfig
from raykd.results.points import GenerationRecord


@dataclass(frozen=True)
class GenerationSpec:
    """What the next generation does.

    Attributes:
        index: from 1.
        teachers: fingerprints of those that teach it.
        start: `continue` with the student in memory, optimiser and schedule too, or load weights afresh.
        start_from: where to load from: fingerprint of an artifact, or None for the lineage's first student.
    """

    index: int
    teachers: tuple[str, ...]
    start: Literal["continue", "load"]
    start_from: str | None


@dataclass(frozen=True)
class Lineage:
    """The rules of one lineage.

    Attributes:
        base: fingerprint of generation 0.
        base_score: its dev score on the epoch sample; None where none was taken.
        first_teachers: who teaches generation 1, where that is not generation 0 itself.
        generation_zero: the models of generation 0, where these are not `first_teachers`.
    """

    config: LineageConfig
    base: str
    base_score: float | None = None
    first_teachers: tuple[str, ...] = ()
    generation_zero: tuple[str, ...] = ()

    def next(self, records: Sequence[GenerationRecord]) -> GenerationSpec | None:
        """The generation after those recorded, or None when the lineage is done."""
        index = len(records) + 1
        if index > self.config.num_generations or self._out_of_patience(records):
            return None
        goes_on = self.config.student_init == "previous" and index > 1
        teachers = self._teachers(records)
        # An ensemble has no weights of its own: its newest member stands for it.
        newest = self._chosen(records)[-1]
        start_from = newest if self.config.student_init == "teacher" and newest != self.base else None
        return GenerationSpec(
            index=index, teachers=teachers, start="continue" if goes_on else "load", start_from=start_from
        )

    def promoted(self, records: Sequence[GenerationRecord]) -> list[str]:
        """Fingerprints of the generations that may teach, generation 0 first."""
        chain, score = [self.base], self.base_score
        for record in records:
            if self._rises(record, score):
                chain.append(record.artifact)
                score = record.dev_score
        return chain

    def final(self, records: Sequence[GenerationRecord]) -> str:
        """Fingerprint of what the lineage delivers: the newest student that was promoted.

        Where there is none it is generation 0, or the best student if generation 0 is several models.
        """
        newest, zero = self.promoted(records)[-1], self.generation_zero or self.first_teachers or (self.base,)
        if newest != self.base or not records:
            return newest
        best = max(records, key=lambda record: (record.dev_score, -record.index))
        return zero[0] if len(zero) == 1 else best.artifact

    def _rises(self, record: GenerationRecord, score: float | None) -> bool:
        if self.config.min_delta is None or score is None or record.dev_score is None:
            return True
        return record.dev_score >= score + self.config.min_delta

    def _out_of_patience(self, records: Sequence[GenerationRecord]) -> bool:
        if self.config.min_delta is None or not records:
            return False
        chain = set(self.promoted(records))
        recent = [record.artifact in chain for record in records[-self.config.patience :]]
        return len(recent) == self.config.patience and not any(recent)

    def _teachers(self, records: Sequence[GenerationRecord]) -> tuple[str, ...]:
        first = self.first_teachers or (self.base,)
        chosen = self._chosen(records)
        teachers = tuple(name for each in chosen for name in (first if each == self.base else (each,)))
        return (*teachers, *(name for name in first if self.config.keep_first_teachers and name not in teachers))

    def _chosen(self, records: Sequence[GenerationRecord]) -> tuple[str, ...]:
        """Generations that teach, `base` standing for the first teachers."""
        chain = self.promoted(records)
        if self.config.teacher == "fixed":
            return (self.base,)
        if self.config.teacher == "ensemble":
            return tuple(chain)
        if self.config.teacher == "best":
            scored = [
                (record.best_score, -record.index, record.best_artifact)
                for record in records
                if record.best_artifact is not None and record.best_score is not None
            ]
            best_score, _, artifact = max(scored, default=(None, 0, self.base))
            if best_score is None or self.base_score is None or best_score > self.base_score:
                return (artifact,)
            return (self.base,)
        return (chain[-1],)


class Driver:
    """Stays in charge of a lineage while workers run it: hears of the finished generations, says what comes next."""

    def __init__(self, lineage: Lineage) -> None:
        self.lineage = lineage
        self.records: tuple[GenerationRecord, ...] = ()

    def next(self, records: Sequence[GenerationRecord]) -> GenerationSpec | None:
        """Take the records of the generations that are finished, and answer with the one to run, or None."""
        self.records = tuple(records)
        return self.lineage.next(self.records)
