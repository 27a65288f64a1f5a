"""What a point of task `tagging` trains on, and what it is scored on, as windows."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from raykd.data.examples import Sentence
from raykd.data.tags import Scheme
from raykd.models.tagging import head_of
from raykd.models.tokenizer import tokenizer_hash
from raykd.tasks.tagging.config import TaggingPoint, TaggingScored
from raykd.tasks.tagging.data import TagItems, chosen_unlabelled, hash_sentences, load_dev, load_train
from raykd.tasks.tagging.features import TagFeatures
from raykd.tasks.tagging.windows import build_tag_features


@dataclass(frozen=True)
class TagTrainSet:
    """What a point trains on.

    Attributes:
        features: the student's windows.
        num_labelled: the first so many have tags.
        read_with: the windows of the same sentences, with another tokenizer.
    """

    features: TagFeatures
    sha256: str
    description: dict[str, Any]
    num_labelled: int
    read_with: Callable[[Any], TagFeatures]


@dataclass(frozen=True)
class TagDevSet:
    """What a model is scored on.

    Attributes:
        trained: the languages of labels; `without_labels` those of unlabelled items alone. Others are zero-shot.
    """

    sentences: Sequence[Sentence]
    features: TagFeatures
    scheme: Scheme
    trained: tuple[str, ...]
    without_labels: tuple[str, ...] = ()

    def first(self, count: int) -> "TagDevSet":
        """The first `count` sentences of every language."""
        left = dict.fromkeys(self.features.languages, count)
        kept = []
        for number, sentence in enumerate(self.sentences):
            left[sentence.language] -= 1
            if left[sentence.language] >= 0:
                kept.append(number)
        return replace(self, features=self.features.take(np.flatnonzero(np.isin(self.features.sentence, kept))))


def train_set(config: TaggingPoint, tokenizer: Any, items: TagItems, *, base: Path) -> TagTrainSet:
    """The windows of a point's budget, with the labels of the model in folder `base`."""
    sentences, budgets = load_train(config.data, seed=config.data_seed, items=items)
    section, num_labelled = config.unlabelled, len(sentences)
    if section is not None:
        sentences = sentences + chosen_unlabelled(items, config.data, section, budgets)

    def read_with(tokenizer: Any) -> TagFeatures:
        languages = config.trained_languages
        return _windows(sentences, config, tokenizer, base, languages=languages, scheme=items.scheme)

    features = read_with(tokenizer)
    description = {
        "budgets": {language: budget.to_json() for language, budget in budgets.items()},
        "sources": items.counts,
        "windows": features.counts.to_json(),
    }
    if section is not None:
        description["unlabelled"] = dict(Counter(each.language for each in sentences[num_labelled:]))
    num_windows = int((features.sentence < num_labelled).sum())
    known = {tokenizer_hash(tokenizer): features}

    def remembered(tokenizer: Any) -> TagFeatures:
        name = tokenizer_hash(tokenizer)
        if name not in known:
            known[name] = read_with(tokenizer)
        return known[name]

    return TagTrainSet(features, hash_sentences(sentences), description, num_windows, remembered)


def dev_set(config: TaggingPoint, scored: TaggingScored, tokenizer: Any, *, folder: Path, base: Path) -> TagDevSet:
    """The sentences of a set that a point is scored on, with the labels of the model in folder `base`."""
    items = load_dev(scored, config.data.columns, folder=folder, labels=head_of(str(base)).labels)
    sentences = items.all()
    features = scored_windows(
        sentences,
        scored,
        tokenizer,
        labels=head_of(str(base)).labels,
        scheme=items.scheme,
        max_length=config.data.max_length,
    )
    return TagDevSet(sentences, features, items.scheme, config.data.languages, config.without_labels)


def scored_windows(
    sentences: Sequence[Sentence],
    scored: TaggingScored,
    tokenizer: Any,
    *,
    labels: Sequence[str],
    scheme: Scheme,
    max_length: int,
) -> TagFeatures:
    """The windows of sentences that are scored: where they are cut does not depend on their tags."""
    # Windows have no number for a tag that is no label, and scores need none.
    read = [replace(each, tags=()) for each in sentences] if scored.unknown_tags == "miss" else sentences
    return build_tag_features(
        read,
        tokenizer,
        languages=scored.languages,
        labels=labels,
        scheme=scheme,
        max_length=max_length,
        spare_chunks=False,
    )


def _windows(
    sentences: Sequence[Sentence],
    config: TaggingPoint,
    tokenizer: Any,
    base: Path,
    *,
    languages: Sequence[str],
    scheme: Scheme,
) -> TagFeatures:
    return build_tag_features(
        sentences,
        tokenizer,
        languages=languages,
        labels=head_of(str(base)).labels,
        scheme=scheme,
        max_length=config.data.max_length,
    )
