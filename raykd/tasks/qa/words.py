"""What task `qa` is called, and what cards and reports say of it."""

from collections.abc import Iterable, Iterator

from raykd.models.files import SPAN_HEAD
from raykd.tasks.info import CellLanguages, Folders, Info, Words, starter_in
from raykd.tasks.outcomes import Scores
from raykd.tasks.qa.config import QaPoint

_COEFFICIENTS = {
    "constant": "",
    "map_at_k": ", weighted for each example by the teacher's average precision at {k}",
    "reciprocal_rank": ", weighted for each example by the reciprocal rank of the teacher's first hit in {k}",
}


def _teaching(config: QaPoint) -> str:
    distillation = config.distillation
    direction = distillation.direction.replace("_kl", " KL")
    weighted = _COEFFICIENTS[distillation.coefficient].format(k=distillation.k)
    return f"{direction} of start and end at temperature {distillation.temperature:g}{weighted}"


def _limits(config: QaPoint) -> Iterator[str]:
    if config.selection.unanswerable:
        yield (
            "It was scored on questions that may have no answer, which is what a high score of the first token means; "
            "`raykd predict` knows the threshold, and plain code has to compare the two scores."
        )
    else:
        yield "It always answers, also if the text contains no answer."
    yield (
        f"It reads windows of {config.data.max_length} tokens that overlap by {config.data.stride}, and answers with "
        f"at most {config.selection.max_answer_tokens} tokens."
    )
    if config.selection.whole_words:
        yield "Its scores are of answers that begin and end at the edges of words; a pipeline may cut words in pieces."


def _score_notes(config: QaPoint, scores: Scores) -> Iterator[str]:
    whole = ", G-XLT the mean over all cells" if scores.main == "gxlt_f1" else ""
    yield (
        f"XLT is the mean over cells whose question and context have the same language{whole}. Answers are "
        "normalised by the rules of "
        + ("the context's language (MLQA)." if config.selection.normalization == "mlqa" else "English (SQuAD).")
    )


def _cell_languages(languages: Iterable[str], cell: str) -> CellLanguages:
    # Codes may hold a hyphen themselves.
    pairs = {f"{question}-{context}": (question, context) for question in languages for context in languages}
    return *pairs.get(cell, (None, None)), None


INFO = Info(
    name="qa",
    title="question answering",
    read_starter=starter_in(__package__),
    cell_languages=_cell_languages,
    folders=Folders(files=(SPAN_HEAD,), architectures=("ForQuestionAnswering",)),
    words=Words(
        does="Answers questions with a span of a given text",
        paper="self-distillation of extractive question answering across languages "
        "([arXiv:2309.17134](https://arxiv.org/abs/2309.17134))",
        items="parallel questions",
        scored="questions of each cell",
        pipeline="question-answering",
        teaching=_teaching,
        limits=_limits,
        score_notes=_score_notes,
    ),
)
