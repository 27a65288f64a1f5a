"""Which trackers are told of a sweep. Nothing here has an influence on a point."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from raykd.config.base import Config


def _without_password(uri: str) -> str:
    if urlsplit(uri).password is not None:
        # It would stand in records and logs.
        raise ValueError("no password in the URI; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
    return uri


class MlflowConfig(Config):
    """Runs on an MLflow tracking server, one for each point."""

    tracking_uri: Annotated[str, Field(min_length=1), AfterValidator(_without_password)] | None = None
    """The server, like `http://127.0.0.1:5000`; null takes MLFLOW_TRACKING_URI."""
    experiment: Annotated[str, Field(min_length=1)] | None = None
    """The experiment that holds the runs; null is the sweep's name."""


class WandbConfig(Config):
    """Runs on Weights & Biases, one for each point."""

    project: Annotated[str, Field(min_length=1)] | None = None
    """The project that holds the runs; null is the sweep's name."""
    entity: Annotated[str, Field(min_length=1)] | None = None
    """The user or team that owns the project; null is the account's own."""
    mode: Literal["online", "offline"] | None = None
    """offline keeps the runs in files for `wandb sync`; null takes WANDB_MODE, or online."""


class TrackersConfig(Config):
    """Where the curves and scores of every point are shown while the sweep runs."""

    tensorboard: bool = True
    """Write files for TensorBoard into the folder `tensorboard` of the results."""
    mlflow: MlflowConfig | None = None
    """Needs `pip install raykd[mlflow]`."""
    wandb: WandbConfig | None = None
    """Needs `pip install raykd[wandb]`."""
