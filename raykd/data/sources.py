"""Where data comes from: local folders first, then the Hugging Face Hub."""

import functools
import logging
import os
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from raykd.data.shares import Part, in_part
from raykd.errors import DataError

T = TypeVar("T")

log = logging.getLogger(__name__)

DATA_VARIABLE = "RAYKD_DATA"
PROBE_SECONDS = 5
_WELL_KNOWN = "google-bert/bert-base-multilingual-cased"
"""A public model, to see whether the Hub answers."""


class NotFoundError(DataError):
    """A source is in none of the places where it was looked for."""


@dataclass(frozen=True)
class SourceRef:
    """A data set by local path, by Hub id, or both; the local path is looked for first.

    Args:
        path: template of a local file, such as `xquad/xquad.{language}.json` or
            `mlqa/dev-context-{context}-question-{question}.json`.
        hub: id of a data set on the Hub, such as `google/xquad`.
        hub_config: template of its configuration name, such as `xquad.{language}`.
        split: its split; needed with `hub`.
        share: only the items of this part, see `raykd.data.shares`; readers keep to it.

    Raises:
        ValueError: if neither `path` nor `hub` is given, or `hub` without `split`.
    """

    path: str | None = None
    hub: str | None = None
    hub_config: str | None = None
    split: str | None = None
    share: Part | None = None
    share_seed: int = 0

    def __post_init__(self) -> None:
        if not self.path and not self.hub:
            raise ValueError("a source needs a path or a hub id")
        if self.hub and not self.split:
            raise ValueError(f"hub {self.hub}: a split is needed")

    def kept(self, items: Iterable[T], key: Callable[[T], str]) -> list[T]:
        """The items of the part that is asked for.

        Raises:
            DataError: if it holds none of them.
        """
        every = list(items)
        kept = in_part(every, self.share, seed=self.share_seed, key=key)
        if every and not kept:
            raise DataError(f"{self.path or self.hub}: share {list(self.share or ())} holds none of {len(every)} items")
        return kept

    def placeholders(self) -> frozenset[str]:
        """The names between braces that `path` and `hub_config` share; those of the one where only one is there.

        Raises:
            DataError: if the braces of a template do not match.
        """
        templates = [self.path] if self.path else []
        templates += [self.hub_config or ""] if self.hub else []
        return frozenset.intersection(*(frozenset(_placeholders(template)) for template in templates))

    def describe(self, **names: str) -> str:
        """The source in a few words, for an error line: the filled-in path, or else the Hub id."""
        return _fill(self.path, names) if self.path else self._describe_hub(names)

    def _describe_hub(self, names: Mapping[str, str]) -> str:
        config = f" {_fill(self.hub_config, names)}" if self.hub_config else ""
        return f"hub {self.hub}{config} {self.split}"


def locate(ref: SourceRef, *, folder: Path, **names: str) -> Path | None:
    """The local file of `ref`, or None where only the Hub is left to ask (`load_hub`).

    A path is taken as given if absolute; otherwise it is looked for in `folder`, in the current directory and in the
    folders of the environment variable RAYKD_DATA (separated like PATH), in this order.

    Args:
        ref: the source.
        folder: the folder of the sweep file.
        names: values of the placeholders of the templates.

    Raises:
        DataError: if there is no such file and `ref` names no Hub id, or a template asks for an unknown name.
    """
    if ref.path:
        for place in places_of(_fill(ref.path, names), folder):
            if place.is_file():
                return place
    if not ref.hub:
        raise _unreachable(ref, folder, names)
    return None


def load_hub(ref: SourceRef, *, folder: Path, **names: str) -> Iterable[Mapping[str, object]]:
    """The rows of `ref` from the Hub, or from the local cache of `datasets` where the Hub does not answer.

    Returns within seconds when the Hub is out of reach; HF_HUB_OFFLINE is honoured.

    Args:
        ref: a source with a Hub id.
        folder: the folder of the sweep file; only named in the error.
        names: values of the placeholders of the templates.

    Raises:
        DataError: if the data set, its configuration or its split cannot be had; the line names every place tried.
    """
    # These imports take a second; a run on local files never pays for them.
    import datasets
    from huggingface_hub.errors import HTTPError

    config = _fill(ref.hub_config, names) if ref.hub_config else None
    was_offline = datasets.config.HF_HUB_OFFLINE
    probe_error = _probe(ref.hub)
    try:
        # load_dataset retries an unreachable Hub for 23 s per file; offline it goes straight to its cache.
        datasets.config.HF_HUB_OFFLINE = was_offline or probe_error is not None
        rows = datasets.load_dataset(ref.hub, config, split=ref.split)
    # ValueError: unknown configuration or split. RuntimeError: the data set is a script, which datasets does not run.
    except (OSError, ValueError, RuntimeError, HTTPError, datasets.exceptions.DatasetsError) as error:
        raise _unreachable(ref, folder, names, cause=probe_error or error) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = was_offline
    log.info("%s: %d rows from the %s", ref._describe_hub(names), len(rows), "cache" if probe_error else "Hub")
    return rows


def hub_problem() -> str | None:
    """Why the Hub does not answer; None if it does."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    try:
        HfApi().model_info(_WELL_KNOWN, timeout=PROBE_SECONDS)
    except (HTTPError, OSError, ValueError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return None


# Once per data set: 49 cells must not wait 49 times for a Hub that does not answer.
@functools.cache
def _probe(hub: str) -> Exception | None:
    """Why the Hub does not give `hub`, or None if it does."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    try:
        HfApi().dataset_info(hub, timeout=PROBE_SECONDS)
    except (HTTPError, OSError, ValueError) as error:
        return error
    return None


def places_of(path: str, folder: Path) -> list[Path]:
    """Where `path` may lie, absolute and without repetition; an absolute path is its only place."""
    roots = [folder, Path.cwd(), *_data_folders()]
    return list(dict.fromkeys((root / os.path.expanduser(path)).resolve() for root in roots))


def _data_folders() -> list[Path]:
    return [Path(entry).expanduser() for entry in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if entry]


def listed(places: list[Path]) -> str:
    """Places that were tried, for an error line."""
    words = ", ".join(map(str, places))
    return words if _data_folders() else f"{words} ({DATA_VARIABLE} is not set)"


def _unreachable(
    ref: SourceRef, folder: Path, names: Mapping[str, str], cause: Exception | None = None
) -> NotFoundError:
    tried, remedies = [], []
    if ref.path:
        tried.append(listed(places_of(_fill(ref.path, names), folder)))
        remedies.append(f"set {DATA_VARIABLE} to the folder that holds {_fill(ref.path, names)}")
    if ref.hub:
        reason = " ".join(str(cause).split())[:200]
        tried.append(f"{ref._describe_hub(names)} ({type(cause).__name__}: {reason})")
        remedies.append("connect to the Hub and check the id, configuration and split")
    return NotFoundError(
        f"{ref.describe(**names)}: not found; tried {', '.join(tried)}. To do: {', or '.join(remedies)}"
    )


def _placeholders(template: str) -> set[str]:
    try:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise DataError(f"{template}: not a template: {error}") from error


def _fill(template: str, names: Mapping[str, str]) -> str:
    if unknown := sorted(_placeholders(template) - names.keys()):
        wrong = ", ".join(f"{{{name}}}" for name in unknown)
        allowed = ", ".join(f"{{{name}}}" for name in sorted(names)) or "none"
        raise DataError(f"{template}: unknown placeholder {wrong}; allowed here: {allowed}")
    return template.format_map(names)
