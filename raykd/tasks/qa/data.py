"""The data of the QA task: budgets of parallel items, cells for scoring, labelled items for generation 0."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from raykd.config.base import Source
from raykd.data import smallworld
from raykd.data.budgets import Budget, select
from raykd.data.examples import ParallelQA, QAExample
from raykd.data.sampling import cross_lingual_pairs, pair_statistics, parallel_view
from raykd.data.shares import in_part
from raykd.data.squad import Answers, read_cells, read_flat, read_parallel, sample
from raykd.errors import DataError
from raykd.tasks.qa.config import QaData, QaLabelTraining, QaPoint, QaScored
from raykd.tasks.readers import PlainReader, reference, source_name
from raykd.tasks.sizes import Content, Items, Keys, TextSizes
from raykd.tasks.task import Features, Places, ScoredSet, TrainSet

TYDIQA_NAMES = {
    "ar": "arabic",
    "bn": "bengali",
    "en": "english",
    "fi": "finnish",
    "id": "indonesian",
    "ko": "korean",
    "ru": "russian",
    "sw": "swahili",
    "te": "telugu",
}
"""Language -> how TyDiQA-GoldP's ids begin."""

Cells = dict[tuple[str, str], list[QAExample]]


@dataclass(frozen=True)
class TrainData:
    """The examples of one budget, what the teacher reads instead of their questions, and how they came about."""

    examples: list[QAExample]
    teacher_questions: dict[int, str] | None
    budget: Budget
    sha256: str

    def description(self) -> dict[str, Any]:
        """What a record says of the data: the budget's ids and hash, and counts of language pairs."""
        return {"budget": self.budget.to_json(), "sha256": self.sha256, **pair_statistics(self.examples)}


def load_items(config: QaData, *, folder: Path) -> ParallelQA:
    """All parallel items that a budget is drawn from, in `config.languages`."""
    if config.train.builtin:
        return _small_world("train", config.train, config.train.builtin_items, languages=config.languages)
    return read_parallel(reference(config.train), languages=config.languages, folder=folder, answers=config.answers)


def load_train(config: QaData, items: ParallelQA, *, seed: int) -> TrainData:
    """Draw a budget and its language pairs, both by `seed`."""
    budget = select(items, config.budget, seed=seed)
    chosen = {item: items[item] for item in sorted(budget.ids)}
    examples = cross_lingual_pairs(
        chosen,
        num_target_languages=config.num_target_languages,
        languages=config.languages,
        seed=seed,
        english_centric=config.english_centric,
        pivot=config.pivot,
    )
    views = None
    if config.teacher_view != "same":
        seen = parallel_view(examples, chosen, mode=config.teacher_view, seed=seed, pivot=config.pivot)
        views = {number: seen[example.id].question for number, example in enumerate(examples)}
    return TrainData(examples, views, budget, hash_examples(examples))


def load_cells(config: QaScored, *, folder: Path, diagonal: bool = False) -> Cells:
    """(question language, context language) -> the fixed sample of that cell, in a fixed order.

    Args:
        diagonal: only cells of one language, which then need not be parallel.
    """
    languages = config.languages
    if config.source.builtin:
        count = config.source.builtin_items if config.source.share else config.max_items or config.source.builtin_items
        items = _small_world("dev", config.source, count, languages=languages)
        items = dict(islice(items.items(), config.max_items))
        pairs = [(q, c) for q in languages for c in languages if q == c or not diagonal]
        return {(q, c): [_across(item, q, c) for item in items.values()] for q, c in pairs}
    if reference(config.source).is_one_set:
        return _cells_of_one_set(config, folder=folder)
    return read_cells(
        reference(config.source),
        question_languages=languages,
        context_languages=languages,
        folder=folder,
        max_items=config.max_items,
        seed=config.seed,
        diagonal=diagonal,
        answers=_answers(config),
    )


def _answers(config: QaScored) -> Answers:
    return "some" if config.unanswerable else "each"


def _cells_of_one_set(config: QaScored, *, folder: Path) -> Cells:
    """The diagonal, from a set of one language, or from TyDiQA-GoldP, whose ids begin with a language's name."""
    most, seed = config.max_items, config.seed
    if len(config.languages) == 1:
        (language,) = config.languages
        only = read_flat(reference(config.source), language=language, folder=folder, answers=_answers(config))
        if any(each.id.startswith(tuple(f"{name}-" for name in TYDIQA_NAMES.values())) for each in only):
            only = [each for each in only if each.id.startswith(f"{TYDIQA_NAMES.get(language, language)}-")]
        return {(language, language): sample(only, max_items=most, seed=seed)}
    examples = read_flat(reference(config.source), language="und", folder=folder, answers=_answers(config))
    cells: Cells = {}
    for language in config.languages:
        name = TYDIQA_NAMES.get(language, language)
        members = [
            replace(example, question_language=language, context_language=language)
            for example in examples
            if example.id.startswith(f"{name}-")
        ]
        if not members:
            found = f"no id begins with {name!r}"
            raise DataError(
                f"{source_name(config.source)}: {found}: cannot tell languages; use {{language}} in path, "
                "hub_config or hub_files"
            )
        cells[language, language] = sample(members, max_items=most, seed=seed)
    return cells


