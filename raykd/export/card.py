"""The model card of an exported point, out of its records."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from raykd import __version__
from raykd.config.base import Source
from raykd.config.point import PointBase
from raykd.config.scored import ScoredConfig
from raykd.config.training import BUDGET
from raykd.config.unlabelled import REST
from raykd.data.hub import commits_in
from raykd.export.lineage import lineage_table
from raykd.export.method import knobs, method
from raykd.report.leaderboard import matrix
from raykd.results.artifacts import ArtifactRecord
from raykd.results.points import PointResult
from raykd.results.records import PointRecord, SweepRecords
from raykd.results.tests import PointTest
from raykd.results.words import counted
from raykd.tasks import task_of
from raykd.tasks.info import Words
from raykd.tasks.outcomes import Scores

_NO_SCORES = ("effective_rank",)
"""Columns of a leaderboard that say how a model is, not how good."""


@dataclass(frozen=True)
class Subject:
    """What a card is about.

    Attributes:
        record: of the artifact that the point delivered.
        result: what the point came to.
        model: the plain model.
        usage: Python that uses it.
    """

    records: SweepRecords
    point: PointRecord
    config: PointBase
    record: ArtifactRecord
    result: PointResult
    model: Any
    usage: str
    has_onnx: bool

    @property
    def title(self) -> str:
        """Sweep and point."""
        return f"{self.records.description.name}: {self.point.label}"

    @property
    def words(self) -> Words:
        """Of its task."""
        return task_of(self.config).info.words

    @property
    def scores(self) -> Scores:
        """Of the point."""
        return self.result.scores

    @property
    def base(self) -> str:
        """Fingerprint of its generation 0."""
        return self.point.description.base

    @property
    def tests(self) -> Mapping[str, PointTest]:
        """Test set -> its scores there."""
        return self.point.tests

    @property
    def trained(self) -> tuple[str, ...]:
        """Languages of its training."""
        return tuple(dict.fromkeys(self.config.trained_languages))

    @property
    def zero_shot(self) -> tuple[str, ...]:
        """Languages that it was only scored on."""
        return tuple(each for each in self.config.selection.languages if each not in self.trained)


def model_card(subject: Subject) -> str:
    """`README.md` of a Hugging Face folder: YAML front matter and markdown."""
    front = _front_matter(subject).to_yaml()
    return f"---\n{front}\n---\n\n" + "\n\n".join(_sections(subject)) + "\n"


def _front_matter(subject: Subject) -> ModelCardData:
    config, tests = subject.config, subject.config.test_sets
    results = [
        result
        for name, test in subject.tests.items()
        for result in _results(subject, test.scores, tests.get(name), f"test set {name}")
    ]
    results = results or list(_results(subject, subject.scores, config.selection, "selection set"))
    base = config.base.model
    return ModelCardData(
        language=list(subject.trained),
        library_name="transformers",
        pipeline_tag=subject.words.pipeline,
        tags=["raykd", "knowledge-distillation", "multilingual", subject.point.method],
        base_model=base.partition("@")[0] if _is_hub_id(base) else None,
        metrics=sorted({result.metric_type for result in results}),
        model_name=subject.title,
        eval_results=results,
    )


def _results(subject: Subject, scores: Scores, scored: ScoredConfig | None, called: str) -> Iterator[EvalResult]:
    source = _source(scored.source) if scored is not None else ""
    for name, heading in scores.columns.items():
        value = scores.values.get(name)
        if value is not None and name not in _NO_SCORES:
            yield EvalResult(
                task_type=subject.words.pipeline,
                dataset_type=(scored.source.hub if scored is not None else None) or "other",
                dataset_name=" ".join(filter(None, (source, f"({called})"))),
                metric_type=_metric(name),
                metric_name=heading,
                metric_value=round(value, 2),
            )


def _sections(subject: Subject) -> Iterator[str]:
    config, point = subject.config, subject.point
    size = sum(parameter.numel() for parameter in subject.model.parameters())
    kind = type(subject.model).__name__
    yield f"# {subject.title}"
    yield (
        f"{subject.words.does}. A `{kind}` of {size / 1e6:.1f} million parameters, trained with raykd {__version__}. "
        "Plain transformers loads it."
    )
    yield f"## Use\n\n```python\n{subject.usage}\n```"
    if subject.has_onnx:
        names = "`model.onnx` is the same model for onnxruntime, for batches of any size and length."
        yield f"{names} Its output was compared with that of this model on examples of several sizes."
    yield from _scores(subject)
    yield f"## Method\n\n{method(config)}\n\n" + "\n".join(f"- {line}" for line in knobs(config))
    yield "## Data\n\n" + "\n".join(f"- {line}" for line in _data(subject))
    yield f"## Lineage\n\n{lineage_table(subject.records, point, config)}"
    yield f"## Cost\n\n{_cost(subject)}"
    yield "## Limits\n\n" + "\n".join(f"- {line}" for line in _limits(subject))
    yield (
        "## Licence\n\nNot set. Whoever publishes this model chooses it, within the licences of "
        f"`{config.base.model}` and of the data above; write it into `license:` at the top of this file."
    )
    yield "All of the configuration that determined this model is in `raykd.json`."


def _scores(subject: Subject) -> Iterator[str]:
    yield "## Scores"
    for name, test in subject.tests.items():
        base = (each.scores for each in subject.records.base_tests if each.name == name and each.base == subject.base)
        section = subject.config.test_sets.get(name)
        what = f": {_sample(subject, section)}" if section is not None else ""
        yield f"### Test set {name}\n\nIn percent{what}. Nothing was chosen by it."
        yield _table(test.scores, next(base, None))
        if test.scores.is_matrix:
            yield f"F1 by languages of question and context:\n\n{matrix(test.scores)}"
    scores = subject.scores
    if subject.tests:
        yield "### Selection set"
    yield _table(scores, _generation_zero(subject))
    how = "the model was chosen by them, too, so they are a little too high"
    yield f"In percent, on the selection set ({_sample(subject, subject.config.selection)}): {how}."
    if scores.is_matrix:
        yield f"F1 by languages of question and context:\n\n{matrix(scores)}"
    yield from subject.words.score_notes(subject.config, scores)


def _data(subject: Subject) -> Iterator[str]:
    config = subject.config
    yield f"Distilled on {_source(config.data.train)}, budget {config.data.budget} {subject.words.items}"
    if digest := subject.result.data_sha256 or subject.record.data:
        yield f"SHA-256 of these examples: `{digest}`"
    if section := config.unlabelled:
        where = _source(section.source) if section.source != REST else "the items outside of the budget"
        kind = "soft targets" if section.targets == "soft" else "pseudo-labels"
        counts = subject.result.data.get("unlabelled", {})
        shown = ", ".join(f"{count} {language}" for language, count in counts.items())
        labels_of = ", whose labels were not read" if section.source == REST else ""
        yield f"Also on {where}{labels_of} ({kind} of its teachers; {shown})"
    if train := config.label_training:
        source = "the budget" if train.source == BUDGET else _source(train.source)
        labels = f"{source} ({', '.join(config.labelled_languages)}), {counted(train.epochs, 'epoch')}"
        yield f"Generation 0 was trained on the labels of {labels}"
    for name, commit in commits_in(subject.records.description.data).items():
        yield f"On the Hub, {name} was commit `{commit}`"
    yield f"Languages of training: {', '.join(subject.trained)}"
    if subject.zero_shot:
        yield f"Zero-shot, never trained on: {', '.join(subject.zero_shot)}"


def _cost(subject: Subject) -> str:
    result = subject.result
    versions = subject.records.description.versions
    used = ", ".join(f"{name} {version}" for name, version in versions.items())
    busy = result.train_seconds * result.num_workers
    return (
        f"{result.train_seconds:.0f} s of training on {counted(result.num_workers, 'worker')}, {busy:.0f} "
        "worker-seconds; "
        f"{result.seconds:.0f} s with scoring and hand-offs. Generation 0 and its signals are shared with other "
        f"points of the sweep and are not counted. Versions: {used}."
    )


def _limits(subject: Subject) -> Iterator[str]:
    config = subject.config
    yield from subject.words.limits(config)
    yield "The scores are those of one seed on a fixed sample; other texts, and other languages, were not tried."
    if any(source.builtin for source in (config.data.train, config.selection.source)):
        yield "It was trained on sentences that raykd generates: for trials only."


def _table(scores: Scores, first: Scores | None) -> str:
    """Scores beside those of generation 0, where that was scored."""
    sides = [scores, *([first] if first else [])]
    heads = ["", "this model", *(["generation 0"] if first else [])]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for name, heading in scores.columns.items():
        lines.append(_row([heading, *(_percent(side.values.get(name)) for side in sides)]))
    return "\n".join(lines)


def _sample(subject: Subject, scored: ScoredConfig) -> str:
    sample = f"a fixed sample of {scored.max_items} {subject.words.scored}" if scored.max_items else "all"
    return f"{sample} of {_source(scored.source)}"


def _generation_zero(subject: Subject) -> Scores | None:
    base = subject.point.description.base
    return next((each.final for each in subject.records.bases if each.base == base), None)


def _metric(name: str) -> str:
    """What the Hub calls a score: those that are neither F1 nor exact match are shares of hits."""
    if "exact_match" in name:
        return "exact_match"
    return "f1" if "f1" in name.split("_") else "accuracy"


def _source(source: Source) -> str:
    if source.builtin:
        return f"raykd's own {source.builtin} ({source.num_items} items)"
    if not source.hub:
        return f"`{source.path}`"
    return f"`{source.hub}` at {source.hub_revision}" if source.hub_revision else f"`{source.hub}`"


def _is_hub_id(name: str) -> bool:
    """Whether a base model is named as `owner/model` of the Hub, at a revision or not; a folder may look the same."""
    return bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*(@[\w./-]+)?", name)) and not Path(name).is_dir()


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
