"""The errors a user can act on. Each line says where, what was found, and what is allowed or what to do."""

from collections.abc import Iterable


class RaykdError(Exception):
    """Base of every error that raykd raises on purpose; the command line prints it without a traceback.

    Args:
        problems: one line each, or a single line. All of them are shown at once.
    """

    exit_code = 1

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

    def __reduce__(self) -> tuple[type, tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class ConfigError(RaykdError):
    """The sweep file or the command line is wrong; nothing was started."""

    exit_code = 2


class DataError(RaykdError):
    """A data set or a model cannot be found, cannot be read or is inconsistent; nothing was started."""

    exit_code = 2


class CapacityError(RaykdError):
    """The cluster or the disk cannot hold what was asked for; nothing was started."""

    exit_code = 2


class TrainingError(RaykdError):
    """A point failed while it ran."""


class ArtifactError(RaykdError):
    """An artifact or a record is missing, half-written or not what its record says."""


class LeaseHeldError(RaykdError):
    """Another run holds the sweep's folder; nothing was started."""

    exit_code = 2


class LeaseLostError(RaykdError):
    """Another run took the sweep over while this one was silent."""
