"""Repositories of the Hugging Face Hub: the commit that a name stands for, their files, and what keeps them away.

A commit is asked for once per process, and what the Hub answered is kept beside its own cache, so that a later run
without a network reads the same commit.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
Kind = Literal["dataset", "model"]
log = logging.getLogger(__name__)

PROBE_SECONDS = 5
"""A Hub that is out of reach is given up after so long."""
CONVERTED = "refs/convert/parquet"
"""The branch on which the Hub keeps every data set as parquet, those too that are scripts on their main branch."""

LARGE = 32 << 20
"""Bytes from which a download shows its progress."""
_ATTEMPTS, _FIRST_PAUSE, _LONGEST_PAUSE = 5, 1.0, 60.0
_BUSY = {408, 429, 500, 502, 503, 504}
_COMMIT = re.compile("[0-9a-f]{40}")
_NOTE = "commit of "
_SHOWN = 4


class HubProblem(Exception):
    """Why the Hub does not give something, and what to do about it; both parts of one line."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


@dataclass(frozen=True)
class Snapshot:
    """A repository as one commit has it.

    Attributes:
        revision: the branch, tag or commit that was asked for.
        files: name of each file of the commit -> its bytes, where the Hub says them.
    """

    kind: Kind
    repo: str
    revision: str
    commit: str
    files: Mapping[str, int | None]

    def matching(self, pattern: str) -> list[str]:
        """The files that match a pattern (`*` also crosses folders), in the order of their names.

        Raises:
            HubProblem: if there is none; names files that are near.
        """
        if found := sorted(file for file in self.files if fnmatchcase(file, pattern)):
            return found
        reason = f"no file of {self.repo} at {self.revision} matches {pattern}"
        raise HubProblem(reason, f"correct hub_files{near(pattern, self.files)}")

    def fetch(self, file: str) -> Path:
        """A file of it, downloaded once a machine; one that was cut off is taken up where it ended.

        Raises:
            HubProblem: if it cannot be had.
        """
        if file not in self.files:
            raise HubProblem(
                f"{self.repo} at {self.revision} has no file {file}", f"correct it{near(file, self.files)}"
            )
        api = _api()
        with _without_bars(is_small=(self.files[file] or 0) < LARGE):
            return Path(
                _patiently(
                    lambda: api.hf_hub_download(self.repo, file, repo_type=self.kind, revision=self.commit),
                    what=self.repo,
                    revision=self.revision,
                )
            )

    def fetch_all(self, patterns: Sequence[str]) -> Path:
        """A local folder with the files that match any of some patterns.

        Raises:
            HubProblem: if they cannot be had.
        """
        api = _api()
        return Path(
            _patiently(
                lambda: api.snapshot_download(
                    self.repo, repo_type=self.kind, revision=self.commit, allow_patterns=list(patterns)
                ),
                what=self.repo,
                revision=self.revision,
            )
        )

    def files_of(self, config: str | None, split: str) -> list[str] | None:
        """The files of a configuration's split, as the card of the data set lists them.

        Returns:
            None where the card lists no configurations.

        Raises:
            HubProblem: if the configuration or the split is not among them, or the data set is a script.
        """
        card = self._card()
        configs = {str(each.get("config_name")): each for each in card.get("configs") or ()}
        if f"{self.repo.rpartition('/')[2]}.py" in self.files and (not configs or config not in configs):
            folder = f"{config}/{split}/*.parquet" if config else f"*/{split}/*.parquet"
            raise HubProblem(
                f"{self.repo} is a script at {self.revision}, which is never run",
                f'set hub_revision: {CONVERTED} and hub_files, here "{folder}"',
            )
        if not configs:
            return None
        if config is None and len(configs) > 1:
            default = [name for name, each in configs.items() if each.get("default")] or [
                name for name in configs if name == "default"
            ]
            if not default:
                raise HubProblem(f"{self.repo} has {len(configs)} configurations", f"set hub_config{some(configs)}")
            config = default[0]
        config = next(iter(configs)) if config is None else config
        if config not in configs:
            raise HubProblem(f"{self.repo} has no configuration {config}", f"correct hub_config{near(config, configs)}")
        splits = _splits(configs[config])
        if splits is None:
            return None
        if split not in splits:
            raise HubProblem(f"{self.repo} {config} has no split {split}", f"correct split{near(split, splits)}")
        return [file for pattern in splits[split] for file in self.matching(pattern)]

    def _card(self) -> Mapping[str, Any]:
        return _metadata(self.fetch("README.md")) if "README.md" in self.files else {}


# The card of a set with 200 configurations takes seconds to read.
@functools.cache
def _metadata(card: Path) -> Mapping[str, Any]:
    from huggingface_hub import metadata_load

    return metadata_load(card) or {}


