"""A sweep as its records tell it: finished, unfinished, partly failed or empty. Needs neither Ray nor torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from raykd.results.epochs import EpochReport
from raykd.results.journal import Journal
from raykd.results.points import PointDescription, PointResult, PointState, Status
from raykd.results.settings import Settings
from raykd.results.sweep import BaseScores, SweepDescription
from raykd.results.tests import BaseTest, PointTest, current
from raykd.tasks.outcomes import Outcomes, Scores


@dataclass(frozen=True)
class PointRecord:
    """One point.

    Attributes:
        result: None while its state is not `finished`.
        epochs: the reports of its epochs so far, in order, where they were read.
        outcomes: what became of every example of the selection set, where that was read; None where there are none.
        tests: test set -> scores of what it delivered. Shown, and never chosen by.
        test_outcomes: test set -> what became of every example, where that was read.
    """

    description: PointDescription
    state: PointState
    result: PointResult | None
    epochs: tuple[EpochReport, ...] = ()
    outcomes: Outcomes | None = None
    tests: Mapping[str, PointTest] = field(default_factory=dict)
    test_outcomes: Mapping[str, Outcomes] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its name in the folder of results."""
        return self.description.id

    @property
    def method(self) -> str:
        """Its method's name in the sweep file."""
        return self.description.method

    @property
    def label(self) -> str:
        """Method and searched values."""
        return self.description.label

    @property
    def settings(self) -> Settings:
        """What readers need of its configuration."""
        return self.description.settings

    @property
    def status(self) -> Status:
        """How it stands. A sweep runs a finished point again whose result is gone."""
        return "pending" if self.state.status == "finished" and self.result is None else self.state.status

    @property
    def scores(self) -> Scores | None:
        """Its scores; None while it is not finished."""
        return self.result.scores if self.result is not None else None

    @property
    def main_score(self) -> float | None:
        """The score that points are compared by; None where there is none."""
        return self.result.scores.main_value if self.result is not None else None


@dataclass(frozen=True)
class SweepRecords:
    """What a folder of results holds.

    Attributes:
        points: those of the sweep as it was run last.
        bases: the scores of each generation 0 of these on the selection set.
        base_tests: those on test sets.
    """

    root: Path | str
    description: SweepDescription
    points: tuple[PointRecord, ...]
    bases: tuple[BaseScores, ...]
    base_tests: tuple[BaseTest, ...] = ()

    @property
    def test_sets(self) -> dict[str, str]:
        """Name of each test set that something was scored on -> heading of its main score."""
        found: dict[str, str] = {}
        for point in self.points:
            found |= {name: test.scores.main_heading for name, test in point.tests.items()}
        for base in self.base_tests:
            found[base.name] = base.scores.main_heading
        return dict(sorted(found.items()))

    def on_test(self, name: str) -> "SweepRecords":
        """The same sweep with a test set in the place of the selection set: to show it, never to choose by it.

        A point that was not scored on it has no result there.
        """
        bases = [
            replace(base, final=test.scores, outcomes=test.outcomes, epoch=None)
            for base in self.bases
            for test in self.base_tests
            if (test.base, test.name) == (base.base, name)
        ]
        return replace(self, points=tuple(_on_test(point, name) for point in self.points), bases=tuple(bases))

    @property
    def scored(self) -> tuple[Scores, ...]:
        """All scores, those of points first."""
        of_points = (point.result.scores for point in self.points if point.result is not None)
        return (*of_points, *(base.final for base in self.bases))

    @property
    def main(self) -> str | None:
        """The score that points are compared by; None while nothing was scored."""
        return self.scored[0].main if self.scored else None

    @property
    def columns(self) -> dict[str, str]:
        """Score -> its heading; empty while nothing was scored."""
        return dict(self.scored[0].columns) if self.scored else {}


def _on_test(point: PointRecord, name: str) -> PointRecord:
    test = point.tests.get(name)
    if point.result is None or test is None:
        return replace(point, result=None, outcomes=None)
    return replace(point, result=replace(point.result, scores=test.scores), outcomes=point.test_outcomes.get(name))


def read_records(root: Path | str, *, whole: bool = True) -> SweepRecords:
    """The records of a place of results, a folder or a URL, at whatever moment of a run.

    A state is read before the result that it promises, so a finished point always has its result.

    Args:
        whole: read epochs and outcomes too, which are most of what there is.

    Raises:
        ConfigError: if there is no sweep.
        ArtifactError: if a record is damaged.
    """
    journal = Journal.at(root)
    read = read_whole_point if whole else read_point
    points = tuple(read(journal, point_id) for point_id in journal.current_point_ids())
    known = {point.description.base for point in points}
    bases = tuple(found for found in journal.sweep.base_scores() if found.base in known)
    tests = [found for found in journal.tests.of_bases() if found.base in known]
    digests = current([*(test for point in points for test in point.tests.values()), *tests])
    return SweepRecords(
        journal.store.root,
        journal.sweep.read(),
        tuple(_as_now(point, digests) for point in points),
        bases,
        tuple(test for test in tests if digests[test.name] == test.digest),
    )


def _as_now(point: PointRecord, digests: Mapping[str, str]) -> PointRecord:
    """A point without scores on what a test set held before."""
    kept = {name: test for name, test in point.tests.items() if digests[name] == test.digest}
    outcomes = {name: each for name, each in point.test_outcomes.items() if name in kept}
    return point if kept == point.tests else replace(point, tests=kept, test_outcomes=outcomes)


def read_point(journal: Journal, point_id: str) -> PointRecord:
    """A point without its epochs and outcomes, with its test scores.

    Raises:
        ArtifactError: if a record is missing or damaged.
    """
    described, state = journal.points.description(point_id), journal.points.state(point_id)
    # A result counts from the moment that the state says so, for every reader.
    result = journal.points.result(point_id) if state.status == "finished" else None
    tests = journal.tests.of(point_id) if result is not None else {}
    # What an earlier try delivered is not this point's any more.
    tests = {name: test for name, test in tests.items() if result is not None and test.artifact == result.artifact}
    return PointRecord(described, state, result, tests=tests)


def read_whole_point(journal: Journal, point_id: str) -> PointRecord:
    """A point with all that was recorded of it.

    Raises:
        ArtifactError: if a record is missing or damaged.
    """
    found = read_point(journal, point_id)
    epochs, outcomes = tuple(journal.epochs.of(point_id)), journal.points.outcomes(point_id)
    read = {name: journal.tests.outcomes(point_id, name) for name in found.tests}
    tested = {name: each for name, each in read.items() if each is not None}
    return replace(found, epochs=epochs, outcomes=outcomes, test_outcomes=tested)
