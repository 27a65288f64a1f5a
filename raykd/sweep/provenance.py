"""What a sweep is run on, and from which state of the files: noted beside its results."""

import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path

import ray

from raykd.results.sweep import Commit, Hardware, NodeKind

_ACCELERATOR = "accelerator_type:"
_GIB = 1 << 30


def hardware() -> Hardware:
    """The connected cluster's living nodes, those that are alike counted together, and this machine's processor."""
    counts: dict[tuple[float, float, int, tuple[str, ...]], int] = {}
    for node in ray.nodes():
        if node["Alive"]:
            kind = _kind(node["Resources"])
            counts[kind] = counts.get(kind, 0) + 1
    return Hardware(_processor(), tuple(NodeKind(count, *kind) for kind, count in counts.items()))


def commit(folder: Path) -> Commit | None:
    """The Git commit that a folder is checked out at, and whether tracked files differ from it; None outside of one."""
    head = _git(folder, "rev-parse", "HEAD")
    if head is None:
        return None
    return Commit(head, changed=bool(_git(folder, "status", "--porcelain", "--untracked-files=no")))


def _kind(resources: Mapping[str, float]) -> tuple[float, float, int, tuple[str, ...]]:
    accelerators = sorted(name.removeprefix(_ACCELERATOR) for name in resources if name.startswith(_ACCELERATOR))
    memory = round(resources.get("memory", 0) / _GIB)
    return resources.get("CPU", 0.0), resources.get("GPU", 0.0), memory, tuple(accelerators)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
