"""The data of the QA task: budgets of parallel items, cells for scoring, labelled items for generation 0."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from raykd.config.base import Source
from raykd.config.training import BUDGET
from raykd.config.unlabelled import REST, UnlabelledConfig
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
    """The examples of one budget, what the teacher reads instead of their questions, and how they came about.

    Attributes:
        num_labelled: the first so many examples have answers, the others are those of unlabelled items.
        num_unlabelled_items: how many items those are of.
    """

    examples: list[QAExample]
    teacher_questions: dict[int, str] | None
    budget: Budget
    sha256: str
    num_labelled: int
    num_unlabelled_items: int

    def description(self) -> dict[str, Any]:
        """What a record says of the data: the budget's ids and hash, and counts of language pairs."""
        labelled, others = self.examples[: self.num_labelled], self.examples[self.num_labelled :]
        found = {"budget": self.budget.to_json(), "sha256": self.sha256, **pair_statistics(labelled)}
        if others:
            # A pair's context is what is read for an answer.
            found["unlabelled"] = dict(Counter(each.context_language for each in others))
        return found


@dataclass(frozen=True)
class QaItems:
    """Parallel items.

    Attributes:
        labelled: those that budgets are drawn from.
        unlabelled: those that may be read without their answers, of which those of the budget are not; none of them
            has an answer here.
    """

    labelled: ParallelQA
    unlabelled: ParallelQA = field(default_factory=dict)


def load_items(config: QaData, *, folder: Path, unlabelled: UnlabelledConfig | None = None) -> QaItems:
    """All parallel items: those that a budget is drawn from, in `config.languages`, and unlabelled ones.

    Args:
        unlabelled: the section of the latter; None reads none.
    """
    answers = config.answers
    labelled = _parallel(config.train, config.languages, folder=folder, answers=answers)
    if unlabelled is None:
        return QaItems(labelled)
    languages = unlabelled.languages or config.languages
    if unlabelled.source != REST:
        others = _parallel(unlabelled.source, languages, folder=folder, answers="ignored")
    else:
        strange = [language for language in languages if language not in config.languages]
        more = _parallel(config.train, strange, folder=folder, answers="ignored") if strange else {}
        others = {
            name: {language: {**item, **more.get(name, {})}[language] for language in languages}
            for name, item in labelled.items()
            if not strange or name in more
        }
    return QaItems(labelled, {name: _without_answers(item) for name, item in others.items()})


def _parallel(source: Source, languages: Sequence[str], *, folder: Path, answers: Answers) -> ParallelQA:
    if source.builtin:
        return _small_world("train", source, source.builtin_items, languages=languages)
    return read_parallel(reference(source), languages=languages, folder=folder, answers=answers)


def _without_answers(item: Mapping[str, QAExample]) -> dict[str, QAExample]:
    return {language: replace(example, answers=()) for language, example in item.items()}


def load_train(config: QaData, items: QaItems, *, seed: int, unlabelled: UnlabelledConfig | None = None) -> TrainData:
    """Draw a budget and its language pairs, both by `seed`, and the pairs of unlabelled items.

    Raises:
        DataError: if there are fewer items than the budget, or no unlabelled ones.
    """
    budget = select(items.labelled, config.budget, seed=seed)
    chosen = {item: items.labelled[item] for item in sorted(budget.ids)}
    examples = _pairs(config, chosen, config.languages, seed=seed)
    num_labelled, num_unlabelled_items = len(examples), 0
    views = _teacher_questions(config, examples, chosen, seed=seed)
    if unlabelled is not None:
        others = _chosen_unlabelled(items, unlabelled, budget)
        num_unlabelled_items = len(others)
        more = _pairs(config, others, unlabelled.languages or config.languages, seed=seed)
        found = _teacher_questions(config, more, others, seed=seed)
        if views is not None and found is not None:
            views |= {num_labelled + number: question for number, question in found.items()}
        examples = examples + more
    return TrainData(examples, views, budget, hash_examples(examples), num_labelled, num_unlabelled_items)


