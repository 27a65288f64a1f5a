"""What is recorded of a sweep as a whole: what is run, what a run does for all points, and generation 0."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raykd.data.hub import pin
from raykd.errors import ConfigError, DataError
from raykd.results import version_1
from raykd.results.artifacts import Store
from raykd.results.record import VERSION, Record
from raykd.results.settings import Settings
from raykd.tasks.outcomes import Outcomes, Scores

SWEEP = "sweep.json"


@dataclass(frozen=True)
class NodeKind:
    """Nodes of a cluster that are alike: how many, and what each of them has."""

    count: int
    cpus: float
    gpus: float
    memory_gib: int
    accelerators: tuple[str, ...]


@dataclass(frozen=True)
class Hardware:
    """What a sweep ran on: the processor of the machine that began it, and the nodes of its cluster."""

    processor: str
    nodes: tuple[NodeKind, ...]


@dataclass(frozen=True)
class Commit:
    """The Git commit of the sweep file's folder, and whether tracked files differed from it."""

    commit: str
    changed: bool


@dataclass(frozen=True, kw_only=True)
class SweepDescription(Record, version=2):
    """What was run last in a folder of results.

    Attributes:
        config: the resolved sweep file, as JSON holds it.
        points: ids of the points of the file, in its order; empty where a searcher chooses them.
        versions: package -> version.
        data: data set -> its hash, and the commits of the Hub, see `raykd.data.hub.noted`.
        source: None where the file lies in no Git repository.
        started: when, in seconds of the Unix clock.
        folder: of the sweep file, where relative paths start; None where nobody recorded it.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    points: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    hardware: Hardware | None = None
    source: Commit | None = None
    started: float | None = None
    folder: str | None = None

    @property
    def settings(self) -> Settings:
        """What readers need of the file."""
        return Settings(self.config)


@dataclass(frozen=True, kw_only=True)
class Activity(Record, version=1):
    """What a run does beside its points, which tell of themselves.

    Attributes:
        run: its number.
        doing: what it makes for all points; None where nothing.
        at_once: how many points it runs at a time; None while that is not known.
        waiting: a reason for each thing that it needs and has not got.
    """

    run: int
    doing: str | None = None
    at_once: int | None = None
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BaseScores(Record, version=3):
    """Generation 0 of some points, scored once for all of them.

    Attributes:
        base: names it, see `raykd.config.identity.Identity.zero`.
        model: what it began as.
        final: scores on what points are scored on; `epoch` those on the epoch sample, None where there is none.
        outcomes: of the final scores.
    """

    base: str
    model: str
    final: Scores
    epoch: Scores | None = None
    outcomes: Outcomes | None = None

    @classmethod
    def upgraded(cls, content: Any) -> Any:
        return version_1.base_scores(content) if content.get(VERSION, 1) == 1 else content


@dataclass(frozen=True)
class SweepFiles:
    """Reads and writes what is recorded of a sweep as a whole."""

    store: Store

    def exists(self) -> bool:
        """Whether `write` was ever called here."""
        return self.store.exists(SWEEP)

    def read(self) -> SweepDescription:
        """What `write` recorded.

        Raises:
            ConfigError: if the place holds no sweep.
        """
        found = self.store.find_record(SWEEP, SweepDescription)
        if found is None:
            root = self.store.root
            raise ConfigError(
                f"{root}: not a results folder, it has no {SWEEP}; give the folder of a sweep, e.g. runs/NAME"
            )
        return found

    def write(self, description: SweepDescription) -> None:
        """Record what is run."""
        self.store.write_record(SWEEP, description)

    def unchanged(self, data: Mapping[str, str]) -> dict[str, str]:
        """The hashes of all data sets that this folder's points were made from, with further ones.

        Raises:
            DataError: if one has changed since.
        """
        recorded = self.read().data if self.exists() else {}
        changed = [name for name, digest in data.items() if recorded.get(name, digest) != digest]
        if changed:
            raise DataError(
                f"{name}: changed since {self.store.root} was begun; restore it, or use another storage"
                for name in changed
            )
        return {**recorded, **data}

    def pin_commits(self) -> None:
        """Names of the Hub stand in this process for the commits that they stood for when the folder was begun."""
        pin(self.read().data if self.exists() else {})

    def activity(self) -> Activity | None:
        """What a run wrote last; None before."""
        return self.store.find_record("activity.json", Activity)

    def write_activity(self, activity: Activity) -> None:
        """Record what a run does beside its points."""
        self.store.write_record("activity.json", activity)

    def base_scores(self) -> list[BaseScores]:
        """Every generation 0 that was scored."""
        return [self.store.read_record(f"scores/{name}", BaseScores) for name in self.store.children("scores")]
