"""Score a sentence encoder's folder on parallel text, without a sweep."""

from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from raykd.errors import DataError
from raykd.models.encoder import load_sentence_encoder
from raykd.models.qa import load_tokenizer
from raykd.tasks.evaluating import Forwarder, Precision, refuse_foreign
from raykd.tasks.outcomes import Evaluation
from raykd.tasks.parallel.config import PairSource, ParallelScored
from raykd.tasks.parallel.data import load_dev
from raykd.tasks.parallel.model import ParallelModel
from raykd.tasks.parallel.scoring import score_sentences, sentence_dev_set, summary
from raykd.tasks.parallel.words import INFO
from raykd.tasks.predictor import Reading, most_tokens


def evaluate(
    model: Path,
    point: Mapping[str, Any],
    *,
    data: str,
    languages: tuple[str, ...] = (),
    max_items: int | None = None,
    max_length: int | None = None,
    precision: Precision = "float32",
    say: Callable[[str], None] = lambda line: None,
    **foreign: Any,
) -> Evaluation:
    """Retrieval scores of an encoder on pairs of English sentences with those of other languages.

    What tells a collapse is the mean over languages of what each one's sentences have.

    Args:
        model: its folder.
        point: the configuration of the model's point, which says how texts are cut; empty where nobody knows it.
            Languages that it was not trained on are zero-shot.
        data: a path of parallel text with `{language}`, and perhaps `{side}`.
        max_length: tokens of a sentence; None: as the point has it.
        say: told a line for each language that is scored.

    Raises:
        DataError: if model or data cannot be found or read, or an option is foreign to encoders.
    """
    refuse_foreign(foreign, INFO.title)
    settings = point.get("data", {})
    pivot = settings.get("pivot", "en")
    trained = tuple(settings.get("languages", languages))
    languages = languages or trained
    if not languages:
        raise DataError(f"model {model}: --languages: name the languages that are paired with {pivot}")
    config = ParallelScored(source=PairSource(path=data), languages=languages, max_items=max_items)
    tokenizer, loaded = load_tokenizer(str(model)), load_sentence_encoder(str(model))
    limit = max_length or Reading.of(point, limit=most_tokens(loaded, tokenizer)).max_length
    forward = Forwarder.of(loaded, ParallelModel(), precision, config.batch_tokens)
    cells: dict[str, Mapping[str, int | float]] = {}
    watched: list[Mapping[str, float]] = []
    for language in dict.fromkeys(languages):
        items = load_dev(config.model_copy(update={"languages": (language,)}), pivot=pivot, folder=Path.cwd())
        dev = sentence_dev_set(items, {}, tokenizer, max_length=limit, pivot=pivot, trained=trained)
        predictions = [
            each
            for indices, _, outputs in forward(dev.features)
            for each in zip(indices.tolist(), outputs.sentence.float().cpu().numpy(), strict=True)
        ]
        scores = score_sentences(predictions, dev).scores
        cells[language] = scores.cells[language]
        watched.append(scores.watched)
        say(f"{language}: retrieval {cells[language]['retrieval']:.1f}, pairs: {len(items.pairs[language])}")
    health = {name: fmean(each[name] for each in watched) for name in watched[0]}
    return Evaluation(summary(cells, {}, health, pivot=pivot, trained=trained), (), {})
