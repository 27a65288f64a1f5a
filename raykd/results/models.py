"""Models by name: a folder, a folder inside a package, what a point of another sweep delivered, or a Hub id."""

import contextlib
import importlib.util
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from raykd.data.hub import HubProblem, Snapshot, snapshot
from raykd.data.sources import listed, places_of
from raykd.errors import ArtifactError, DataError
from raykd.models.files import usable_positions
from raykd.results.delivered import delivered_by, verify_delivered
from raykd.results.journal import Journal
from raykd.storage import location

_POINT_MARK = "#"
_PACKAGE = "package:"
_MODEL_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")
_PICKLES = ("pytorch_model*.bin",)
_HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*(/[\w-][\w.-]*)?)(@(?P<revision>[\w-][\w./-]*))?")


def locate_model(name: str, *, folder: Path) -> str:
    """The folder of a model, or `name` itself where no such folder exists and it looks like a Hub id.

    Args:
        name: a folder, searched for in the order of `locate`; what a point of another sweep delivered, as
            `RESULTS#POINT` with the folder of its results, searched for likewise, or their URL (see `delivered_by`); a
            Hub id such as `google-bert/bert-base-cased`, or `ID@REVISION` with a branch, tag or commit of it; or a
            folder inside an installed Python package, such as `package:some_package/model`.
        folder: the folder of the sweep file.

    Raises:
        DataError: if there is no such folder and `name` cannot be a Hub id, the point does not give a model, or the
            package is not installed.
    """
    if name.startswith(_PACKAGE):
        return _folder_in_package(name)
    if "://" in name:
        results, _, point = name.partition(_POINT_MARK)
        with _errors_of(name):
            return str(delivered_by(location(results), point))
    places = places_of(name, folder)
    for place in places:
        # os.path answers for a label too that is longer than a file name can be.
        if os.path.isdir(place):
            return _delivered(name, place, "") if Journal.at(place).sweep.exists() else str(place)
    before, mark, point = name.partition(_POINT_MARK)
    if mark:
        searched = places_of(before, folder)
        for place in searched:
            if Journal.at(place).sweep.exists():
                return _delivered(name, place, point)
        raise DataError(
            f"model {name}: no results folder (sweep.json) in {listed(searched)}; run that sweep first, "
            "or give its results folder"
        )
    if _HUB_ID.fullmatch(name):
        return name
    raise DataError(
        f"model {name}: no such folder and no Hub id ('name' or 'owner/name', with '@revision' or without); "
        f"tried {listed(places)}. Put the model in one of these, or give a Hub id"
    )


def _folder_in_package(name: str) -> str:
    package, _, inner = name.removeprefix(_PACKAGE).partition("/")
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise DataError(
            f"model {name}: the Python package {package} is not installed; install it, or give "
            "a model folder or a Hub id"
        )
    places = [Path(root) / inner for root in found.submodule_search_locations]
    for place in places:
        if place.is_dir():
            return str(place)
    raise DataError(f"model {name}: no such folder in the package; tried {', '.join(map(str, places))}")


def _delivered(name: str, results: Path, point: str) -> str:
    with _errors_of(name):
        return str(delivered_by(results, point))


@contextlib.contextmanager
def _errors_of(model: str) -> Iterator[None]:
    """Errors about a sweep's results, as errors about the model that is wanted of them."""
    try:
        yield
    except (DataError, ArtifactError) as error:
        raise DataError(f"model {model}: {problem}" for problem in error.problems) from error


def check_model(name: str, *, folder: Path) -> None:
    """Find a model folder, or ask the Hub (or its local cache) for the id, without loading anything.

    Raises:
        DataError: if it cannot be had, or is not what its record says; the line says why and what to do.
    """
    located = Path(locate_model(name, folder=folder))
    if located.is_dir():
        with _errors_of(name):
            verify_delivered(located)
        return
    _on_hub(name)


def _on_hub(name: str) -> Snapshot:
    """A model of the Hub at the commit that its name stands for.

    Raises:
        DataError: if it cannot be had.
    """
    with _hub_errors_of(name):
        return snapshot(*repo_and_revision(name), kind="model")


def repo_and_revision(name: str) -> tuple[str, str | None]:
    """Id and revision of a model of the Hub."""
    found = _HUB_ID.fullmatch(name)
    assert found, "a name that is no folder is a Hub id"
    return found["repo"], found["revision"]


def positions_of(name: str, *, folder: Path) -> int | None:
    """The longest text that a model reads, in tokens; None where its configuration is not on this machine, or says
    nothing.

    Raises:
        DataError: as `locate_model`.
    """
    try:
        located = described_model(name, folder=folder) / "config.json"
    except DataError:
        locate_model(name, folder=folder)
        return None
    try:
        return usable_positions(json.loads(located.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError):
        # Whoever loads the model says what is wrong with the file.
        return None


def described_model(name: str, *, folder: Path) -> Path:
    """A local folder with the configuration of a model named as for `locate_model`; the Hub's weights stay there.

    Raises:
        DataError: if it cannot be had.
    """
    located = Path(locate_model(name, folder=folder))
    if located.is_dir():
        return located
    found = _on_hub(name)
    with _hub_errors_of(name):
        return found.fetch("config.json").parent


def fetch_model(name: str, *, folder: Path) -> Path:
    """The local folder of a model named as for `locate_model`; what the Hub has is downloaded, weights and all.

    Raises:
        DataError: if it cannot be had; the line says why and what to do.
    """
    located = Path(locate_model(name, folder=folder))
    if located.is_dir():
        return located
    found = _on_hub(name)
    has_tensors = any(file.endswith(".safetensors") for file in found.files)
    with _hub_errors_of(name):
        return found.fetch_all([*_MODEL_FILES, *([] if has_tensors else _PICKLES)])


@contextlib.contextmanager
def _hub_errors_of(model: str) -> Iterator[None]:
    """What keeps the Hub from giving a model, as one line."""
    try:
        yield
    except HubProblem as problem:
        raise DataError(
            f"model {model}: no such folder, and the Hub does not give it ({problem.reason}). To do: give a model "
            f"folder, or {problem.remedy}"
        ) from problem
