"""Sequence labelling as a task: how sentences become windows, and how predictions are scored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raykd.config.explain import show
from raykd.config.point import DistillationConfig, EvaluationConfig, PointConfig
from raykd.data import smallworld
from raykd.data.examples import Sentence
from raykd.data.tags import Scheme
from raykd.errors import ArtifactError, DataError
from raykd.models.tagging import TagHead, TagModel, load_head, load_tag_model, tiny_tag_model
from raykd.tasks.outcomes import Outcomes, Scored, Scores, record_outcomes
from raykd.tasks.plain import PlainTask
from raykd.tasks.reading import Reading
from raykd.tasks.tagging.data import TagItems, hash_sentences, load_dev, load_items, load_labelled, load_train
from raykd.tasks.tagging.features import TagFeatures, rejoin
from raykd.tasks.tagging.learning import OUTPUTS, StoredTeacher, best_labels, loss_terms, model_inputs, transitions_of
from raykd.tasks.tagging.scoring import TagCounts, count
from raykd.tasks.tagging.scoring import score as score_counts
from raykd.tasks.tagging.windows import build_tag_features

Prediction = tuple[int, list[int]]
"""Window, and the label of each of its words."""


@dataclass(frozen=True)
class TagTrainSet:
    """What a point trains on; the teacher reads the same."""

    features: TagFeatures
    sha256: str
    description: dict[str, Any]

    @property
    def seen(self) -> TagFeatures:
        """What the teacher reads."""
        return self.features


@dataclass(frozen=True)
class TagDevSet:
    """What a model is scored on.

    Attributes:
        trained: the languages that students are trained on; the others are zero-shot.
    """

    sentences: Sequence[Sentence]
    features: TagFeatures
    scheme: Scheme
    trained: tuple[str, ...]

    def first(self, count: int) -> "TagDevSet":
        """The first `count` sentences of every language."""
        left = dict.fromkeys(self.features.languages, count)
        kept = []
        for number, sentence in enumerate(self.sentences):
            left[sentence.language] -= 1
            if left[sentence.language] >= 0:
                kept.append(number)
        return replace(self, features=self.features.take(np.flatnonzero(np.isin(self.features.sentence, kept))))


class TaggingTask(PlainTask):
    """The task `tagging`."""

    outputs = OUTPUTS
    stored_dtype = torch.float16
    build_tiny_tokenizer = staticmethod(smallworld.build_tokenizer)
    model_inputs = staticmethod(model_inputs)

    def load_model(self, folder: str, *, dropout: float | None = None) -> TagModel:
        """A model of ours."""
        return load_tag_model(folder, dropout=dropout)

    def tiny_model(self, config: PointConfig, tokenizer: Any, *, items: TagItems, seed: int) -> TagModel:
        """The model `builtin:tiny`."""
        return tiny_tag_model(tokenizer, _head(config, items), seed=seed)

    def given_model(self, config: PointConfig, name: str, *, items: TagItems) -> TagModel:
        """The model that `base` names: with a new head where teachers are trained, else with the one it has."""
        if config.base.gguf_file or config.base.bidirectional:
            raise DataError("base.gguf_file and base.bidirectional: a tagging encoder is a folder or a Hub id")
        if config.base.train:
            return load_tag_model(name, head=_head(config, items))
        model = load_tag_model(name, freeze_encoder=config.head.freeze_encoder)
        wanted, found = config.head, model.head
        # Objectives were checked against the head in the file.
        problems = [
            f"base.model {name}: head.{key} is {show(getattr(wanted, key))} in the sweep file and "
            f"{show(getattr(found, key))} in the model; write what it has, or train a head of your own (base.train)"
            for key in ("kind", "pooling", "lstm_size")
            if getattr(wanted, key) != getattr(found, key)
        ]
        if problems:
            raise DataError(problems)
        return model

    def same_labels(self, teacher: Path, base: Path) -> None:
        """Refuse a teacher with other labels than the lineage's.

        Raises:
            ArtifactError: naming both sides.
        """
        sides = [load_head(str(folder)) for folder in (teacher, base)]
        if sides[0].labels != sides[1].labels:
            raise ArtifactError(
                f"{teacher}: its labels are {', '.join(sides[0].labels)}; those of this lineage ({base}) are "
                f"{', '.join(sides[1].labels)}: teacher and student need one label set"
            )

    def window_options(self, config: PointConfig) -> dict[str, int]:
        """How sentences are cut into windows; part of what identifies signals and scores."""
        return {"max_length": config.data.max_length}

    def items(self, config: PointConfig, *, folder: Path) -> tuple[TagItems, str]:
        """All sentences that budgets are drawn from, and their hash."""
        items = load_items(config.data, folder=folder)
        return items, hash_sentences(items.all())

    def train_set(
        self, config: PointConfig, tokenizer: Any, *, items: TagItems, folder: Path, artifact: Path
    ) -> TagTrainSet:
        """The windows of a point's budget."""
        sentences, budgets = load_train(config.data, seed=config.data_seed, items=items)
        languages = config.data.languages
        features = _windows(sentences, config, tokenizer, artifact, languages=languages, scheme=items.scheme)
        description = {
            "budgets": {language: budget.to_json() for language, budget in budgets.items()},
            "sources": items.counts,
            "windows": features.counts.to_json(),
        }
        return TagTrainSet(features, hash_sentences(sentences), description)

    def labelled(
        self, config: PointConfig, tokenizer: Any, model: TagModel, *, folder: Path, language: str | None
    ) -> tuple[TagFeatures, str]:
        """The windows that a teacher is trained on, in one language or in all, and the hash of their sentences."""
        languages = config.data.languages if language is None else (language,)
        labels = model.head.labels
        items = load_labelled(config.base.train, config.data, languages=languages, folder=folder, labels=labels)
        options = {"languages": languages, "labels": labels, "scheme": items.scheme}
        sentences = items.all()
        features = build_tag_features(sentences, tokenizer, max_length=config.data.max_length, **options)
        return features, hash_sentences(sentences)

    def dev_set(self, config: PointConfig, tokenizer: Any, *, folder: Path, artifact: Path) -> TagDevSet:
        """The sentences that a point is scored on."""
        labels = load_head(str(artifact)).labels
        items = load_dev(config.evaluation, config.data.columns, folder=folder, labels=labels)
        sentences, languages = items.all(), config.evaluation.languages
        options = {"languages": languages, "scheme": items.scheme, "spare_chunks": False}
        features = _windows(sentences, config, tokenizer, artifact, **options)
        return TagDevSet(sentences, features, items.scheme, config.data.languages)

    def taught_by(self, train: TagTrainSet, language: str | None) -> np.ndarray:
        """Indices of the windows that a teacher of a language teaches; None teaches all."""
        return np.arange(len(train.seen)) if language is None else train.seen.of_language(language)

    def terms(
        self, outputs: Any, batch: dict[str, Tensor], teacher: Any, config: DistillationConfig, *, padding: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Label and KD term of a batch, [B] each, summed over words; no KD term without a teacher."""
        return loss_terms(outputs, batch, teacher, config)

    def stored_teacher(
        self,
        train: TagTrainSet,
        readings: Sequence[Reading],
        config: DistillationConfig,
        *,
        device: torch.device,
        pad_to: int | None,
        first: bool,
    ) -> StoredTeacher:
        """Teachers that read their signals, each sentence its own."""
        return StoredTeacher(train.features, readings, config, device=device)

    def signals(self, outputs: Any) -> dict[str, Tensor]:
        """What is stored of a teacher's outputs: name -> [B, W, ...] float32."""
        return {"emissions": outputs.emissions.float()}

    def constants(self, outputs: Any) -> dict[str, Tensor]:
        """What is stored once a teacher: its transitions; nothing of a softmax head."""
        found = transitions_of(outputs)
        return {} if found is None else {name: values.float() for name, values in found._asdict().items()}

    def of_teachers(self, scored: Mapping[str | None, Scored]) -> Scored:
        """The scores of generation 0: each language by its own teacher, a zero-shot one by the best there."""
        if None in scored:
            return scored[None]
        example = next(iter(scored.values())).scores
        metric = example.metric

        def teacher_of(language: str) -> Scored:
            if language in scored:
                return scored[language]
            return max(scored.values(), key=lambda each: each.scores.cells[language][metric])

        chosen = {language: teacher_of(language) for language in example.cells}
        scores = _summary(
            {language: each.scores.cells[language] for language, each in chosen.items()},
            metric,
            trained=tuple(scored),
        )
        # All teachers were scored on the same sentences: only the values differ.
        outcomes = replace(
            next(iter(scored.values())).outcomes,
            scores=_groups(chosen, metric, trained=tuple(scored)),
            cells={language: each.outcomes.cells[language] for language, each in chosen.items()},
        )
        return Scored(scores, outcomes)

    def predict(
        self, outputs: Any, batch: dict[str, Tensor], indices: np.ndarray, evaluation: EvaluationConfig
    ) -> list[Prediction]:
        """The best labels of every window of a batch."""
        return best_labels(outputs, batch, indices)

    def score(self, predictions: Iterable[Prediction], dev: TagDevSet, evaluation: EvaluationConfig) -> Scored:
        """Chunk F1, or accuracy where every word has a tag of its own, in percent: the mean over the trained languages,
        over the others, and each language alone; and the counts of every sentence."""
        found = rejoin(dev.features, [tags for _, tags in sorted(predictions)])
        counts: dict[str, list[tuple[str, TagCounts]]] = {}
        for number, tags in found.items():
            sentence = dev.sentences[number]
            counted = count(sentence.tags, tags, scheme=dev.scheme)
            counts.setdefault(sentence.language, []).append((sentence.id, counted))
        counts = {language: counts[language] for language in dev.features.languages if language in counts}
        cells = {
            language: {**asdict(score_counts(each for _, each in members)), "num_sentences": len(members)}
            for language, members in counts.items()
        }
        metric = "accuracy" if dev.scheme == "none" else "f1"
        return Scored(_summary(cells, metric, trained=dev.trained), _outcomes(counts, metric, trained=dev.trained))


def _groups(languages: Iterable[str], metric: str, *, trained: Sequence[str]) -> dict[str, list[str]]:
    """Score -> the languages that it is the mean of."""
    languages = list(languages)
    return {
        metric: [name for name in languages if name in trained],
        f"zero_shot_{metric}": [name for name in languages if name not in trained],
    }


def _outcomes(
    counts: Mapping[str, Sequence[tuple[str, TagCounts]]], metric: str, *, trained: Sequence[str]
) -> Outcomes:
    """Counts of every sentence, by its id. Accuracy is the F1 of words that all have a tag, in gold and prediction."""

    def value(of: TagCounts) -> list[int]:
        return [of.hit, of.predicted, of.gold] if metric == "f1" else [of.words_hit, of.words, of.words]

    return record_outcomes(
        {
            language: ([name for name, _ in members], [value(each) for _, each in members])
            for language, members in counts.items()
        },
        statistic="f1",
        unit="sentence",
        scores=_groups(counts, metric, trained=trained),
    )


def _summary(cells: Mapping[str, Mapping[str, int | float]], metric: str, *, trained: Sequence[str]) -> Scores:
    """Scores of cells by language."""
    word = {"f1": "F1", "accuracy": "accuracy"}[metric]
    groups = _groups(cells, metric, trained=trained)
    means = {
        score: float(np.mean([cells[name][metric] for name in languages])) if languages else None
        for score, languages in groups.items()
    }
    columns = {score: word if score == metric else f"zero-shot {word}" for score in groups if groups[score]}
    columns |= {f"{metric}_{name}": name if name in trained else f"{name} (zero-shot)" for name in cells}
    each = {f"{metric}_{name}": cell[metric] for name, cell in cells.items()}
    main = metric if groups[metric] else f"zero_shot_{metric}"
    return Scores(main=main, metric=metric, columns=columns, values={**means, **each}, cells=cells)


def _head(config: PointConfig, items: TagItems) -> TagHead:
    head = config.head
    return TagHead(items.labels(), head.kind, head.pooling, head.lstm_size, head.freeze_encoder)


def _windows(
    sentences: Sequence[Sentence],
    config: PointConfig,
    tokenizer: Any,
    artifact: Path,
    *,
    languages: Sequence[str],
    scheme: Scheme,
    spare_chunks: bool = True,
) -> TagFeatures:
    return build_tag_features(
        sentences,
        tokenizer,
        languages=languages,
        labels=load_head(str(artifact)).labels,
        scheme=scheme,
        max_length=config.data.max_length,
        spare_chunks=spare_chunks,
    )
