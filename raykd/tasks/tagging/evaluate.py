"""Score a tagging model folder on a data set, without a sweep."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from raykd.models.qa import load_tokenizer
from raykd.models.tagging import load_tag_model
from raykd.tasks.evaluating import Forwarder, Precision, refuse_foreign
from raykd.tasks.outcomes import Evaluation
from raykd.tasks.predictor import Reading, most_tokens
from raykd.tasks.tagging.config import ColumnsConfig, TaggingScored, TaggingSource
from raykd.tasks.tagging.data import load_dev
from raykd.tasks.tagging.features import rejoin
from raykd.tasks.tagging.model import TaggingModel
from raykd.tasks.tagging.sets import TagDevSet, scored_windows
from raykd.tasks.tagging.summary import Kinds, score_predictions, summary
from raykd.tasks.tagging.terms import best_labels
from raykd.tasks.tagging.words import INFO


def evaluate(
    model: Path,
    point: Mapping[str, Any],
    *,
    data: str,
    languages: tuple[str, ...] = ("en",),
    max_items: int | None = None,
    max_length: int | None = None,
    unknown_tags: Literal["refuse", "miss"] = "refuse",
    precision: Precision = "float32",
    n_best: int = 0,
    say: Callable[[str], None] = lambda line: None,
    **foreign: Any,
) -> Evaluation:
    """Scores of a tagger on the languages of a data set, and with `n_best` its labels.

    Args:
        model: its folder.
        point: the configuration of the model's point, which says how files are read and texts are cut; empty where
            nobody knows it. Languages that it was not trained on are zero-shot.
        data: a path of tagged files, with `{language}` if there are several languages.
        max_length: tokens of a window; None: as the point has it.
        unknown_tags: what to do with a tag that the model has no label for.
        say: told a line for each language that is scored.

    Raises:
        DataError: if model or data cannot be found or read, or an option is foreign to taggers.
    """
    refuse_foreign(foreign, INFO.title)
    settings = point.get("data", {})
    columns = ColumnsConfig.model_validate(settings.get("columns", {}))
    trained = tuple(settings.get("languages", languages))
    tokenizer, loaded = load_tokenizer(str(model)), load_tag_model(str(model))
    labels = loaded.head.labels
    limit = max_length or Reading.of(point, limit=most_tokens(loaded, tokenizer)).max_length
    config = TaggingScored(
        source=TaggingSource(path=data), languages=languages, max_items=max_items, unknown_tags=unknown_tags
    )
    forward = Forwarder.of(loaded, TaggingModel(), precision, config.batch_tokens)
    cells: dict[str, Mapping[str, int | float]] = {}
    rows: list[dict[str, Any]] = []
    metric = "f1"
    for language in dict.fromkeys(languages):
        section = config.model_copy(update={"languages": (language,)})
        items = load_dev(section, columns, folder=Path.cwd(), labels=labels)
        sentences = items.all()
        features = scored_windows(sentences, section, tokenizer, labels=labels, scheme=items.scheme, max_length=limit)
        predictions = [
            each for indices, batch, outputs in forward(features) for each in best_labels(outputs, batch, indices)
        ]
        scores = score_predictions(predictions, TagDevSet(sentences, features, items.scheme, trained)).scores
        metric, cells[language] = scores.metric, scores.cells[language]
        say(f"{language}: {metric} {cells[language][metric]:.1f}, sentences: {len(sentences)}")
        if n_best:
            tags = rejoin(features, [found for _, found in sorted(predictions)])
            rows += [
                {"id": each.id, "language": language, "words": each.words, "tags": each.tags, "labels": tags[number]}
                for number, each in enumerate(sentences)
            ]
    return Evaluation(summary(cells, metric, Kinds(trained)), rows, {})
