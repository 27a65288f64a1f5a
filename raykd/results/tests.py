"""Scores on test sets. They lie beside the results of points, and nothing that chooses reads them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from raykd.results.artifacts import Store
from raykd.results.record import Record
from raykd.tasks.outcomes import Outcomes, Scores

_BASES = PurePosixPath("test-scores")


@dataclass(frozen=True, kw_only=True)
class PointTest(Record, version=1):
    """What a point delivered, scored on a test set.

    Attributes:
        name: of the set, in the sweep file.
        digest: says what the set holds.
        artifact: fingerprint of what was scored.
        written: when, in seconds of the Unix clock.
    """

    name: str
    digest: str
    artifact: str
    scores: Scores
    written: float = 0.0


@dataclass(frozen=True)
class PointTestOutcomes(Record, version=1):
    """What became of every example of a test set."""

    outcomes: Outcomes


@dataclass(frozen=True, kw_only=True)
class BaseTest(Record, version=1):
    """Generation 0 of some points, scored on a test set.

    Attributes:
        name: of the set; `digest` says what it holds.
        base: names generation 0, see `raykd.config.identity.Identity.zero`.
        written: when, in seconds of the Unix clock.
    """

    name: str
    digest: str
    base: str
    scores: Scores
    outcomes: Outcomes
    written: float = 0.0


def current(tests: Iterable[PointTest | BaseTest]) -> dict[str, str]:
    """Name of each test set -> digest of what it holds now; what went by this name before is not shown any more."""
    newest = sorted(tests, key=lambda test: test.written)
    return {test.name: test.digest for test in newest}


@dataclass(frozen=True)
class FilesOfTests:
    """Reads and writes the scores on test sets."""

    store: Store

    def of(self, point_id: str) -> dict[str, PointTest]:
        """Name of each test set that a point was scored on -> its scores."""
        found = {name: self.find(point_id, name) for name in self.store.children(self._folder(point_id))}
        return {name: test for name, test in found.items() if test is not None}

    def find(self, point_id: str, name: str) -> PointTest | None:
        """The scores of what a point delivered on a test set; None where there are none."""
        return self.store.find_record(self._folder(point_id) / name / "scores.json", PointTest)

    def holds(self, point_id: str, name: str, digest: str, artifact: str) -> bool:
        """Whether this artifact was scored on this set."""
        found = self.find(point_id, name)
        return found is not None and (found.digest, found.artifact) == (digest, artifact)

    def outcomes(self, point_id: str, name: str) -> Outcomes | None:
        """What became of every example of a test set; None where there is nothing."""
        found = self.store.find_record(self._folder(point_id) / name / "outcomes.json", PointTestOutcomes)
        return found.outcomes if found is not None else None

    def write(self, point_id: str, test: PointTest, outcomes: Outcomes) -> None:
        """Record the scores of a point on a test set; those on an earlier set of this name are replaced."""
        folder = self._folder(point_id) / test.name
        # The scores promise the rest.
        self.store.write_record(folder / "outcomes.json", PointTestOutcomes(outcomes))
        self.store.write_record(folder / "scores.json", test)

    def of_bases(self) -> Iterator[BaseTest]:
        """Every generation 0 on every test set that it was scored on."""
        for name in self.store.children(_BASES):
            yield self.store.read_record(_BASES / name, BaseTest)

    def _folder(self, point_id: str) -> PurePosixPath:
        return self.store.point(point_id) / "tests"