def _splits(config: Mapping[str, Any]) -> dict[str, list[str]] | None:
    """Split -> patterns of its files; None where a card leaves them to be guessed."""
    entries = config.get("data_files")
    if not isinstance(entries, list) or not all(isinstance(each, dict) and "split" in each for each in entries):
        return None
    # The folder of the configuration counts, as the libraries of the Hub read it.
    folder = f"{str(config['data_dir']).strip('/')}/" if config.get("data_dir") else ""
    found: dict[str, list[str]] = {}
    for each in entries:
        paths = [each["path"]] if isinstance(each["path"], str) else each["path"]
        found.setdefault(str(each["split"]), []).extend(folder + path for path in paths)
    return found


def snapshot(repo: str, revision: str | None = None, *, kind: Kind = "dataset") -> Snapshot:
    """A repository at the commit that a revision stands for: pinned, as the Hub says, or as it said when it last
    answered.

    Args:
        repo: its id.
        revision: branch, tag or commit; None is the main branch.

    Raises:
        HubProblem: if it cannot be had.
    """
    name = _name(kind, repo, revision or "main")
    found = _answer(repo, revision or "main", kind, _pins().get(name))
    if isinstance(found, HubProblem):
        raise found
    if (notes := _NOTES.get()) is not None:
        notes[name] = found.commit
    return found


def pin(records: Mapping[str, str]) -> None:
    """Read what was recorded of an earlier part of a run: names stand for the commits that they stood for then.

    Args:
        records: what `noted` collected; other entries are left alone.
    """
    pins = _pins()
    pins.clear()
    pins.update({name: commit for name, commit in records.items() if name.startswith(_NOTE)})


@contextlib.contextmanager
def noted() -> Iterator[dict[str, str]]:
    """A dictionary that gets the commit of everything that the Hub is asked for inside the block."""
    notes: dict[str, str] = {}
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)


def commits_in(records: Mapping[str, str]) -> dict[str, str]:
    """`dataset ID@REVISION` or `model ID@REVISION` -> commit, out of records that hold other hashes too."""
    return {name.removeprefix(_NOTE): commit for name, commit in records.items() if name.startswith(_NOTE)}


def _name(kind: str, repo: str, revision: str) -> str:
    return f"{_NOTE}{kind} {repo}@{revision}"


_NOTES: ContextVar[dict[str, str] | None] = ContextVar("notes", default=None)


@functools.cache
def _pins() -> dict[str, str]:
    """Of this process, which belongs to one run."""
    return {}


# Once per repository: 49 cells must not wait 49 times for a Hub that does not answer, nor see two commits.
@functools.cache
def _answer(repo: str, revision: str, kind: Kind, pinned: str | None) -> Snapshot | HubProblem:
    try:
        return _ask(repo, revision, kind, pinned)
    except HubProblem as problem:
        return problem


def forget() -> None:
    """Ask again for every commit, and pin none."""
    _answer.cache_clear()
    _pins.cache_clear()


def _ask(repo: str, revision: str, kind: Kind, pinned: str | None) -> Snapshot:
    wanted = pinned or revision
    kept = _place_of(kind, repo, wanted)
    # A commit never changes, so many workers need not ask for one again.
    if _COMMIT.fullmatch(wanted) and (known := _known(kept)):
        return Snapshot(kind, repo, revision, *known)
    try:
        api = _api()
        ask = api.dataset_info if kind == "dataset" else api.model_info
        info: Any = _patiently(
            lambda: ask(repo, revision=wanted, timeout=PROBE_SECONDS, files_metadata=True), what=repo, revision=revision
        )
    except HubProblem as problem:
        if not isinstance(problem, Unreachable):
            raise
        if (known := _known(kept) or _cached(repo, wanted, kind)) is None:
            raise
        log.info("%s at %s: commit %s, without the Hub (%s)", repo, revision, known[0], problem.reason)
        return Snapshot(kind, repo, revision, *known)
    files = {each.rfilename: each.size for each in info.siblings or ()}
    found = Snapshot(kind, repo, revision, str(info.sha), files)
    for place in {kept, _place_of(kind, repo, found.commit)}:
        _keep(place, found)
    return found


def _place_of(kind: Kind, repo: str, revision: str) -> Path:
    """Where it is kept what the Hub said of a revision."""
    return cache_home() / "commits" / f"{hashlib.sha256(f'{kind} {repo} {revision}'.encode()).hexdigest()}.json"


