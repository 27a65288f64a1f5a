"""From files to what taggers are trained and scored on."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from raykd.config.training import BUDGET
from raykd.config.unlabelled import REST
from raykd.errors import DataError
from raykd.models.files import HEAD_CONFIG
from raykd.tasks.readers import PIECES_PER_WORD, PlainReader
from raykd.tasks.sizes import Content, Items, Keys, TextSizes
from raykd.tasks.tagging.config import TaggingPoint, TaggingScored, given_names
from raykd.tasks.tagging.data import (
    TagItems,
    chosen_unlabelled,
    hash_sentences,
    keys_of,
    load_dev,
    load_items,
    load_labelled,
    load_train,
    sampled,
)
from raykd.tasks.task import Features, Places, ScoredSet, TrainSet


class TaggingReader(PlainReader):
    """See `raykd.tasks.task.TaskData`."""

    def items(self, config: TaggingPoint, *, folder: Path) -> Items:
        section = config.read_unlabelled
        found = load_items(config.data, folder=folder, named=config.head.labels, unlabelled=section)
        words = fmean(len(sentence.words) for sentence in found.all())
        texts = TextSizes(tokens=2 + PIECES_PER_WORD * words, words=words, labels=len(found.labels()))
        every = found.all()
        others = [sentence for members in found.unlabelled.values() for sentence in members]
        count = min(map(len, found.sentences.values()))

        def keys() -> Keys:
            source = config.data.train if section is None or section.source == REST else section.source
            return {**keys_of(every, config.data.train), **keys_of(others, source)}

        return Items(found, count, hash_sentences([*every, *others]), texts, keys)

    def texts(self, config: TaggingPoint, items: TagItems) -> Mapping[str, Sequence[str]]:
        found = {**items.sentences, **items.unlabelled}
        return {language: [" ".join(each.words) for each in members] for language, members in found.items()}

    def check_models(self, configs: Sequence[TaggingPoint], *, locate: Callable[[str], str]) -> None:
        """Label sets of the given teachers that are folders here.

        Raises:
            DataError: if two differ, in a line that names both.
        """
        names = dict.fromkeys(name for config in configs for name in given_names(config.teachers))
        labels: dict[str, frozenset[str]] = {}
        for name in names:
            path = Path(locate(name)) / HEAD_CONFIG
            if path.is_file():
                labels[name] = frozenset(json.loads(path.read_text(encoding="utf-8"))["labels"])
        problems = []
        for one, other in pairwise(labels):
            if labels[one] != labels[other]:
                only = [", ".join(sorted(labels[a] - labels[b])) or "none" for a, b in ((one, other), (other, one))]
                problems.append(
                    f"teachers: {one} and {other} have other label sets (only in the one: {only[0]}; only in the "
                    f"other: {only[1]}); teachers of one student need the same labels"
                )
        if problems:
            raise DataError(problems)

    def draw(self, config: TaggingPoint, items: TagItems) -> Mapping[str, int] | None:
        _, budgets = load_train(config.data, seed=config.data_seed, items=items)
        if config.unlabelled is None:
            return None
        return Counter(each.language for each in chosen_unlabelled(items, config.data, config.unlabelled, budgets))

    def content(self, config: TaggingPoint, scored: TaggingScored, items: TagItems | None, *, folder: Path) -> Content:
        labels = items.labels() if items else None
        found = load_dev(scored, config.data.columns, folder=folder, labels=labels).all()
        return Content(len(found), hash_sentences(found), lambda: keys_of(found, scored.source))

    def labelled_content(self, config: TaggingPoint, items: TagItems | None, *, folder: Path) -> Content:
        labels, train = items.labels() if items else None, config.base.train
        assert train is not None, "asked for where a teacher is trained"
        found = self._labelled(config, config.data.languages, folder=folder, labels=labels, items=items).all()
        source = config.data.train if train.source == BUDGET else train.source
        return Content(len(found), hash_sentences(found), lambda: keys_of(found, source))

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
        config: TaggingPoint,
        languages: Sequence[str],
        *,
        folder: Path,
        labels: Collection[str] | None,
        items: TagItems | None = None,
    ) -> TagItems:
        assert config.base.train is not None, "asked for where a teacher is trained"
        if config.base.train.source == BUDGET:
            whole = items or load_items(config.data, folder=folder, named=config.head.labels)
            sentences, _ = load_train(config.data, seed=config.data_seed, items=whole)
            by_language = {name: [each for each in sentences if each.language == name] for name in languages}
            return sampled(replace(whole, sentences=by_language), config.base.train.max_items, seed=config.data_seed)
        return load_labelled(config.base.train, config.data, languages=languages, folder=folder, labels=labels)
