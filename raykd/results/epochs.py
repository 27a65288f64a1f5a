"""The reports of a point's epochs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any, ClassVar

from raykd.results import version_1
from raykd.results.artifacts import Store
from raykd.results.record import Record


@dataclass(frozen=True, kw_only=True)
class EpochReport(Record, version=3):
    """What a worker says at the end of an epoch. Losses are means over its steps, in nats; times are in seconds.

    Attributes:
        epoch: from 1, over the whole lineage; `num_epochs` is its last one.
        generation: from 1.
        loss: the weighted sum of the terms.
        label_loss, kd_loss: the terms before they are weighted; 0 where a term was off.
        parts: what the KD term is made of, where the task reports that.
        label_weight, kd_weight: of the terms, in the middle of the epoch.
        coefficient: what the KD term of an example was multiplied with, mean over examples; None without a teacher.
        dev_score: main score on the epoch sample; None where none was taken.
        watched: what else was found on that sample, see `Scores`.
        train_seconds: the steps alone. `elapsed_seconds` is since this process began with the point, `seconds_left` an
            estimate of how long it still takes.
        gpu_memory_bytes: the most that rank 0 held so far; None on a CPU.
        written: when, in seconds of the Unix clock.
        teachers: artifacts that taught.
        losses: [steps][terms] of every step: loss, label term, KD term, its parts. Not in what a cluster is told.
        coefficients: [steps][2] mean and standard deviation over the examples of a step, of the last steps where the
            epoch was resumed; none where it cannot vary. Not in what a cluster is told either.
    """

    MEASURED: ClassVar[tuple[str, ...]]
    """The fields of `measurements`."""
    _TOLD: ClassVar[tuple[str, ...]]

    epoch: int
    num_epochs: int
    generation: int
    loss: float
    label_loss: float
    kd_loss: float
    parts: Mapping[str, float]
    label_weight: float
    kd_weight: float
    coefficient: float | None
    dev_score: float | None
    watched: Mapping[str, float]
    examples_per_second: float
    tokens_per_second: float
    train_seconds: float
    elapsed_seconds: float
    seconds_left: float
    gpu_memory_bytes: int | None
    written: float
    teachers: tuple[str, ...] = ()
    losses: list[list[float]] = field(default_factory=list)
    coefficients: list[list[float]] = field(default_factory=list)

    @classmethod
    def upgraded(cls, content: Any) -> Any:
        return version_1.epoch_report(content)

    def metrics(self) -> dict[str, Any]:
        """What changes from epoch to epoch, by the name of its field: all but the losses of single steps."""
        return {name: getattr(self, name) for name in self._TOLD}

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any]) -> "EpochReport":
        """The report whose `metrics` these are, whatever a cluster has added to them."""
        return cls(**{name: metrics[name] for name in cls._TOLD})

    def measurements(self) -> dict[str, Any]:
        """What was measured in the epoch, by the name of its field; `parts` and `watched` hold several numbers."""
        return {name: getattr(self, name) for name in self.MEASURED}


EpochReport._TOLD = tuple(each.name for each in fields(EpochReport) if each.name not in ("losses", "coefficients"))
EpochReport.MEASURED = tuple(name for name in EpochReport._TOLD if name not in ("num_epochs", "teachers"))


@dataclass(frozen=True)
class EpochFiles:
    """Reads and writes the reports; those of a point are written by the trial that runs it alone."""

    store: Store

    def of(self, point_id: str) -> Iterator[EpochReport]:
        """The reports of a point's epochs, in order."""
        for name in self.store.children(self._folder(point_id)):
            yield self.store.read_record(self._folder(point_id) / name, EpochReport)

    def last(self, point_id: str) -> int:
        """The highest number of an epoch that was reported; 0 before the first."""
        return int(max(self.store.children(self._folder(point_id)), default="0").partition(".")[0])

    def find(self, point_id: str, epoch: int) -> EpochReport | None:
        """The report of one epoch, None where there is none."""
        return self.store.find_record(self._file(point_id, epoch), EpochReport)

    def write(self, point_id: str, report: EpochReport) -> None:
        """Record one epoch; a repeated epoch replaces its report."""
        self.store.write_record(self._file(point_id, report.epoch), report)

    def written(self, point_id: str) -> dict[int, float]:
        """Number of each epoch that was reported -> when its file was written, in seconds of the storage's clock."""
        found = self.store.files(self._folder(point_id))
        return {
            int(name.removesuffix(".json")): file.changed for name, file in found.items() if not name.startswith(".")
        }

    def _folder(self, point_id: str) -> PurePosixPath:
        return self.store.point(point_id) / "epochs"

    def _file(self, point_id: str, epoch: int) -> PurePosixPath:
        return self._folder(point_id) / f"{epoch:04d}.json"
