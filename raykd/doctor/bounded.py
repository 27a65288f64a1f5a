"""Checks that cannot hang, and cannot end who asks: each in a process of its own, all at the same time."""

import contextlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from raykd.doctor.finding import Finding, Level, Step, errors_of
from raykd.errors import RaykdError

START_SECONDS = 60.0
"""For a process to start and to load its libraries, on a machine that is busy."""

GLANCE_SECONDS = 0.5
Explain = Callable[[str], tuple[str, str] | None]
"""What a process printed -> what is wrong and what to do, where that tells."""


def _unexplained(said: str) -> None:
    return None


@dataclass(frozen=True)
class Check:
    """Something to look at.

    Attributes:
        what: stands in the finding where the check itself gives none.
        look: a function of a module, which yields findings, and before each wait a `Step`.
        explain: reads what the process prints while it is waited for: there is no need to wait for longer.
        level: of the finding that it was.
    """

    what: str
    look: Callable[..., Iterable[Finding | Step]]
    arguments: tuple[Any, ...] = ()
    explain: Explain = _unexplained
    level: Level = "error"


def run_checks(checks: Sequence[Check]) -> Iterator[Finding]:
    """The findings of all checks, in their order; each as soon as it and those before it are known."""
    with tempfile.TemporaryDirectory(prefix="raykd-doctor-") as folder, contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(_Running(check, Path(folder) / f"{number}.log")) for number, check in enumerate(checks)
        ]
        for each in started:
            yield from each.findings()


class _Running:
    """A check in its process."""

    def __init__(self, check: Check, log: Path) -> None:
        self.check, self.log = check, log
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe(duplex=False)
        arguments = (theirs, log, check.what, check.look, check.arguments)
        self.process = context.Process(target=_look, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> "_Running":
        return self

    def __exit__(self, *failure: object) -> None:
        self.process.kill()
        # A process that hangs inside the kernel is left to it.
        self.process.join(1)
        self.pipe.close()

    def findings(self) -> Iterator[Finding]:
        """What it found; where it says nothing in time, or dies, that."""
        step = Step("starting", START_SECONDS)
        while True:
            try:
                if not self._answers(step):
                    yield self._failure(step, f"no answer within {step.seconds:g} s while {step.doing}")
                    return
                message = self.pipe.recv()
            except EOFError:
                self.process.join(1)
                yield self._failure(step, f"the check ended while {step.doing}{self._last_words()}")
                return
            if message is None:
                return
            if isinstance(message, Step):
                step = message
            else:
                yield message

    def _answers(self, step: Step) -> bool:
        """Whether it says something in time, and before its log says why it will not."""
        deadline = time.monotonic() + step.seconds
        while (left := deadline - time.monotonic()) > 0:
            if self.pipe.poll(min(left, GLANCE_SECONDS)):
                return True
            if self.check.explain(self._said()):
                return False
        return False

    def _failure(self, step: Step, found: str) -> Finding:
        found, todo = self.check.explain(self._said()) or (found, step.todo)
        return Finding(self.check.level, self.check.what, found, todo)

    def _said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def _last_words(self) -> str:
        lines = self._said().strip().splitlines()
        return f": {lines[-1]}" if lines else f" (exit code {self.process.exitcode})"


def _look(
    pipe: Connection, log: Path, what: str, look: Callable[..., Iterable[Finding | Step]], arguments: tuple[Any, ...]
) -> None:
    """The process of a check. What libraries print goes to the log."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    pipe.send(Step("looking"))
    try:
        for message in look(*arguments):
            pipe.send(message)
    except RaykdError as error:
        for finding in errors_of(what, error):
            pipe.send(finding)
    pipe.send(None)
