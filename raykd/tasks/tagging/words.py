"""What task `tagging` is called, and what cards and reports say of it."""

from collections.abc import Iterator

from raykd.models.files import HEAD_CONFIG
from raykd.tasks.info import Folders, Info, Words, starter_in
from raykd.tasks.tagging.config import TaggingPoint


def _teaching(config: TaggingPoint) -> str:
    distillation = config.distillation
    paths = f", {distillation.k} paths" if "top" in distillation.objective else ""
    temperature = "" if distillation.objective in ("top_k", "top_wk") else f", temperature {distillation.temperature:g}"
    return f"objective {distillation.objective}{paths}{temperature}"


def _limits(config: TaggingPoint) -> Iterator[str]:
    yield (f"It was trained on sentences of at most {config.data.max_length} pieces, split into words as its data is.")
    if config.head.kind == "crf":
        yield (
            "Its labels are the best path of a CRF, whose transitions are in `tag_head.safetensors`: the "
            "token-classification pipeline of transformers does not read them, and labels every piece for itself."
        )


INFO = Info(
    name="tagging",
    title="tagging",
    read_starter=starter_in(__package__),
    folders=Folders(
        files=(HEAD_CONFIG,),
        refused={
            "ForTokenClassification": f"a token classifier without {HEAD_CONFIG}, which says how pieces become words; "
            "give a model of a tagging sweep, or one that raykd exported"
        },
    ),
    words=Words(
        does="Gives every word of a sentence a label",
        paper="structure-level distillation of sequence labelling "
        "([arXiv:2004.03846](https://arxiv.org/abs/2004.03846))",
        items="sentences of each language",
        scored="sentences of each language",
        pipeline="token-classification",
        teaching=_teaching,
        limits=_limits,
    ),
)
