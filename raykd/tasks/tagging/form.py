"""A tagging model outside of raykd."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from transformers import AutoModelForTokenClassification

from raykd.data import smallworld_tags
from raykd.models.files import HEAD_CONFIG, HEAD_WEIGHTS
from raykd.models.plain import plain_tagger
from raykd.models.tagging import TagModel, TagOutput, pool_words
from raykd.tasks.form import LANGUAGES, Batch, cut
from raykd.tasks.plain import PlainForm
from raykd.tasks.tagging.config import TaggingPoint
from raykd.tasks.tagging.model import model_inputs
from raykd.tasks.tagging.terms import best_labels
from raykd.tasks.tagging.windows import build_tag_features

_TAGGING = """\
import torch
{imports}from transformers import AutoModelForTokenClassification, AutoTokenizer{cached}

name = "{name}"  # this folder, or its id on the Hub
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForTokenClassification.from_pretrained(name).eval()


def label(words):
    \"\"\"A label for each word of a sentence of at most {max_length} pieces.\"\"\"
    encoded = tokenizer({words}, is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**encoded).logits[0]
    pieces = [[at for at, word in enumerate(encoded.word_ids()) if word == number] for number in range(len(words))]
    scores = torch.stack([{pooled} for at in pieces])
{decode}
    return [model.config.id2label[number] for number in labels]


print(label(["Ada", "was", "born", "in", "London", "."]))"""

_VITERBI = """\
    crf = load_file(cached_file(name, "tag_head.safetensors"))
    best, origins = crf["transitions.start"] + scores[0], []
    for score in scores[1:]:
        before, origin = (best[:, None] + crf["transitions.between"]).max(dim=0)
        best, origins = before + score, [origin, *origins]
    labels = [int((best + crf["transitions.end"]).argmax())]
    for origin in origins:
        labels.insert(0, int(origin[labels[0]]))"""


class TaggingForm(PlainForm):
    """Label scores of pieces, which the head's pooling makes those of words."""

    outputs = ("logits",)
    auto_class = AutoModelForTokenClassification
    own_files = (HEAD_CONFIG, HEAD_WEIGHTS)

    def plain(self, model: Any) -> Any:
        return plain_tagger(model)

    def batches(self, tokenizer: Any, model: TagModel, config: TaggingPoint) -> list[Batch]:
        found = smallworld_tags.sentences("dev", 3, languages=LANGUAGES)
        sentences = [type(each)(each.id, each.language, each.words) for members in found.values() for each in members]
        most, labels = config.data.max_length, model.head.labels
        return cut(
            build_tag_features(sentences, tokenizer, languages=LANGUAGES, labels=labels, scheme="none", max_length=most)
        )

    def answers(self, model: TagModel, batch: Batch) -> list[Tensor]:
        return [model(**model_inputs(batch)).emissions]

    def aligned(self, outputs: Sequence[Tensor], batch: Batch, model: TagModel) -> list[Tensor]:
        return [pool_words(outputs[0], batch["first"], batch["last"], model.head.pooling)]

    def decisions(self, answers: Sequence[Tensor], batch: Batch, model: TagModel) -> list[Any]:
        transitions = model.transitions() if model.transitions is not None else (None, None, None)
        return best_labels(TagOutput(answers[0], *transitions), batch, np.arange(len(answers[0])))

    def usage(
        self, config: TaggingPoint, model: TagModel, *, name: str, words_bring_spaces: bool, options: Mapping[str, Any]
    ) -> str:
        is_crf = config.head.kind == "crf"
        return _TAGGING.format(
            name=name,
            max_length=config.data.max_length,
            imports="from safetensors.torch import load_file\n" if is_crf else "",
            cached="\nfrom transformers.utils import cached_file" if is_crf else "",
            words='[" " * (at > 0) + word for at, word in enumerate(words)]' if words_bring_spaces else "words",
            pooled="logits[at[0]]" if model.head.pooling == "first" else "logits[at].mean(dim=0)",
            decode=_VITERBI if is_crf else "    labels = scores.argmax(dim=1).tolist()",
        )