def _pairs(config: QaData, items: ParallelQA, languages: Sequence[str], *, seed: int) -> list[QAExample]:
    return cross_lingual_pairs(
        items,
        num_target_languages=config.num_target_languages,
        languages=languages,
        seed=seed,
        english_centric=config.english_centric and config.pivot in languages,
        pivot=config.pivot,
    )


def _teacher_questions(
    config: QaData, examples: Sequence[QAExample], items: ParallelQA, *, seed: int
) -> dict[int, str] | None:
    """Example number -> the question that the teacher reads; None where it reads the student's."""
    if config.teacher_view == "same":
        return None
    seen = parallel_view(examples, items, mode=config.teacher_view, seed=seed, pivot=config.pivot)
    return {number: seen[example.id].question for number, example in enumerate(examples)}


def _chosen_unlabelled(items: QaItems, section: UnlabelledConfig, budget: Budget) -> ParallelQA:
    """The unlabelled items of a point: none of its budget.

    Which ones `max_items` keeps is the same for all points, but for those in their budgets.
    """
    labelled = set(budget.ids)
    order = [name for name in select(items.unlabelled, "all", seed=0).ids if name not in labelled]
    if not order:
        raise DataError("data.unlabelled: no item is left outside of the budget; lower data.budget, or take a source")
    return {name: items.unlabelled[name] for name in sorted(order[: section.max_items])}


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
    assert config.source != BUDGET, "asked for where labels are not those of the budget"
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
        found = load_items(config.data, folder=folder, unlabelled=config.read_unlabelled)
        every = [example for item in found.labelled.values() for example in item.values()]
        every += [example for item in found.unlabelled.values() for example in item.values()]
        return Items(found, len(found.labelled), hash_examples(every), keys=lambda: keys_of(every))

    def texts(self, config: QaPoint, items: QaItems) -> Mapping[str, Sequence[str]]:
        found: dict[str, dict[str, None]] = {}
        for item in [*items.labelled.values(), *items.unlabelled.values()]:
            for language, example in item.items():
                # Many questions share a context.
                found.setdefault(language, {}).update(dict.fromkeys((example.context, example.question)))
        return {language: list(texts) for language, texts in found.items()}

    def draw(self, config: QaPoint, items: QaItems) -> Mapping[str, int] | None:
        found = load_train(config.data, items, seed=config.data_seed, unlabelled=config.unlabelled)
        return dict.fromkeys(config.unlabelled_languages, found.num_unlabelled_items) or None

    def content(self, config: QaPoint, scored: QaScored, items: QaItems | None, *, folder: Path) -> Content:
        cells = load_cells(scored, folder=folder)
        found = [example for cell in cells.values() for example in cell]
        return Content(len(found), hash_examples(found), lambda: keys_of(found))

    def labelled_content(self, config: QaPoint, items: QaItems | None, *, folder: Path) -> Content:
        found = _labelled(config, items, folder=folder)
        return Content(len(found), hash_examples(found), lambda: keys_of(found))

    def signal_bytes(self, config: QaPoint, texts: TextSizes, *, tokens: float, width: int) -> float:
        return tokens * 2 * 4  # a start and an end, float32

    def train_set(self, config: QaPoint, tokenizer: Any, *, items: QaItems, places: Places) -> TrainSet:
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

        examples = _labelled(config, None, folder=folder)
        no_answer = config.data.no_answer
        return build_features(examples, tokenizer, no_answer=no_answer, **config.window_options), hash_examples(
            examples
        )


def _labelled(config: QaPoint, items: QaItems | None, *, folder: Path) -> list[QAExample]:
    """What generation 0 is trained on.

    Args:
        items: of the training data, None where they were not read.
    """
    train = config.base.train
    assert train is not None, "asked for where a teacher is trained"
    if train.source != BUDGET:
        return load_labelled(train, folder=folder, answers=config.data.answers)
    examples = load_train(config.data, items or load_items(config.data, folder=folder), seed=config.data_seed).examples
    return sample(examples, max_items=train.max_items, seed=config.data_seed)
