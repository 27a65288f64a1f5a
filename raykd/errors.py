"""The errors a user can act on. Each line says where, what was found, and what is allowed or what to do."""

from collections.abc import Iterable


def _one_line(text: str) -> str:
    """A text without the effect of line breaks, or of a terminal's commands, that a file put into it."""
    line = " ".join(text.splitlines())
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in line)


class RaykdError(Exception):
    """Base of every error that raykd raises on purpose; the command line prints it without a traceback.

    Args:
        problems: one line each, or a single line. All of them are shown at once.
    """

    exit_code = 1

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = tuple(map(_one_line, (problems,) if isinstance(problems, str) else problems))
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


class ClusterError(RaykdError):
    """A cluster does not answer, does not know the token, or will not take a job; nothing was started."""

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


class StallError(RaykdError):
    """A run waits for what does not come. What is done is kept; the same command goes on."""


class ProcessLostError(TrainingError):
    """A process of a run was killed, or its node went away."""


class StorageError(RaykdError):
    """The storage of the results did not answer for a while, or refuses what is asked of it."""


class HubError(RaykdError):
    """The Hugging Face Hub does not answer, or refuses what is asked of it."""
