"""One node of a local Ray cluster: processes that can be killed as a machine fails.

Run as a script it is a node's keeper: it runs the command that follows, and adopts what the node's processes leave
behind, so that everything a node ever started is found below its keeper, and the keeper ends when nothing is left.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

OBJECT_STORE_BYTES = 200_000_000
DIE_WITH_PARENT, ADOPT_ORPHANS = 1, 36
"""What the kernel calls PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER."""


class Node:
    """One node: a keeper with `ray start --block` and all that it starts below it.

    Args:
        ip: an address of loopback. Not 127.0.0.1: Ray would take the machine's own in its place.
    """

    def __init__(self, name: str, ip: str, options: list[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        # A machine that lost its power and comes back knows of no cluster.
        shutil.rmtree(folder / name, ignore_errors=True)
        ray = Path(sys.executable).with_name("ray")
        common = [
            "--block", "--disable-usage-stats", f"--node-ip-address={ip}", f"--node-name={name}",
            f"--object-store-memory={OBJECT_STORE_BYTES}", "--min-worker-port=0", "--max-worker-port=0",
            f"--temp-dir={folder / name}",
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.keeper = subprocess.Popen(
                [sys.executable, "-S", __file__, str(ray), "start", *options, *common],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )

    def is_running(self) -> bool:
        """Whether any process of the node lives."""
        return self.keeper.poll() is None

    def processes(self) -> dict[int, str]:
        """Process id -> command line (a Ray worker's: what it does) of the node's living processes."""
        return _commands_below(self.keeper.pid) if self.is_running() else {}

    def kill(self) -> None:
        """End every process of the node by SIGKILL, as if its machine had lost its power."""
        while found := self.processes():
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self.keeper.wait(timeout=10)


def _commands_below(root: int) -> dict[int, str]:
    """Process id -> command line of all descendants of a process, zombies left out."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold spaces and parentheses itself.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                children.setdefault(int(parent), []).append(int(entry.name))
    found, waiting = {}, [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            waiting.append(pid)
            with contextlib.suppress(OSError):
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return found


def _keep(command: list[str]) -> None:
    """Run a command until neither it nor any process that descends from it lives."""
    prctl = ctypes.CDLL(None).prctl
    prctl(ADOPT_ORPHANS, 1, 0, 0, 0)
    prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.fork() == 0:
        prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        os.execv(command[0], command)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


if __name__ == "__main__":
    _keep(sys.argv[1:])