def _known(kept: Path) -> tuple[str, dict[str, int | None]] | None:
    """Commit and files as the Hub last said."""
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
        return str(content["commit"]), dict(content["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(kept: Path, found: Snapshot) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(asdict(found)), encoding="utf-8")
    part.replace(kept)


def _cached(repo: str, revision: str, kind: Kind) -> tuple[str, dict[str, int | None]] | None:
    """Commit and files of what somebody put into the cache of the Hub's own library."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"{kind}s--{repo.replace('/', '--')}"
    ref = folder / "refs" / revision
    commit = revision if _COMMIT.fullmatch(revision) else ref.read_text(encoding="utf-8") if ref.is_file() else ""
    place = folder / "snapshots" / commit
    if not commit or not place.is_dir():
        return None
    files = [each for each in place.rglob("*") if each.is_file()]
    return commit, {each.relative_to(place).as_posix(): each.stat().st_size for each in files}


class Unreachable(HubProblem):
    """The Hub does not answer, or is not to be asked."""


def _patiently(call: Callable[[], T], *, what: str, revision: str) -> T:
    """What a call to the Hub returns; a Hub that is busy is asked again, after as long as it says.

    Raises:
        HubProblem: if it refuses, or stays busy. `Unreachable`: if it does not answer.
    """
    from huggingface_hub.errors import HTTPError

    pause = _FIRST_PAUSE
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return call()
        # OSError: offline, or a download that stays cut off. ValueError: not an id.
        except (HTTPError, OSError, ValueError) as error:
            how, wait = _busy(error)
            if how is None:
                raise _problem(error, what, revision) from error
            wait = pause if wait is None else wait
            if attempt == _ATTEMPTS or wait > _LONGEST_PAUSE:
                often = f", {attempt} times" if attempt > 1 else ""
                later = f", and asks to wait {wait:.0f} s" if wait > _LONGEST_PAUSE else ""
                raise Unreachable(
                    f"the Hub is busy ({how}{often}){later}",
                    "run the same command again later; set HF_TOKEN, since the Hub lets known users ask more often",
                ) from error
            log.warning("%s: the Hub is busy (%s); asking again in %g s", what, how, wait)
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)
    raise AssertionError("the last attempt returns or raises")


def _busy(error: BaseException | None) -> tuple[str | None, float | None]:
    """How a Hub is busy, and its `Retry-After` in seconds, wherever the error wraps it; None where it is not."""
    while error is not None:
        if type(error).__name__ == "ReadTimeout":
            return "no answer in time", None
        response = getattr(error, "response", None)
        if response is not None and response.status_code in _BUSY:
            after = str(response.headers.get("Retry-After", ""))
            return f"status {response.status_code}", float(after) if after.isdigit() else None
        error = error.__cause__
    return None, None


def _problem(error: Exception, what: str, revision: str) -> HubProblem:
    from huggingface_hub.constants import is_offline_mode
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if isinstance(cause, GatedRepoError) or (response is not None and response.status_code == 403):
            return HubProblem(f"{what} is gated", f"accept the terms on the page of {what}, and set HF_TOKEN")
        if isinstance(cause, RevisionNotFoundError):
            return HubProblem(f"{what} has no revision {revision}", "correct the revision: a branch, tag or commit")
        if isinstance(cause, RepositoryNotFoundError):
            return HubProblem(
                f"the Hub has no {what}, or shows it to some only", "check the id; if it is private, set HF_TOKEN"
            )
        cause = cause.__cause__
    if is_offline_mode():
        return Unreachable(
            "it is not in the cache, and HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE once to download it"
        )
    said = " ".join(str(error).split())[:160]
    return Unreachable(f"{type(error).__name__}: {said}", "connect to the Hub and check the id")


def near(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """Names that a wrong one may stand for, for the end of a remedy; some of them where none is near."""
    close = get_close_matches(name, list(known), n=_SHOWN, cutoff=0.5)
    return f"; near: {', '.join(close)}" if close else some(known)


def some(known: Sequence[str] | Mapping[str, Any]) -> str:
    """The first names of many, for the end of a remedy."""
    names = sorted(known)
    more = f", ... ({len(names)})" if len(names) > _SHOWN else ""
    return f"; there are: {', '.join(names[:_SHOWN])}{more}" if names else "; it has none"


@contextlib.contextmanager
def _without_bars(*, is_small: bool) -> Iterator[None]:
    """No bar for a small file: a matrix of cells has dozens of them."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if not is_small or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _api() -> "HfApi":
    # The import takes a second; a run on local files never pays for it.
    from huggingface_hub import HfApi

    return HfApi()


def cache_home() -> Path:
    """Where raykd keeps what it knows of the Hub and downloads from elsewhere: beside the Hub's own cache."""
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "raykd"
