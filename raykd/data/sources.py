"""Where data comes from: local folders and addresses first, then the Hugging Face Hub."""

import logging
import os
import string
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from raykd.data.addresses import fetched, is_address, member_of, split_member
from raykd.data.hub import PROBE_SECONDS, HubProblem, Snapshot, snapshot
from raykd.data.rows import ROW_FILES, Rows, read_rows
from raykd.data.shares import Part, in_part
from raykd.errors import DataError

T = TypeVar("T")

log = logging.getLogger(__name__)

DATA_VARIABLE = "RAYKD_DATA"
_WELL_KNOWN = "google-bert/bert-base-multilingual-cased"
"""A public model, to see whether the Hub answers."""


class NotFoundError(DataError):
    """A source is in none of the places where it was looked for."""


@dataclass(frozen=True)
class SourceRef:
    """A data set by local path, by Hub id, or both; the local path is looked for first.

    Args:
        path: template of a file, such as `xquad/xquad.{language}.json` or
            `mlqa/dev-context-{context}-question-{question}.json`: local, at an address, or in a zip archive.
        hub: id of a data set on the Hub, such as `google/xquad`.
        hub_config: template of its configuration name, such as `xquad.{language}`.
        hub_revision: branch, tag or commit of it; None is the main branch.
        hub_files: template of a pattern of files in it, such as `{language}/validation/*.parquet`, which are read in
            place of a configuration and a split.
        hub_codes: what stands in a template of the Hub for the value of a placeholder; the value itself if not named.
        split: its split; needed with `hub` without `hub_files`.
        share: only the items of this part, see `raykd.data.shares`; readers keep to it.

    Raises:
        ValueError: if neither `path` nor `hub` is given, or `hub` without `split` or `hub_files`.
    """

    path: str | None = None
    hub: str | None = None
    hub_config: str | None = None
    hub_revision: str | None = None
    hub_files: str | None = None
    hub_codes: Mapping[str, str] | None = None
    split: str | None = None
    share: Part | None = None
    share_seed: int = 0

    def __post_init__(self) -> None:
        if not self.path and not self.hub:
            raise ValueError("a source needs a path or a hub id")
        if self.hub and not (self.split or self.hub_files):
            raise ValueError(f"hub {self.hub}: a split is needed, or hub_files")

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
        """The names between braces that `path` and `hub_config` (or `hub_files`) share; those of the one that is there.

        Raises:
            DataError: if the braces of a template do not match.
        """
        return frozenset.intersection(*self._named())

    @property
    def is_one_set(self) -> bool:
        """Whether there is no name between braces anywhere: one file or table for all languages."""
        return not frozenset.union(*self._named())

    def _named(self) -> list[frozenset[str]]:
        templates = [self.path] if self.path else []
        templates += [self.hub_files or self.hub_config or ""] if self.hub else []
        return [frozenset(_placeholders(template)) for template in templates]

    def describe(self, **names: str) -> str:
        """The source in a few words, for an error line: the filled-in path, or else the Hub id."""
        return _fill(self.path, names) if self.path else self.describe_hub(names)

    def describe_hub(self, names: Mapping[str, str]) -> str:
        """The Hub's part of it in a few words."""
        at = f" at {self.hub_revision}" if self.hub_revision else ""
        parts = (self.hub_files,) if self.hub_files else (self.hub_config, self.split)
        return " ".join([f"hub {self.hub}{at}", *(self.fill_hub(part, names) for part in parts if part)])

    def fill_hub(self, template: str, names: Mapping[str, str]) -> str:
        """A template of the Hub with its placeholders filled in."""
        codes = self.hub_codes or {}
        return _fill(template, {name: codes.get(value, value) for name, value in names.items()})


def opened(ref: SourceRef, *, folder: Path, rows: Collection[str] = ROW_FILES, **names: str) -> Path | Rows:
    """A file that the task reads itself, or rows: what `ref` stands for, from the first place that has it.

    Args:
        ref: the source.
        folder: the folder of the sweep file.
        rows: endings of the files that are tables of rows; the task reads all others.
        names: values of the placeholders of the templates.

    Raises:
        DataError: if it is nowhere, or cannot be read; the line names every place tried.
    """
    path = locate(ref, folder=folder, **names)
    if path is None:
        return load_hub(ref, folder=folder, rows=rows, **names)
    return read_rows([path]) if path.suffix in rows else path


