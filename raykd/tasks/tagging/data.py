"""The sentences of the tagging task: files and the built-in world, budgets, labels."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from raykd.data import smallworld_tags
from raykd.data.budgets import Budget, select
from raykd.data.conll import Labels, read_languages
from raykd.data.examples import Sentence
from raykd.data.shares import in_part
from raykd.data.tag_format import TagFormat
from raykd.data.tags import Scheme, label_set, named_labels, types_of
from raykd.errors import DataError
from raykd.tasks.readers import PIECES_PER_WORD, PlainReader, reference, source_name
from raykd.tasks.sizes import Content, Items, Keys, TextSizes
from raykd.tasks.tagging.config import (
    ColumnsConfig,
    TaggingData,
    TaggingLabelTraining,
    TaggingPoint,
    TaggingScored,
    TaggingSource,
)
from raykd.tasks.task import Features, Places, ScoredSet, TrainSet


@dataclass(frozen=True)
class TagItems:
    """Tagged sentences by language.

    Attributes:
        scheme: of the tags of all of them.
        counts: language -> what reading its source did, for a record.
        named: what the sweep file says the labels are, as `named_labels` takes it; None: those of the sentences.
    """

    sentences: dict[str, list[Sentence]]
    scheme: Scheme
    counts: dict[str, dict[str, object]]
    named: tuple[str, ...] | None = None

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
) -> TagItems:
    """The sentences of a source in some languages.

    Args:
        split: of the built-in world.
        labels: refuse a tag that is not one of them.

    Raises:
        DataError: naming file and line, all that is wrong at once.
    """
    if source.builtin:
        made = smallworld_tags.sentences(split, source.builtin_items, languages=languages, scheme=columns.encode)
        whole = TagItems({key: list(members) for key, members in made.items()}, columns.encode, {})
        return _part(_cut(whole, source), source)
    tag_format = TagFormat(
        word_column=columns.word,
        tag_column=columns.tag,
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


def load_items(data: TaggingData, *, folder: Path, named: tuple[str, ...] | None = None) -> TagItems:
    """All sentences that budgets are drawn from.

    Args:
        named: what the sweep file says the labels are; a sentence with another one is refused.
    """
    labels = None if named is None else partial(named_labels, named)
    items = load_sentences(
        data.train, data.columns, languages=data.languages, folder=folder, split="train", labels=labels
    )
    return replace(items, named=named)


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
    """What teachers in these languages are trained on."""
    items = load_sentences(train.source, data.columns, languages=languages, folder=folder, split="base", labels=labels)
    return _sampled(items, train.max_items, seed=train.seed)


def load_dev(
    scored: TaggingScored, columns: ColumnsConfig, *, folder: Path, labels: Collection[str] | None = None
) -> TagItems:
    """What a point is scored on.

    Args:
        labels: those that the model gives; None allows others.
    """
    known = None if scored.unknown_tags == "miss" else labels
    items = load_sentences(scored.source, columns, languages=scored.languages, folder=folder, split="dev", labels=known)
    return _sampled(items, scored.max_items, seed=scored.seed)


def _sampled(items: TagItems, count: int | None, *, seed: int) -> TagItems:
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


class TaggingReader(PlainReader):
    """See `raykd.tasks.task.TaskData`."""

    def items(self, config: TaggingPoint, *, folder: Path) -> Items:
        found = load_items(config.data, folder=folder, named=config.head.labels)
        words = fmean(len(sentence.words) for sentence in found.all())
        texts = TextSizes(tokens=2 + PIECES_PER_WORD * words, words=words, labels=len(found.labels()))
        every = found.all()
        count = min(map(len, found.sentences.values()))
        return Items(found, count, hash_sentences(every), texts, lambda: keys_of(every, config.data.train))

    def draw(self, config: TaggingPoint, items: TagItems) -> None:
        load_train(config.data, seed=config.data_seed, items=items)

    def content(self, config: TaggingPoint, scored: TaggingScored, items: TagItems | None, *, folder: Path) -> Content:
        labels = items.labels() if items else None
        found = load_dev(scored, config.data.columns, folder=folder, labels=labels).all()
        return Content(len(found), hash_sentences(found), lambda: keys_of(found, scored.source))

    def labelled_content(self, config: TaggingPoint, items: TagItems | None, *, folder: Path) -> Content:
        labels, train = items.labels() if items else None, config.base.train
        assert train is not None, "asked for where a teacher is trained"
        found = self._labelled(config, config.data.languages, folder=folder, labels=labels).all()
        return Content(len(found), hash_sentences(found), lambda: keys_of(found, train.source))

    def signal_bytes(self, config: TaggingPoint, texts: TextSizes, *, tokens: float, width: int) -> float:
        return texts.words * texts.labels * 2  # float16

    def train_set(self, config: TaggingPoint, tokenizer: Any, *, items: TagItems, places: Places) -> TrainSet:
        from raykd.tasks.tagging.sets import train_set

        return train_set(config, tokenizer, items, base=places.base)

    def scored_set(self, config: TaggingPoint, scored: TaggingScored, tokenizer: Any, *, places: Places) -> ScoredSet:
        from raykd.tasks.tagging.sets import dev_set

        return dev_set(config, scored, tokenizer, folder=places.folder, base=places.base)

    def labelled(
        self, config: TaggingPoint, tokenizer: Any, model: Any, *, folder: Path, language: str | None
    ) -> tuple[Features, str]:
        from raykd.tasks.tagging.windows import build_tag_features

        languages = config.data.languages if language is None else (language,)
        labels = model.head.labels
        items = self._labelled(config, languages, folder=folder, labels=labels)
        sentences = items.all()
        features = build_tag_features(
            sentences,
            tokenizer,
            languages=languages,
            labels=labels,
            scheme=items.scheme,
            max_length=config.data.max_length,
        )
        return features, hash_sentences(sentences)

    @staticmethod
    def _labelled(
        config: TaggingPoint, languages: Sequence[str], *, folder: Path, labels: Collection[str] | None
    ) -> TagItems:
        assert config.base.train is not None, "asked for where a teacher is trained"
        return load_labelled(config.base.train, config.data, languages=languages, folder=folder, labels=labels)
