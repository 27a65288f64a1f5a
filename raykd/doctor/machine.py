"""What this machine has: Python and packages, GPUs, compilers, memory, disks, data folders."""

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from raykd import __version__
from raykd.data.sources import DATA_VARIABLE
from raykd.doctor.finding import Finding

SOCKET_PATH_BYTES = 107
"""What the kernel allows for the path of a socket."""
RAY_SOCKET = "ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
"""What Ray adds to its temporary folder."""
LITTLE_DISK, LITTLE_MEMORY = 5 << 30, 1 << 30
FULL_SHARE = 0.95
"""Ray spills nothing to a disk that is fuller."""
SHARED_MEMORY = Path("/dev/shm")


def packages(name: str = "raykd") -> Iterator[Finding]:
    """Python and the installed packages against the ranges that the package asks for."""
    try:
        asked = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        todo = "pip install -c constraints.txt ."
        yield Finding("warning", "packages", f"{name} runs, but is not installed: versions are unknown", todo)
        return
    python, wanted = platform.python_version(), asked["Requires-Python"] or ""
    fits = SpecifierSet(wanted).contains(python, prereleases=True)
    found = f"{python}, raykd {__version__}" if fits else f"{python}; raykd needs {wanted}"
    yield Finding("ok" if fits else "error", "python", found, "" if fits else f"install Python {wanted}")
    good: list[str] = []
    bad: list[Finding] = []
    for requirement in map(Requirement, asked.get_all("Requires-Dist") or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            problem = _problem(requirement)
            if problem is None:
                good.append(_shown(requirement))
            else:
                bad.append(problem)
    yield from bad
    if good:
        yield Finding("ok", "packages", ", ".join(good))


def _shown(requirement: Requirement) -> str:
    return f"{requirement.name} {importlib.metadata.version(requirement.name)}"


def _problem(requirement: Requirement) -> Finding | None:
    todo = f"pip install -c constraints.txt '{requirement}'"
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding("error", "packages", f"{requirement.name} is not installed", todo)
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return Finding("error", "packages", f"{requirement.name} {version}; raykd needs {requirement.specifier}", todo)


def gpus() -> Iterator[Finding]:
    """What torch was built for, and what it sees."""
    import torch

    build = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        driver = shutil.which("nvidia-smi") or Path("/dev/nvidiactl").exists()
        if not driver:
            yield Finding("ok", "GPUs", f"none; {build} uses CPUs")
            return
        why = "built without CUDA" if torch.version.cuda is None else f"built for CUDA {torch.version.cuda}"
        todo = "install a build of torch for this machine's driver (nvidia-smi shows the newest CUDA that it supports)"
        yield Finding("warning", "GPUs", f"{build}, {why}, finds no GPU, although there is an NVIDIA driver", todo)
        return
    nccl = ".".join(map(str, torch.cuda.nccl.version())) if torch.distributed.is_nccl_available() else None
    without = "" if nccl else "install a build of torch with NCCL, or train on one GPU"
    yield Finding(
        "ok" if nccl else "warning", "CUDA", f"{build}, CUDA {torch.version.cuda}, NCCL {nccl or 'missing'}", without
    )
    for number in range(torch.cuda.device_count()):
        has = torch.cuda.get_device_properties(number)
        name = f"GPU {number}"
        # Ampere is the first generation that computes in bfloat16.
        todo = "" if has.major >= 8 else "use compute.precision: float32 on it"
        precision = "bf16" if has.major >= 8 else "no bf16"
        found = f"{has.name}, {has.total_memory / 2**30:.0f} GiB, {precision}"
        yield Finding("warning" if todo else "ok", name, found, todo)


def compilers(*, several_cpu_workers: bool = False) -> Iterator[Finding]:
    """What builds DeepSpeed's ops. raykd needs one of them: communication between several CPU workers of a point."""
    # The ninja of this environment is found also where the environment is not activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    tools = {tool: shutil.which(tool, path=path) for tool in ("g++", "ninja", "nvcc")}
    missing = [tool for tool in ("g++", "ninja") if not tools[tool]]
    if missing:
        need = "the file has points of several workers" if several_cpu_workers else "points of several CPU workers"
        yield Finding(
            "error" if several_cpu_workers else "warning",
            "compilers",
            f"no {' and no '.join(missing)}: {need}, which need DeepSpeed's shared-memory op",
            "install g++ (apt install g++) and ninja (pip install ninja) on every node, or use compute.num_workers: 1",
        )
        return
    cuda = tools["nvcc"] or "no nvcc; not needed, raykd uses no CUDA op of DeepSpeed and not its CPU Adam"
    yield Finding("ok", "compilers", f"{tools['g++']}, {tools['ninja']}; {cuda}")


def shared_memory(folder: Path = SHARED_MEMORY) -> Iterator[Finding]:
    """Where Ray's objects and messages between CPU workers lie."""
    todo = "give the container more: docker run --shm-size=8g, or an emptyDir of medium Memory at /dev/shm"
    if not folder.is_dir():
        yield Finding("warning", "shared memory", f"no {folder}: Ray uses a disk instead", todo)
        return
    free = shutil.disk_usage(folder).free
    little, found = free < LITTLE_MEMORY, f"{free / 2**30:.1f} GiB free in {folder}"
    yield Finding("warning" if little else "ok", "shared memory", found, todo if little else "")


def temporary_folder(folder: Path | None = None) -> Iterator[Finding]:
    """Where Ray keeps its sockets and logs: writable, with room, and with a short path."""
    named = os.environ.get("RAY_TMPDIR")
    folder = folder or Path(named or tempfile.gettempdir())
    what, variable = "temporary folder", "RAY_TMPDIR" if named else "TMPDIR"
    elsewhere = f"set {variable} to another folder"
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield Finding("error", what, f"{folder}: cannot be written ({error.strerror})", elsewhere)
        return
    if len(os.fsencode(folder / RAY_SOCKET)) > SOCKET_PATH_BYTES:
        found = f"{folder}: its path is too long for the sockets of Ray"
        yield Finding("error", what, found, f"set {variable} to a shorter path, like /tmp")
        return
    yield disk(what, folder, f"free space on it, or {elsewhere}")


def disk(what: str, folder: Path, todo: str) -> Finding:
    """Room in a folder that exists."""
    usage = shutil.disk_usage(folder)
    share = 1 - usage.free / usage.total
    little = usage.free < LITTLE_DISK or share > FULL_SHARE
    found = f"{folder}: {usage.free / 2**30:.1f} GiB free, {share:.0%} full"
    return Finding("warning" if little else "ok", what, found, todo if little else "")


def data_folders() -> Iterator[Finding]:
    """The folders of RAYKD_DATA."""
    entries = [entry for entry in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if entry]
    if not entries:
        found = f"{DATA_VARIABLE} is not set: data is looked up next to the sweep file, in this folder and on the Hub"
        yield Finding("ok", "data folder", found)
    for entry in entries:
        folder = Path(entry).expanduser()
        if folder.is_dir():
            yield Finding("ok", "data folder", f"{DATA_VARIABLE}: {folder}")
        else:
            todo = f"create it, mount it, or remove it from {DATA_VARIABLE}"
            yield Finding("error", "data folder", f"{DATA_VARIABLE}: {folder} is not a folder", todo)