def load_labelled(config: QaLabelTraining, *, folder: Path, answers: Answers = "each") -> list[QAExample]:
    """Labelled examples in one language, for generation 0.

    Args:
        answers: which questions need one, see `read_squad`.
    """
    if config.source.builtin:
        count = config.max_items or config.source.builtin_items
        return smallworld.monolingual("base", count, language=config.language)
    return read_flat(
        reference(config.source),
        language=config.language,
        folder=folder,
        max_items=config.max_items,
        seed=config.seed,
        answers=answers,
    )


def hash_examples(examples: Iterable[QAExample]) -> str:
    """SHA-256 over all that the examples say."""
    digest = hashlib.sha256()
    for example in examples:
        parts = [example.id, example.question, example.context, example.question_language, example.context_language]
        parts += [f"{answer.start}:{answer.text}" for answer in example.answers]
        digest.update("\x1f".join(parts).encode() + b"\x1e")
    return digest.hexdigest()


def _across(item: dict[str, QAExample], question: str, context: str) -> QAExample:
    asked, read = item[question], item[context]
    return QAExample(asked.id, asked.question, read.context, read.answers, question, context)


def _small_world(split: str, source: Source, count: int, *, languages: Sequence[str]) -> ParallelQA:
    items = smallworld.parallel_items(split, count, languages=languages)
    return {name: items[name] for name in in_part(items, source.share, seed=source.share_seed, key=str)}


def keys_of(examples: Iterable[QAExample]) -> Keys:
    """Id -> language -> the context that is read in it."""
    found: dict[str, dict[str, str]] = {}
    for example in examples:
        found.setdefault(example.id, {})[example.context_language] = example.context
    return found


class QaReader(PlainReader):
    """See `raykd.tasks.task.TaskData`."""

    def items(self, config: QaPoint, *, folder: Path) -> Items:
        found = load_items(config.data, folder=folder)
        every = [example for item in found.values() for example in item.values()]
        return Items(found, len(found), hash_examples(every), keys=lambda: keys_of(every))

    def draw(self, config: QaPoint, items: ParallelQA) -> None:
        load_train(config.data, items, seed=config.data_seed)

    def content(self, config: QaPoint, scored: QaScored, items: ParallelQA | None, *, folder: Path) -> Content:
        cells = load_cells(scored, folder=folder)
        found = [example for cell in cells.values() for example in cell]
        return Content(len(found), hash_examples(found), lambda: keys_of(found))

    def labelled_content(self, config: QaPoint, items: ParallelQA | None, *, folder: Path) -> Content:
        found = load_labelled(_label_training(config), folder=folder, answers=config.data.answers)
        return Content(len(found), hash_examples(found), lambda: keys_of(found))

    def signal_bytes(self, config: QaPoint, texts: TextSizes, *, tokens: float, width: int) -> float:
        return tokens * 2 * 4  # a start and an end, float32

    def train_set(self, config: QaPoint, tokenizer: Any, *, items: ParallelQA, places: Places) -> TrainSet:
        from raykd.tasks.qa.sets import train_set

        return train_set(config, tokenizer, items)

    def scored_set(self, config: QaPoint, scored: QaScored, tokenizer: Any, *, places: Places) -> ScoredSet:
        from raykd.tasks.qa.sets import dev_set

        cells = load_cells(scored, folder=places.folder)
        return dev_set(cells, tokenizer, whole_words=scored.whole_words, **config.window_options)

    def labelled(
        self, config: QaPoint, tokenizer: Any, model: Any, *, folder: Path, language: str | None
    ) -> tuple[Features, str]:
        from raykd.tasks.qa.features import build_features

        examples = load_labelled(_label_training(config), folder=folder, answers=config.data.answers)
        no_answer = config.data.no_answer
        return build_features(examples, tokenizer, no_answer=no_answer, **config.window_options), hash_examples(
            examples
        )


def _label_training(config: QaPoint) -> QaLabelTraining:
    assert config.base.train is not None, "asked for where a teacher is trained"
    return config.base.train
