"""All trackers of a sweep, as the sweep knows them."""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Self

from raykd.config.trackers import MlflowConfig, TrackersConfig, WandbConfig
from raykd.errors import ConfigError
from raykd.plan.sweep import SweepConfig
from raykd.results.journal import Journal
from raykd.trackers.follower import Follower, Tracker
from raykd.trackers.run import Ledger

FLUSH_SECONDS = 10.0
"""How long the end of a sweep waits for trackers that are behind."""
HURRIED_SECONDS = 1.5
"""The same where the sweep was stopped: `ray job stop` kills after three seconds."""


def check_trackers(config: TrackersConfig) -> None:
    """Find what is wrong with the trackers of a sweep before anything starts.

    Raises:
        ConfigError: if a library is missing, a server does not answer, or nobody is logged in.
    """
    problems = [
        f"trackers.{name}: the package {name} is not installed; pip install 'raykd[{name}]', or take the section out"
        for name in ("mlflow", "wandb")
        if getattr(config, name) is not None and importlib.util.find_spec(name) is None
    ]
    if problems:
        raise ConfigError(problems)
    if config.mlflow is not None:
        from raykd.trackers import mlflow

        mlflow.check(config.mlflow)
    if config.wandb is not None:
        from raykd.trackers import wandb

        wandb.check(config.wandb)


class Trackers:
    """Tells the trackers of a sweep file of its points, until the block ends."""

    def __init__(
        self,
        sweep: SweepConfig,
        journal: Journal,
        *,
        say: Callable[[str], None],
    ) -> None:
        """
        Args:
            say: told, by whoever calls in here, what went wrong.
        """
        self.sweep, self.journal, self.say = sweep, journal, say
        self.followers: list[Follower] = []

    def __enter__(self) -> Self:
        """Begin, with what earlier runs of the sweep left untold; `sweep.json` is there."""
        makers = self._makers()
        if makers:
            ledger, known = Ledger.begin(self.journal), self.journal.current_point_ids()
            self.followers = [Follower(name, make, ledger, known) for name, make in makers.items()]
        for follower in self.followers:
            follower.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *failure: object) -> None:
        seconds = FLUSH_SECONDS if kind is None else HURRIED_SECONDS
        for follower in self.followers:
            follower.close(seconds)
        behind = [follower.tracker_name for follower in self.followers if not follower.leave()]
        self._speak()
        for name in behind:
            self.say(f"{name}: not all of it was told; the same command tells the rest")

    def changed(self, point_id: str) -> None:
        """A point did an epoch, or ended."""
        for follower in self.followers:
            follower.changed(point_id)
        self._speak()

    def _speak(self) -> None:
        for follower in self.followers:
            while follower.said:
                self.say(follower.said.pop(0))

    def _makers(self) -> dict[str, Callable[[], Tracker]]:
        config, makers = self.sweep.trackers, {}
        if config.tensorboard:
            makers["tensorboard"] = self._tensorboard
        if config.mlflow is not None:
            makers["mlflow"] = partial(self._mlflow, config.mlflow)
        if config.wandb is not None:
            makers["wandb"] = partial(self._wandb, config.wandb)
        return makers

    def _tensorboard(self) -> Tracker:
        from raykd.trackers.tensorboard import TensorBoard

        return TensorBoard(self.journal.store)

    def _mlflow(self, config: MlflowConfig) -> Tracker:
        from raykd.trackers.mlflow import Mlflow

        return Mlflow(config, group=self.sweep.name)

    def _wandb(self, config: WandbConfig) -> Tracker:
        from raykd.trackers.wandb import Wandb

        return Wandb(config, self.journal.store, group=self.sweep.name)