def locate(ref: SourceRef, *, folder: Path, **names: str) -> Path | None:
    """The file at the path of `ref`, or None where only the Hub is left to ask (`load_hub`).

    A local path is taken as given if absolute; otherwise it is looked for in `folder`, in the current directory and in
    the folders of the environment variable RAYKD_DATA (separated like PATH), in this order. A file at an address, or
    a member of an archive, is one of the cache, see `raykd.data.addresses`.

    Args:
        ref: the source.
        folder: the folder of the sweep file.
        names: values of the placeholders of the templates.

    Raises:
        DataError: if there is no such file and `ref` names no Hub id, or a template asks for an unknown name.
    """
    if ref.path:
        file, member = split_member(_fill(ref.path, names))
        if is_address(file):
            return _at_address(ref, file, member)
        for place in places_of(file, folder):
            if place.is_file():
                return member_of(place, member, name=str(place)) if member else place
    if not ref.hub:
        raise _unreachable(ref, folder, names)
    return None


def _at_address(ref: SourceRef, address: str, member: str | None) -> Path | None:
    try:
        file = fetched(address)
        return member_of(file, member, name=address) if member else file
    except DataError as error:
        if not ref.hub:
            raise
        log.warning("%s; asking the Hub for %s", error, ref.hub)
        return None


def load_hub(ref: SourceRef, *, folder: Path, rows: Collection[str] = ROW_FILES, **names: str) -> Path | Rows:
    """What `ref` stands for on the Hub, or in the local cache where the Hub does not answer.

    Returns within seconds when the Hub is out of reach; HF_HUB_OFFLINE is honoured.

    Args:
        ref: a source with a Hub id.
        folder: the folder of the sweep file; only named in the error.
        rows: as for `opened`.
        names: values of the placeholders of the templates.

    Raises:
        DataError: if the data set, its revision, its configuration, its split or its files cannot be had; the line
            names every place tried.
    """
    config = ref.fill_hub(ref.hub_config, names) if ref.hub_config else None
    pattern = ref.fill_hub(ref.hub_files, names) if ref.hub_files else None
    assert ref.hub, "only a source with a Hub id is left to the Hub"
    try:
        whole = snapshot(ref.hub, ref.hub_revision)
        files = whole.matching(pattern) if pattern else whole.files_of(config, str(ref.split))
        if files is None:
            return _guessed(whole, config, str(ref.split))
        if not all(file.endswith(tuple(rows)) for file in files):
            if len(files) > 1:
                found = f"{len(files)} files of {ref.hub} match {pattern or config}, such as {', '.join(files[:3])}"
                raise HubProblem(found, "set hub_files to one of them, or to files of rows")
            return whole.fetch(files[0])
        found_rows = read_rows([whole.fetch(file) for file in files])
    except HubProblem as problem:
        raise _unreachable(ref, folder, names, problem) from problem
    log.info("%s: %d rows of commit %s", ref.describe_hub(names), len(found_rows), whole.commit)
    return found_rows


def _guessed(whole: Snapshot, config: str | None, split: str) -> Rows:
    """The rows of a data set of which the card lists no configurations, as `datasets` finds its files.

    Raises:
        HubProblem: if it does not find them.
    """
    import datasets
    from huggingface_hub.errors import HTTPError

    try:
        table = datasets.load_dataset(whole.repo, config, split=split, revision=whole.commit)
    # ValueError: unknown configuration or split. RuntimeError: the data set is a script.
    except (OSError, ValueError, RuntimeError, HTTPError, datasets.exceptions.DatasetsError) as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise HubProblem(reason, "check hub_config and split, or set hub_files") from error
    return Rows(table.__iter__, len(table), table.features)


def hub_problem() -> str | None:
    """Why the Hub does not answer; None if it does."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    try:
        HfApi().model_info(_WELL_KNOWN, timeout=PROBE_SECONDS)
    except (HTTPError, OSError, ValueError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
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
    ref: SourceRef, folder: Path, names: Mapping[str, str], problem: HubProblem | None = None
) -> NotFoundError:
    tried, remedies = [], []
    if ref.path:
        file, _ = split_member(_fill(ref.path, names))
        tried.append(file if is_address(file) else listed(places_of(file, folder)))
        if not is_address(file):
            remedies.append(f"set {DATA_VARIABLE} to the folder that holds {file}")
    if problem:
        tried.append(f"{ref.describe_hub(names)} ({problem.reason})")
        remedies.append(problem.remedy)
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
