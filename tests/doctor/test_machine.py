"""Checks of a machine in which something is missing."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from raykd.doctor import machine

Usage = namedtuple("Usage", "total used free")


def only(findings):
    (finding,) = findings
    return finding


def with_tools(folder: Path, monkeypatch: pytest.MonkeyPatch, *tools: str) -> None:
    """Nothing but these tools can be found."""
    for tool in tools:
        (folder / tool).write_text("#!/bin/sh\n")
        (folder / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(machine.sys, "executable", str(folder / "python"))


def test_the_packages_of_the_tests_are_in_the_ranges():
    assert {finding.level for finding in machine.packages()} == {"ok"}


def described(monkeypatch: pytest.MonkeyPatch, folder: Path, *lines: str) -> None:
    """An installed package `strange` with these lines in its description."""
    info = folder / "strange-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", "Name: strange", "Version: 1.0", *lines, ""]))
    monkeypatch.syspath_prepend(folder)


def test_a_package_that_is_missing_or_too_old_is_named_with_what_to_install(tmp_path, monkeypatch):
    described(
        monkeypatch,
        tmp_path,
        "Requires-Python: >=99",
        "Requires-Dist: numpy>=99",
        "Requires-Dist: no-such-package>=1",
        "Requires-Dist: pyyaml",
        "Requires-Dist: another-missing; extra == 'test'",
    )
    python, old, missing, good = machine.packages("strange")
    assert (python.level, python.todo) == ("error", "install Python >=99")
    assert old.level == missing.level == "error"
    assert "raykd needs >=99" in old.found
    assert old.todo == "pip install -c constraints.txt 'numpy>=99'"
    assert missing.found == "no-such-package is not installed"
    assert (good.level, good.found.split()[0]) == ("ok", "pyyaml")


def test_a_package_that_is_not_installed_leaves_versions_unknown():
    assert only(machine.packages("never-installed-anywhere")).level == "warning"


def test_a_missing_compiler_matters_to_several_cpu_workers_alone(tmp_path, monkeypatch):
    with_tools(tmp_path, monkeypatch, "ninja")
    alone, several = only(machine.compilers()), only(machine.compilers(several_cpu_workers=True))
    assert (alone.level, several.level) == ("warning", "error")
    assert alone.found.startswith("no g++: points of several CPU workers")
    assert "apt install g++" in several.todo


def test_compilers_are_found_and_nvcc_is_not_needed(tmp_path, monkeypatch):
    with_tools(tmp_path, monkeypatch, "g++", "ninja")
    finding = only(machine.compilers(several_cpu_workers=True))
    assert finding.level == "ok"
    assert str(tmp_path / "g++") in finding.found
    assert "no nvcc; not needed" in finding.found


def test_little_shared_memory_says_how_to_get_more(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(64 << 20, 0, 64 << 20))
    finding = only(machine.shared_memory(tmp_path))
    assert (finding.level, "--shm-size" in finding.todo) == ("warning", True)
    assert only(machine.shared_memory(tmp_path / "none")).level == "warning"


def test_a_disk_that_ray_takes_for_full_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(1000 << 30, 960 << 30, 40 << 30))
    finding = machine.disk("storage", tmp_path, "free space")
    assert (finding.level, finding.todo) == ("warning", "free space")
    assert "40.0 GiB free, 96% full" in finding.found


def test_a_temporary_folder_that_is_not_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "none"))
    finding = only(machine.temporary_folder())
    assert (finding.level, finding.todo) == ("error", "set RAY_TMPDIR to another folder")
    assert "cannot be written (No such file or directory)" in finding.found


def test_a_temporary_folder_with_a_long_path_has_no_room_for_rays_sockets(tmp_path):
    folder = tmp_path / ("x" * 60)
    folder.mkdir()
    finding = only(machine.temporary_folder(folder))
    assert finding.level == "error"
    assert "too long for the sockets" in finding.found


def test_a_data_folder_that_is_missing_is_named_beside_one_that_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("RAYKD_DATA", f"{tmp_path}:{tmp_path / 'gone'}")
    there, gone = machine.data_folders()
    assert (there.level, gone.level) == ("ok", "error")
    assert f"{tmp_path / 'gone'} is not a folder" in gone.found


def test_without_a_data_folder_nothing_is_wrong(monkeypatch):
    monkeypatch.delenv("RAYKD_DATA", raising=False)
    assert only(machine.data_folders()).level == "ok"


class Gpu(namedtuple("Gpu", "name total_memory major")):
    """What torch says about a GPU."""


def with_torch(monkeypatch: pytest.MonkeyPatch, *gpus: Gpu) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(gpus))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: gpus[number])
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 27, 5))
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)


def test_each_gpu_has_a_line_with_its_memory_and_precision(monkeypatch):
    with_torch(monkeypatch, Gpu("H200", 140 << 30, 9), Gpu("V100", 16 << 30, 7))
    cuda, new, old = machine.gpus()
    assert (cuda.level, "NCCL 2.27.5" in cuda.found) == ("ok", True)
    assert (new.level, new.found) == ("ok", "H200, 140 GiB, bf16")
    assert (old.level, old.todo) == ("warning", "use compute.precision: float32 on it")


def test_a_driver_without_a_gpu_for_torch_is_a_warning(tmp_path, monkeypatch):
    with_torch(monkeypatch)
    with_tools(tmp_path, monkeypatch, "nvidia-smi")
    finding = only(machine.gpus())
    assert (finding.level, "there is an NVIDIA driver" in finding.found) == ("warning", True)
