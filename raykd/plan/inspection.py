"""Finds and reads everything that the points of a plan name."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from raykd.config.digest import dump
from raykd.config.identity import Identity
from raykd.config.point import PointBase
from raykd.config.training import BUDGET
from raykd.data.hub import noted
from raykd.errors import DataError
from raykd.plan.points import Plan
from raykd.plan.vocabulary import check_vocabulary
from raykd.results.artifacts import fingerprint, hash_folder
from raykd.results.models import check_model, locate_model, positions_of
from raykd.tasks import task_of
from raykd.tasks.sizes import Content, Items, TextSizes, shared
from raykd.tasks.task import Task


@dataclass(frozen=True)
class Inspection:
    """What reading all data and finding all models showed; `hashes` as of `check_data`."""

    items: tuple[int, ...]
    hashes: dict[str, str]
    problems: tuple[str, ...]
    texts: TextSizes
    num_labelled: int | None
    unlabelled: dict[str, int]
    vocabularies: list[Any]


def check_data(plan: Plan, *, folder: Path) -> dict[str, str]:
    """Find and read every data set, and find every model, that the points name.

    Returns:
        Data set, as a section of the file says it, or `student.model NAME` -> hash of what it holds; and the commits
        of the Hub, see `raykd.data.hub.noted`.

    Raises:
        DataError: with all that is missing or wrong, over all of them.
    """
    found = inspect(plan, folder)
    if found.problems:
        raise DataError(found.problems)
    return found.hashes


def inspect(plan: Plan, folder: Path) -> Inspection:
    """Read and find everything that the points name."""
    configs = [point.config for point in plan.points]
    inspector = _Inspector(task_of(configs[0]), folder)
    with noted() as commits:
        for key, group in _grouped(configs, PointBase.items_recipe):
            inspector.read_data(key, group)
        inspector.find_models(configs)
    inspector.hashes |= commits
    return inspector.found()


def check_sets(configs: Sequence[PointBase], *, folder: Path) -> dict[str, str]:
    """Find and read every set that points are trained, chosen or tested by, and no models.

    Returns:
        As `check_data`, of the test sets alone, and the commits of the Hub.

    Raises:
        DataError: as `check_data` does.
    """
    inspector = _Inspector(task_of(configs[0]), folder)
    with noted() as commits:
        for key, group in _grouped(configs, PointBase.items_recipe):
            inspector.read_data(key, group)
    if inspector.problems:
        raise DataError(inspector.problems)
    return commits | {name: digest for name, digest in inspector.hashes.items() if name.startswith("tests.")}


class _Inspector:
    """Reads and finds, and goes on where something is wrong."""

    def __init__(self, task: Task, folder: Path) -> None:
        self.task, self.folder = task, folder
        self.hashes: dict[str, str] = {}
        self.problems: dict[str, None] = {}
        self.sizes: list[int] = []
        self.labelled: list[int] = []
        self.texts = TextSizes()
        self.unlabelled: dict[str, int] = {}
        self.vocabularies: list[Any] = []

    def found(self) -> Inspection:
        """All of it."""
        problems, labelled = tuple(self.problems), max(self.labelled, default=None)
        return Inspection(
            tuple(self.sizes), self.hashes, problems, self.texts, labelled, self.unlabelled, self.vocabularies
        )

    def read_data(self, key: str, group: Sequence[PointBase]) -> None:
        """The data of points that draw from the same items, which `key` names."""
        read = self._attempt(self.task.data.items, group[0])
        items = read.all if read else None
        used: list[tuple[str, Items | Content]] = []
        if read:
            self.sizes.append(read.count)
            self.texts = read.texts
            self.hashes[f"data {key}"] = read.sha256
            used.append(("data.train", read))
            for _, same in _grouped(group, lambda config: config.data.budget):
                counts = self._attempt(partial(self.task.data.draw, same[0], items)) or {}
                for language, count in counts.items():
                    self.unlabelled[language] = max(count, self.unlabelled.get(language, 0))
        for inner, same in _grouped((config for config in group if config.label_training), _label_recipe):
            assert self.task.labelled is not None, "a point that trains on labels is of a task that can"
            if content := self._read(f"base.train {inner}", self.task.labelled.labelled_content, same[0], items):
                self.labelled.append(content.count)
                used.append(("base.train", content))
        for inner, same in _grouped(group, lambda config: config.score_recipe(config.selection_set)):
            section = same[0].selection_set
            if content := self._read(f"selection {inner}", self.task.data.content, same[0], section, items):
                used.append(("selection", content))
                self._check_vocabularies(same, items, content)
        tests = [(name, config, test) for config in group for name, test in config.test_sets.items()]
        recipes = {f"tests.{name} {config.score_recipe(test)}": (name, config, test) for name, config, test in tests}
        for inner, (name, config, test) in recipes.items():
            if content := self._read(inner, self.task.data.content, config, test, items):
                self.problems |= dict.fromkeys(_overlaps(f"tests.{name}", content, used))

    def _check_vocabularies(self, configs: Sequence[PointBase], items: Any, scored: Content) -> None:
        """Whether vocabularies that are trimmed cover what is trained on and scored."""
        trimmed = [config for config in configs if config.student.vocabulary is not None]
        if not trimmed or items is None:
            return
        texts: dict[str, list[str]] = {}
        for item in scored.keys().values():
            for language, text in item.items():
                texts.setdefault(language, []).append(text)
        for _, same in _grouped(trimmed, lambda config: dump(config.student)):
            read = partial(check_vocabulary, same[0], self.task.data.texts(same[0], items), texts, folder=self.folder)
            if (found := self._attempt(read)) is not None:
                self.vocabularies.append(found)

    def find_models(self, configs: Sequence[PointBase]) -> None:
        """The models that points name."""
        for model in dict.fromkeys(model for config in configs for model in _models(config)):
            if not model.startswith("builtin:"):
                self._attempt(check_model, model)
        read = {(model, config.data.max_length) for config in configs for model in _students(config)}
        for model, most in sorted(read):
            self._attempt(_check_length, model, most)
        locate = partial(locate_model, folder=self.folder)
        self._attempt(partial(self.task.data.check_models, configs, locate=locate))
        # Points take this model when they start, which may be days apart; base.model and teacher.model are copied at
        # first.
        for model in dict.fromkeys(config.student.model for config in configs if config.student.model):
            digest = self._attempt(_hash_model, model)
            if digest is not None:
                self.hashes[f"student.model {model}"] = digest

    def _read(self, name: str, read: Callable[..., Content], *arguments: Any) -> Content | None:
        content: Content | None = self._attempt(read, *arguments)
        if content is not None:
            self.hashes[name] = content.sha256
        return content

    def _attempt(self, check: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return check() if isinstance(check, partial) else check(*arguments, folder=self.folder)
        except DataError as error:
            self.problems.update(dict.fromkeys(error.problems))
            return None


def _overlaps(test: str, content: Content, used: Iterable[tuple[str, Items | Content]]) -> Iterable[str]:
    """A line for each set that shares items with a test set.

    Args:
        test: key of the test set.
        used: key of each set that is trained on, or chosen by, and what it holds.
    """
    keys = content.keys()
    for where, other in used:
        if both := shared(keys, other.keys()):
            some = ", ".join(sorted(both)[:3]) + (", ..." if len(both) > 3 else "")
            yield (
                f"{test}: {len(both)} of its {len(keys)} items are in {where} too, in whichever language ({some}); "
                "nothing may be trained on, or chosen by, what it is tested on: set `share` of the one source to "
                "[0, 0.5] and of the other to [0.5, 1], or take another set"
            )


def _label_recipe(config: PointBase) -> Any:
    train = config.label_training
    if train is None:
        return None
    # Labels of the budget are others for every budget and seed.
    return dump(train), config.budget_recipe() if train.source == BUDGET else None


def _models(config: PointBase) -> list[str]:
    """The models that a point names."""
    return [model for model in (config.base.model, config.student.model, *given_teachers(config)) if model]


def given_teachers(config: PointBase) -> list[str]:
    """The models that teach generation 1 in place of generation 0."""
    return list(dict.fromkeys(Identity(config).given_teachers.values()))


def _students(config: PointBase) -> list[str]:
    """The models that read windows of `data.max_length` tokens."""
    named = config.base.model, config.student.model
    return [model for model in named if model and not model.startswith("builtin:")]


def _check_length(model: str, most: int, *, folder: Path) -> None:
    """Refuse windows that are longer than what a model reads.

    Raises:
        DataError: naming both lengths.
    """
    positions = positions_of(model, folder=folder)
    if positions is not None and most > positions:
        raise DataError(f"data.max_length: got {most}; model {model} reads at most {positions} tokens")


def _hash_model(name: str, *, folder: Path) -> str | None:
    """Hash of all files of a model folder; None for a Hub id."""
    located = Path(locate_model(name, folder=folder))
    return fingerprint(hash_folder(located)) if located.is_dir() else None


def _grouped(configs: Iterable[PointBase], key: Callable[[PointBase], Any]) -> Iterable[tuple[str, list[PointBase]]]:
    groups: dict[str, list[PointBase]] = {}
    for config in configs:
        groups.setdefault(repr(key(config)), []).append(config)
    return groups.items()
