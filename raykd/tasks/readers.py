"""The data sets of a point, read as its task reads them, without a model: what is wrong is found before a start."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from raykd.config.point import EvaluationConfig, PointConfig
from raykd.errors import DataError
from raykd.tasks.parallel import data as parallel_data
from raykd.tasks.qa import data as qa_data
from raykd.tasks.sizes import TextSizes
from raykd.tasks.tagging import data as tagging_data

PIECES_PER_WORD = 1.6
"""Assumed for an estimate: WikiAnn has 1.4 (English) to 3.1 (Tamil) of mBERT's pieces a word."""


class Reader(Protocol):
    """What a sweep's check needs of a task's data. Every method raises DataError with all that is missing or wrong."""

    def items(self, config: PointConfig, *, folder: Path) -> tuple[Any, int, str]:
        """What budgets are drawn from, how many (of each language) there are, and a hash."""

    def texts(self, items: Any) -> TextSizes:
        """What the items are like, for an estimate."""

    def budget(self, config: PointConfig, items: Any, *, folder: Path) -> None:
        """Draw a point's budget."""

    def dev(self, config: PointConfig, items: Any, *, folder: Path) -> str:
        """Hash of what a point is scored on."""

    def models(self, configs: Sequence[PointConfig], *, locate: Callable[[str], str]) -> None:
        """Read of the points' models what says whether the task can use them."""


class LabelledReader(Reader, Protocol):
    """What the check needs of a task whose generation 0 may be trained on labels."""

    def labelled(self, config: PointConfig, items: Any, *, folder: Path) -> tuple[int, str]:
        """How many examples generation 0 is trained on, and their hash."""


class QAReader:
    """The data of task `qa`."""

    def items(self, config: PointConfig, *, folder: Path) -> tuple[Any, int, str]:
        found = qa_data.load_items(config.data, folder=folder)
        return found, len(found), qa_data.hash_examples(example for item in found.values() for example in item.values())

    def texts(self, items: Any) -> TextSizes:
        return TextSizes()

    def budget(self, config: PointConfig, items: Any, *, folder: Path) -> None:
        qa_data.load_train(config.data, seed=config.data_seed, items=items, folder=folder)

    def dev(self, config: PointConfig, items: Any, *, folder: Path) -> str:
        cells = [qa_data.load_cells(each, folder=folder) for each in _scored_on(config.evaluation)]
        return qa_data.hash_examples(example for each in cells for cell in each.values() for example in cell)

    def labelled(self, config: PointConfig, items: Any, *, folder: Path) -> tuple[int, str]:
        found = list(qa_data.load_labelled(config.base.train, folder=folder))
        return len(found), qa_data.hash_examples(found)

    def models(self, configs: Sequence[PointConfig], *, locate: Callable[[str], str]) -> None:
        """Nothing: they are checked when they are loaded."""


class TagReader:
    """The data of task `tagging`."""

    def items(self, config: PointConfig, *, folder: Path) -> tuple[Any, int, str]:
        found = tagging_data.load_items(config.data, folder=folder)
        return found, min(map(len, found.sentences.values())), tagging_data.hash_sentences(found.all())

    def texts(self, items: Any) -> TextSizes:
        words = fmean(len(sentence.words) for sentence in items.all())
        return TextSizes(tokens=2 + PIECES_PER_WORD * words, words=words, labels=len(items.labels()))

    def budget(self, config: PointConfig, items: Any, *, folder: Path) -> None:
        tagging_data.load_train(config.data, seed=config.data_seed, items=items)

    def dev(self, config: PointConfig, items: Any, *, folder: Path) -> str:
        labels = items.labels() if items else None
        found = []
        for evaluation in _scored_on(config.evaluation):
            found += tagging_data.load_dev(evaluation, config.data.columns, folder=folder, labels=labels).all()
        return tagging_data.hash_sentences(found)

    def labelled(self, config: PointConfig, items: Any, *, folder: Path) -> tuple[int, str]:
        found = tagging_data.load_labelled(
            config.base.train,
            config.data,
            languages=config.data.languages,
            folder=folder,
            labels=items.labels() if items else None,
        ).all()
        return len(found), tagging_data.hash_sentences(found)

    def models(self, configs: Sequence[PointConfig], *, locate: Callable[[str], str]) -> None:
        """Nothing: they are checked when they are loaded."""


class PairReader:
    """The data of task `parallel`."""

    def items(self, config: PointConfig, *, folder: Path) -> tuple[Any, int, str]:
        found = parallel_data.load_items(config.data, folder=folder)
        return found, min(map(len, found.pairs.values())), parallel_data.hash_pairs(found.all())

    def texts(self, items: Any) -> TextSizes:
        pairs = items.all()
        english = {pair.english: len(pair.english.split()) for pair in pairs}
        other = fmean(len(pair.other.split()) for pair in pairs)
        tokens = 3 + PIECES_PER_WORD * (fmean(english[pair.english] for pair in pairs) + other)
        return TextSizes(tokens=tokens, words=fmean(english.values()), distinct=len(english) / len(pairs))

    def budget(self, config: PointConfig, items: Any, *, folder: Path) -> None:
        parallel_data.load_train(config.data, seed=config.data_seed, items=items)

    def dev(self, config: PointConfig, items: Any, *, folder: Path) -> str:
        place = {"pivot": config.data.pivot, "folder": folder}
        readings: list[Callable[[], Any]] = [
            partial(parallel_data.load_dev, each, **place) for each in _scored_on(config.evaluation)
        ]
        probes = config.evaluation.zero_shot.values()
        readings += [
            partial(parallel_data.load_zero_shot, each, seed=config.evaluation.seed, **place) for each in probes
        ]
        found: list[Any] = []
        problems: dict[str, None] = {}
        for read in readings:
            try:
                found += read().all()
            except DataError as error:
                problems.update(dict.fromkeys(error.problems))
        if problems:
            raise DataError(problems)
        return parallel_data.hash_pairs(found)

    def models(self, configs: Sequence[PointConfig], *, locate: Callable[[str], str]) -> None:
        if any(not name.startswith("builtin:") for each in configs for name in (each.base.model, each.teacher.model)):
            # Only this needs torch; other plans do not wait for it.
            from raykd.tasks.parallel.checks import check_models

            check_models(configs, locate=locate)


def _scored_on(evaluation: EvaluationConfig) -> list[EvaluationConfig]:
    """What results are scored on, and what is scored after every epoch where that is another set."""
    sources = [evaluation.source, *filter(None, [evaluation.selection])]
    return [evaluation.model_copy(update={"source": source, "selection": None}) for source in sources]


READERS: dict[str, Reader] = {"qa": QAReader(), "tagging": TagReader(), "parallel": PairReader()}
"""The word in a sweep file's `task` -> how its data is read."""
