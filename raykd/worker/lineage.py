"""The driver of a lineage: which generation comes next, who teaches it and where its student starts. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
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
        holds: students of earlier generations that it or a later one reads, whatever its own best epoch is.
    """

    index: int
    teachers: tuple[str, ...]
    start: Literal["continue", "load"]
    start_from: str | None
    holds: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True)
class Lineage:
    """The rules of one lineage.

    Attributes:
        base: fingerprint of generation 0.
        base_score: its dev score on the epoch sample; None where none was taken.
        first_teachers: who teaches generation 1, where that is not generation 0 itself.
        generation_zero: the models of generation 0, where these are not `first_teachers`.
        delivers: the student after its best epoch, or after the last one.
    """

    config: LineageConfig
    base: str
    base_score: float | None = None
    first_teachers: tuple[str, ...] = ()
    generation_zero: tuple[str, ...] = ()
    delivers: Literal["best", "last"] = "last"

    def next(self, records: Sequence[GenerationRecord]) -> GenerationSpec | None:
        """The generation after those recorded, or None when the lineage is done."""
        index = len(records) + 1
        if self.is_done(records):
            return None
        goes_on = self.config.student_init == "previous" and index > 1
        teachers = self._teachers(records)
        # An ensemble has no weights of its own: its newest member stands for it.
        newest = self._chosen(records)[-1]
        start_from = newest if self.config.student_init == "teacher" and newest != self.base else None
        read = {*teachers, *([start_from] if start_from is not None else [])}
        if self.config.min_delta is not None:
            # The newest that passed may teach again when the generation after it does not.
            read.add(self.promoted(records)[-1])
        return GenerationSpec(
            index=index,
            teachers=teachers,
            start="continue" if goes_on else "load",
            start_from=start_from,
            holds=frozenset(read & {name for record in records for name in record.artifacts}),
        )

    def is_done(self, records: Sequence[GenerationRecord]) -> bool:
        """Whether no generation comes after those recorded."""
        goes_on = self.config.student_init == "previous"
        return (
            len(records) >= self.config.num_generations
            or (goes_on and any(record.ended_early for record in records))
            or self._out_of_patience(records)
        )

    def needed(self, records: Sequence[GenerationRecord], *, best: str | None = None) -> frozenset[str]:
        """Artifacts of the generations recorded that a later one may read, or that may be delivered.

        Args:
            best: of the generation after them, if that has had a better epoch than all of these.
        """
        following = self.next(records)
        deliverable = {self.final(records)} & {name for record in records for name in record.artifacts}
        if following is None:
            return frozenset(deliverable)
        return following.holds if best is not None else following.holds | deliverable

    def promoted(self, records: Sequence[GenerationRecord]) -> list[str]:
        """Fingerprints of the generations that may teach, generation 0 first."""
        chain, score = [self.base], self.base_score
        for record in records:
            if self._rises(record, score):
                chain.append(record.artifact)
                score = record.dev_score
        return chain

    def final(self, records: Sequence[GenerationRecord]) -> str:
        """Fingerprint of what the lineage delivers: the student after its best epoch, or the newest that was promoted.

        Under a gate that no student passed it is generation 0, or the best student if generation 0 is several models.
        """
        if not records:
            return self.base
        zero = self.generation_zero or self.first_teachers or (self.base,)
        score, best = self._best(records)
        if self.delivers == "best" and best is not None and score is not None:
            delta, before = self.config.min_delta, self.base_score
            fails = delta is not None and before is not None and score < before + delta
            return zero[0] if fails and len(zero) == 1 else best
        newest = self.promoted(records)[-1]
        if newest != self.base:
            return newest
        highest = max(records, key=lambda record: (record.dev_score, -record.index))
        return zero[0] if len(zero) == 1 else highest.artifact

    @staticmethod
    def _best(records: Sequence[GenerationRecord]) -> tuple[float | None, str | None]:
        """The best epoch so far: its score and its student. Of equal ones it is the first."""
        scored = [
            (record.best_score, -record.index, record.best_artifact)
            for record in records
            if record.best_artifact is not None and record.best_score is not None
        ]
        if not scored:
            return None, None
        score, _, artifact = max(scored)
        return score, artifact

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
            best_score, artifact = self._best(records)
            if artifact is not None and (best_score is None or self.base_score is None or best_score > self.base_score):
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
