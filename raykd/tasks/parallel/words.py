"""What task `parallel` is called, and what cards and reports say of it."""

from collections.abc import Iterator

from raykd.models.files import SENTENCE_CONFIG
from raykd.tasks.info import Folders, Info, Words, starter_in
from raykd.tasks.parallel.config import ParallelPoint


def _teaching(config: ParallelPoint) -> str:
    parts = config.distillation.multilevel
    each = [f"{name} {getattr(parts, f'{name}_weight'):g}" for name in ("word", "sentence", "structure")]
    return f"weights of its levels: {', '.join(each)}"


def _limits(config: ParallelPoint) -> Iterator[str]:
    pooling = config.distillation.multilevel.pooling
    what = {"cls": "the hidden state of the first token", "mean": "the mean of all hidden states"}[pooling]
    yield f"Its sentence vector is {what}; it was not trained with another pooling."


INFO = Info(
    name="parallel",
    title="parallel text",
    read_starter=starter_in(__package__),
    folders=Folders(files=(SENTENCE_CONFIG,), any_encoder=True),
    # Sentences, masked words and masked pieces are a pass each.
    passes=3,
    words=Words(
        does="Turns sentences of several languages into vectors that are close for sentences with the same meaning",
        paper="multi-level distillation on parallel text ([arXiv:2211.01200](https://arxiv.org/abs/2211.01200))",
        items="pairs of each language",
        scored="pairs",
        pipeline="feature-extraction",
        teaching=_teaching,
        limits=_limits,
    ),
)
