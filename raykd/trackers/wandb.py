"""Runs on Weights & Biases, or in its files. A run's id is made of the folder of results and the point: it goes on."""

import netrc
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from raykd.config.trackers import WandbConfig
from raykd.errors import ConfigError
from raykd.results.artifacts import Store
from raykd.trackers.run import TrackedPoint

EXIT_CODES = {"finished": 0, "stopped": 0, "failed": 1, "interrupted": 255}
"""Where a point stands -> what its run is ended with; the site shows 255 as killed."""
START_SECONDS, END_SECONDS = 8.0, 5.0
ENVIRONMENT = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
"""Read by the library when it is imported."""
LONGEST_TAG = 64


class Wandb:
    """Keeps the runs of a project; those of points that are at work are open."""

    name = "wandb"

    def __init__(self, config: WandbConfig, store: Store, *, group: str) -> None:
        """
        Args:
            store: its folder holds W&B's own files, unless WANDB_DIR names another one.
            group: the sweep's name, which is the project's where the file names none.
        """
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import wandb

        self.library: Any = wandb
        self.mode = _mode(config)
        self.entity, self.project = config.entity, config.project or group
        self.place = " ".join(filter(None, (self.mode, self.entity, self.project)))
        own = str(store.root) if store.is_local else None
        self.folder = os.environ.get("WANDB_DIR") or own
        self.open: dict[str, Any] = {}

    def write(self, run: TrackedPoint, *, told: int) -> None:
        """Log what the run does not have yet."""
        try:
            self._log(run, told)
        except Exception:
            # A run that did not begin stays known to W&B's own process, which would not begin it again. That process
            # is ended, unless a notebook has a run of its own there.
            self.open.clear()
            if self.library.run is None:
                self.library.teardown()
            raise

    def _log(self, run: TrackedPoint, told: int) -> None:
        handle = self.open.get(run.point) or self._begin(run)
        self.open[run.point] = handle
        # A run that the site lost is told everything again; what it has it would not take twice.
        first = told if handle.resumed or self.mode == "offline" else 0
        for epoch in run.epochs:
            if epoch.number > max(first, handle.step - 1):
                handle.log(dict(epoch.metrics), step=epoch.number, commit=True)
        if run.is_over:
            handle.summary.update({**run.final, "status": run.status, "error": run.error or ""})
            self._end(run.point, EXIT_CODES[run.status])

    def close(self) -> None:
        """End the runs of points that were left at work."""
        for point in list(self.open):
            self._end(point, EXIT_CODES["interrupted"])

    def _begin(self, run: TrackedPoint) -> Any:
        return self.library.init(
            entity=self.entity,
            project=self.project,
            id=f"{run.sweep}-{run.point}",
            resume="allow",
            # Points run side by side.
            reinit="create_new",
            mode=self.mode,
            dir=self.folder,
            name=run.label,
            group=run.group,
            job_type=run.method,
            tags=[run.method[:LONGEST_TAG], run.tags["raykd.task"]],
            config={"method": run.method, **run.params, **run.tags},
            settings=self.library.Settings(
                silent=True,
                console="off",
                init_timeout=START_SECONDS,
                finish_timeout=END_SECONDS,
                # This process trains nothing.
                x_disable_stats=True,
                x_save_requirements=False,
                disable_git=True,
                disable_code=True,
            ),
        )

    def _end(self, point: str, code: int) -> None:
        self.open.pop(point).finish(exit_code=code)


def check(config: WandbConfig) -> None:
    """Refuse to begin without an account.

    Raises:
        ConfigError: with what to do.
    """
    if _mode(config) == "online" and not _has_key(os.environ):
        raise ConfigError(
            "trackers.wandb: nobody is logged in; run `wandb login`, set WANDB_API_KEY, or set trackers.wandb.mode: "
            "offline"
        )


def _mode(config: WandbConfig) -> str:
    return config.mode or os.environ.get("WANDB_MODE") or "online"


def _has_key(environment: Mapping[str, str]) -> bool:
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(environment.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    try:
        return netrc.netrc(environment.get("NETRC", str(Path.home() / ".netrc"))).authenticators(host or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False
