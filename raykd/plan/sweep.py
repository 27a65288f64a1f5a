"""The sweep file: a base point, methods that change it, and a search space over its keys."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SerializeAsAny, model_validator

from raykd.config.base import Config
from raykd.config.point import PointBase
from raykd.config.trackers import TrackersConfig
from raykd.errors import ConfigError
from raykd.storage.location import location


class Grid(Config):
    """Every value; dimensions multiply. A bare list in the file means the same."""

    grid: Annotated[tuple[Any, ...], Field(min_length=1)]


class Choice(Config):
    """One of the values at random."""

    choice: Annotated[tuple[Any, ...], Field(min_length=1)]


def _rising(bounds: tuple[Any, Any]) -> tuple[Any, Any]:
    if bounds[0] >= bounds[1]:
        raise ValueError(f"the first bound, {bounds[0]}, must be below the second, {bounds[1]}")
    return bounds


class Uniform(Config):
    """A number between two bounds."""

    uniform: Annotated[tuple[float, float], AfterValidator(_rising)]


class LogUniform(Config):
    """A positive number between two bounds, uniform in its logarithm."""

    log_uniform: Annotated[tuple[Annotated[float, Field(gt=0)], float], AfterValidator(_rising)]


class IntRange(Config):
    """A whole number between two bounds, both included."""

    int_range: Annotated[tuple[int, int], AfterValidator(_rising)]


Dimension = Grid | Choice | Uniform | LogUniform | IntRange


class Asha(Config):
    """Asynchronous successive halving on the number of epochs that a point has done.

    With optuna it is the number over the seeds of a suggestion, one after another, so a hopeless one ends after its
    first ones.
    """

    grace_epochs: int = Field(1, ge=1)
    """Epochs that every point gets, or every suggestion of optuna."""
    reduction_factor: float = Field(3, gt=1)
    """One in so many points goes on at each rung."""


class Race(Config):
    """When a race gives a configuration up, and when it ends."""

    level: float = Field(0.05, gt=0, lt=1)
    """Chance that any configuration goes out in the whole race that is no worse than the one it lost to."""
    min_seeds: int = Field(2, ge=2)
    """Seeds that every configuration gets."""
    min_items: int = Field(50, ge=2)
    """Items of the selection set below which none goes out."""
    margin: float = Field(0.5, ge=0)
    """The race ends when none of the rest is more than so many points of the main score better than the leader."""


class SearchConfig(Config):
    """How the points are chosen and run."""

    algorithm: Literal["grid", "random", "optuna", "race"] = "grid"
    """grid: every combination; random: `num_points` draws; optuna: `num_points` of its TPE sampler, which goes by the
    mean over seeds; race: a grid, or `num_points` draws, that meet `seeds` one after another until they lose to the
    best beyond doubt. Each budget has a race of its own."""
    num_points: int | None = Field(None, ge=1)
    """Draws for random, optuna, and a race with anything to sample; each of them runs with every seed."""
    space: dict[str, Dimension] = Field(default_factory=dict)
    """Key of a point (like `distillation.temperature`) -> values."""
    race: Race = Race()
    scheduler: Asha | None = None
    """Early stopping; null: every point runs to its end."""
    seed: int = 0
    """Seed of what is drawn."""
    max_concurrent: int | None = Field(None, ge=1)
    """Points that run at once; null: as many as fit."""
    max_attempts: int = Field(3, ge=1)
    """Failures after which a point is given up, and deaths of its process in a row that count as a failure. Attempts
    that ended because the whole sweep was killed do not count."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        grids = [key for key, dimension in self.space.items() if isinstance(dimension, Grid)]
        draws = [key for key, dimension in self.space.items() if not isinstance(dimension, Grid)]
        if self.algorithm == "grid" and draws:
            raise ValueError(f"algorithm grid cannot sample {', '.join(draws)}: list values, or use random or optuna")
        if self.algorithm == "grid" and self.num_points:
            raise ValueError("num_points needs algorithm random or optuna")
        if self.algorithm == "race" and draws and not self.num_points:
            raise ValueError(f"algorithm race needs num_points to sample {', '.join(draws)}")
        if self.algorithm == "race" and self.num_points and not draws:
            raise ValueError(
                "algorithm race takes num_points only where it samples: remove it, or add choice or a range"
            )
        if self.algorithm == "race" and self.scheduler:
            raise ValueError("algorithm race takes no scheduler: it compares points that ran to their end")
        if self.algorithm != "race" and self.race != Race():
            raise ValueError("race needs algorithm race")
        if self.algorithm in ("grid", "race"):
            return self
        if not self.num_points:
            raise ValueError(f"algorithm {self.algorithm} needs num_points")
        if self.algorithm == "optuna" and grids:
            raise ValueError(f"algorithm optuna does not take a grid ({', '.join(grids)}); use choice instead of grid")
        if not draws:
            raise ValueError(
                f"algorithm {self.algorithm} has nothing to sample: add choice, uniform, log_uniform or int_range"
            )
        return self


def _place(text: str) -> str:
    try:
        location(text)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return text


class SweepKeys(Config):
    """The keys of a file that belong to the whole sweep; those of its point stand beside them."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the sweep; it names the folder of its results."""
    storage: Annotated[str, AfterValidator(_place)] | None = None
    """Where results go: a folder, `s3://BUCKET/FOLDER` or `gs://BUCKET/FOLDER`; null is `runs/NAME` here."""
    preset: str | None = None
    """A named set of defaults of the task, like `legacy`, the settings of the released G-XLT code. Keys of the file
    override it."""
    methods: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Name -> keys that this method changes. Every method is crossed with the search space and the seeds."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] | None = None
    """Seeds to repeat every configuration with; the leaderboard gives mean and deviation over them."""
    search: SearchConfig = SearchConfig()
    trackers: TrackersConfig = TrackersConfig()

    def place(self, storage: str | Path | None = None) -> Path | str:
        """Where results go, folder or URL: `storage`, the file's own, or `runs/NAME` in the current folder."""
        return location(storage or self.storage or Path("runs") / self.name)

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if self.search.algorithm == "race":
            self._can_race()
        of_its_own = [name for name, change in self.methods.items() if "seed" in change]
        if self.search.algorithm in ("race", "optuna") and len(self.seeds or ()) > 1 and of_its_own:
            raise ValueError(
                f"algorithm {self.search.algorithm} gives every configuration the same seeds: remove `seed` from "
                f"method {of_its_own[0]}"
            )
        if self.seeds and len(set(self.seeds)) != len(self.seeds):
            raise ValueError("a seed is listed twice")
        return self

    def _can_race(self) -> None:
        num, least = len(self.seeds or ()), self.search.race.min_seeds
        if num < least:
            raise ValueError(
                f"algorithm race needs at least {least} seeds (search.race.min_seeds), like "
                f"`seeds: {list(range(1, least + 1))}`; got {num}"
            )


class SweepConfig(SweepKeys):
    """A sweep file: `methods` and `search` vary its point."""

    point: SerializeAsAny[PointBase]
    """The file's own point. Its keys stand at the top level of the file."""

    def to_json(self, *, exclude_defaults: bool = False) -> dict[str, Any]:
        """The keys of the file, every default written out or all of them left out."""
        keys = self.model_dump(mode="json", exclude_defaults=exclude_defaults)
        return {**({} if exclude_defaults else {"task": self.point.task}), **keys.pop("point"), **keys}
