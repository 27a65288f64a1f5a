"""The sentences of the tagging task: files and the built-in world, budgets, labels."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from raykd.config.training import BUDGET
from raykd.config.unlabelled import REST
from raykd.data import smallworld_tags
from raykd.data.budgets import Budget, select
from raykd.data.conll import Labels, read_languages
from raykd.data.examples import Sentence
from raykd.data.shares import in_part
from raykd.data.tag_format import TagFormat
from raykd.data.tags import Scheme, label_set, named_labels, types_of
from raykd.data.texts import read_texts
from raykd.errors import DataError
from raykd.tasks.readers import reference, source_name
from raykd.tasks.sizes import Keys
from raykd.tasks.tagging.config import (
    ColumnsConfig,
    TaggingData,
    TaggingLabelTraining,
    TaggingScored,
    TaggingSource,
    TaggingUnlabelled,
)

PLAIN_TEXT = ".txt"
"""How a file of unlabelled sentences ends that has one in each line."""


@dataclass(frozen=True)
class TagItems:
    """Tagged sentences by language.

    Attributes:
        scheme: of the tags of all of them.
        counts: language -> what reading its source did, for a record.
        named: what the sweep file says the labels are, as `named_labels` takes it; None: those of the sentences.
        unlabelled: sentences without tags that no budget is drawn from, by language.
    """

    sentences: dict[str, list[Sentence]]
    scheme: Scheme
    counts: dict[str, dict[str, object]]
    named: tuple[str, ...] | None = None
    unlabelled: dict[str, list[Sentence]] = field(default_factory=dict)

    def all(self) -> list[Sentence]:
        """The sentences of all languages, one after another."""
        return [sentence for members in self.sentences.values() for sentence in members]

    def labels(self) -> tuple[str, ...]:
        """All labels that the chunk types of these sentences can have, or those that are named."""
        if self.named is not None:
            return named_labels(self.named, self.scheme)
        return label_set(types_of((sentence.tags for sentence in self.all()), self.scheme), self.scheme)


def load_sentences(
    source: TaggingSource,
    columns: ColumnsConfig,
    *,
    languages: Sequence[str],
    folder: Path,
    split: str,
    labels: Labels | None = None,
    tags: bool = True,
) -> TagItems:
    """The sentences of a source in some languages.

    Args:
        split: of the built-in world.
        labels: refuse a tag that is not one of them.
        tags: read them; otherwise sentences of files have none.

    Raises:
        DataError: naming file and line, all that is wrong at once.
    """
    if source.builtin:
        made = smallworld_tags.sentences(split, source.builtin_items, languages=languages, scheme=columns.encode)
        whole = TagItems({key: list(members) for key, members in made.items()}, columns.encode, {})
        return _part(_cut(whole, source), source)
    tag_format = TagFormat(
        word_column=columns.word,
        tag_column=columns.tag if tags else None,
        scheme=columns.scheme,
        target=None if columns.scheme == "none" else columns.encode,
        types="drop" if columns.drop_types else "keep",
        bad_sequences=columns.bad_sequences,
    )
    read = read_languages(
        reference(source), languages=languages, folder=folder, tag_format=tag_format, labels=labels, rows=source.rows
    )
    _refuse_empty_rows(source, {language: (len(found.sentences), found.num_there) for language, found in read.items()})
    schemes = {language: found.target for language, found in read.items()}
    if len(set(schemes.values())) > 1:
        raise DataError(
            f"{source.path or source.hub}: some languages have chunks and some have a tag for each word ({schemes}); "
            "set data.columns.scheme"
        )
    sentences = {language: list(found.sentences) for language, found in read.items()}
    counts = {language: found.to_json() for language, found in read.items()}
    scheme = next(iter(schemes.values()), None) or "none"
    return _part(TagItems(sentences, scheme, counts), source)


def _part(items: TagItems, source: TaggingSource) -> TagItems:
    """The share that the source names. Equal sentences lie in one part."""
    kept = {
        language: in_part(members, source.share, seed=source.share_seed, key=lambda sentence: " ".join(sentence.words))
        for language, members in items.sentences.items()
    }
    if empty := [language for language, members in kept.items() if not members]:
        where, counts = source.path or source.hub or source.builtin, [len(items.sentences[name]) for name in empty]
        raise DataError(f"{where}: share {list(source.share or ())} holds none of the {counts} of {', '.join(empty)}")
    return replace(items, sentences=kept)


def _cut(items: TagItems, source: TaggingSource) -> TagItems:
    """The rows that the source names."""
    if source.rows is None:
        return items
    first, past = source.rows
    kept = {language: members[first:past] for language, members in items.sentences.items()}
    _refuse_empty_rows(source, {name: (len(kept[name]), len(members)) for name, members in items.sentences.items()})
    return replace(items, sentences=kept)


def _refuse_empty_rows(source: TaggingSource, counts: Mapping[str, tuple[int, int]]) -> None:
    """Refuse rows without a sentence.

    Args:
        counts: language -> sentences in the rows, and in the source.
    """
    empty = [language for language, (kept, _) in counts.items() if not kept]
    if source.rows and empty:
        raise DataError(
            f"{source.path or source.hub or source.builtin}: rows {source.rows[0]} to {source.rows[1]} have no "
            f"sentence of {', '.join(empty)} ({', '.join(str(counts[name][1]) for name in empty)} there)"
        )


def load_items(
    data: TaggingData,
    *,
    folder: Path,
    named: tuple[str, ...] | None = None,
    unlabelled: TaggingUnlabelled | None = None,
) -> TagItems:
    """All sentences that budgets are drawn from, and those that are unlabelled whatever the budget.

    Args:
        named: what the sweep file says the labels are; a sentence with another one is refused.
        unlabelled: the section of the latter; None reads none.
    """
    labels = None if named is None else partial(named_labels, named)
    items = load_sentences(
        data.train, data.columns, languages=data.languages, folder=folder, split="train", labels=labels
    )
    others = {} if unlabelled is None else load_unlabelled(data, unlabelled, folder=folder)
    return replace(items, named=named, unlabelled=others)


def load_unlabelled(data: TaggingData, section: TaggingUnlabelled, *, folder: Path) -> dict[str, list[Sentence]]:
    """Language -> the sentences of a source without their tags; of `rest` those of languages without labels alone.

    Raises:
        DataError: as `load_sentences`.
    """
    languages = section.languages or data.languages
    source = data.train if section.source == REST else section.source
    if section.source == REST:
        languages = tuple(name for name in languages if name not in data.languages)
    if not languages:
        return {}
    if section.source != REST and (source.path or "").endswith(PLAIN_TEXT):
        texts = read_texts(reference(source), languages=languages, folder=folder)
        return {name: _sentences_of(name, lines, source) for name, lines in texts.items()}
    read = load_sentences(source, data.columns, languages=languages, folder=folder, split="train", tags=False)
    return {name: [_without_tags(each) for each in members] for name, members in read.sentences.items()}


def _sentences_of(language: str, lines: Sequence[str], source: TaggingSource) -> list[Sentence]:
    """A sentence of each line, its words separated by white space."""
    made = [Sentence(f"{language}-{number:06d}", language, tuple(line.split())) for number, line in enumerate(lines)]
    return _part(_cut(TagItems({language: made}, "none", {}), source), source).sentences[language]


def _without_tags(sentence: Sentence) -> Sentence:
    return replace(sentence, tags=())


def chosen_unlabelled(
    items: TagItems, data: TaggingData, section: TaggingUnlabelled, labelled: Mapping[str, Budget]
) -> list[Sentence]:
    """The unlabelled sentences of a point: none of those of its budget.

    Which ones `max_items` keeps is the same for all points, but for those in their budgets.

    Raises:
        DataError: if a language has none.
    """
    chosen: list[Sentence] = []
    empty = []
    for language in section.languages or data.languages:
        members = items.unlabelled.get(language)
        if members is None:
            drawn = set(labelled[language].ids)
            members = [_without_tags(each) for each in items.sentences[language] if each.id not in drawn]
        if section.max_items is not None and len(members) > section.max_items:
            whole = [each.id for each in items.unlabelled.get(language, items.sentences.get(language, []))]
            order = {name: place for place, name in enumerate(select(whole, "all", seed=0).ids)}
            kept = {each.id for each in sorted(members, key=lambda each: order[each.id])[: section.max_items]}
            members = [each for each in members if each.id in kept]
        if not members:
            empty.append(language)
        chosen += members
    if section.source != REST:
        # Ids count the sentences of a file, so those of another file are the same.
        chosen = [replace(each, id=f"unlabelled-{each.id}") for each in chosen]
    if empty:
        raise DataError(
            f"data.unlabelled: no sentence is left in {', '.join(empty)}; lower data.budget, or take another source"
        )
    return chosen


def load_train(data: TaggingData, *, seed: int, items: TagItems) -> tuple[list[Sentence], dict[str, Budget]]:
    """A point's sentences, and what was drawn in each language; smaller budgets are contained in larger ones.

    Raises:
        DataError: if a language has fewer sentences than the budget.
    """
    chosen: list[Sentence] = []
    budgets: dict[str, Budget] = {}
    problems = []
    for language, members in items.sentences.items():
        try:
            budgets[language] = select([sentence.id for sentence in members], data.budget, seed=seed)
        except DataError as error:
            problems.append(f"{language}: {error}")
            continue
        drawn = set(budgets[language].ids)
        chosen += [sentence for sentence in members if sentence.id in drawn]
    if problems:
        raise DataError(problems)
    return chosen, budgets


def load_labelled(
    train: TaggingLabelTraining,
    data: TaggingData,
    *,
    languages: Sequence[str],
    folder: Path,
    labels: Collection[str] | None = None,
) -> TagItems:
    """What teachers in these languages are trained on, where that is not the budget."""
    assert train.source != BUDGET, "asked for where labels are not those of the budget"
    items = load_sentences(train.source, data.columns, languages=languages, folder=folder, split="base", labels=labels)
    return sampled(items, train.max_items, seed=train.seed)


def load_dev(
    scored: TaggingScored, columns: ColumnsConfig, *, folder: Path, labels: Collection[str] | None = None
) -> TagItems:
    """What a point is scored on.

    Args:
        labels: those that the model gives; None allows others.
    """
    known = None if scored.unknown_tags == "miss" else labels
    items = load_sentences(scored.source, columns, languages=scored.languages, folder=folder, split="dev", labels=known)
    return sampled(items, scored.max_items, seed=scored.seed)


def sampled(items: TagItems, count: int | None, *, seed: int) -> TagItems:
    """A fixed sample of `count` sentences of each language, in the order of the sample."""
    if count is None:
        return items
    kept = {}
    for language, members in items.sentences.items():
        by_id = {sentence.id: sentence for sentence in members}
        ids = select(by_id, min(count, len(by_id)), seed=seed).ids
        kept[language] = [by_id[name] for name in ids]
    return replace(items, sentences=kept)


def keys_of(sentences: Iterable[Sentence], source: TaggingSource) -> Keys:
    """Source and id -> language -> words: ids count the sentences of a file, or of a split."""
    where = source_name(source)
    return {f"{where} {each.id}": {each.language: " ".join(each.words)} for each in sentences}


def hash_sentences(sentences: Iterable[Sentence]) -> str:
    """SHA-256 over all that the sentences say."""
    digest = hashlib.sha256()
    for sentence in sentences:
        parts = [sentence.id, sentence.language, *sentence.words, "\x1d", *sentence.tags]
        digest.update("\x1f".join(parts).encode() + b"\x1e")
    return digest.hexdigest()
