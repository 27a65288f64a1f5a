"""What each task's model is outside of raykd, and what of its outputs must be the same there."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from raykd.config.point import PointConfig
from raykd.data import smallworld, smallworld_tags
from raykd.models.plain import plain_encoder, plain_qa, plain_tagger
from raykd.models.tagging import TagModel, TagOutput, pool_words
from raykd.tasks.qa.decode import top_spans
from raykd.tasks.qa.features import build_features
from raykd.tasks.tagging.learning import best_labels, model_inputs
from raykd.tasks.tagging.windows import build_tag_features

Batch = dict[str, Tensor]
_LANGUAGES = ("en", "de", "ar", "zh")
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Form(Protocol):
    """A task's model as a plain one.

    Attributes:
        outputs: names of what the plain model answers with, as transformers calls it.
    """

    outputs: tuple[str, ...]

    def plain(self, model: Any) -> nn.Module:
        """The model as a class of transformers; DataError where there is none."""

    def batches(self, tokenizer: Any, model: Any, config: PointConfig) -> list[Batch]:
        """Made-up probes: batches of several sizes and lengths, as the sweep would read such texts."""

    def answers(self, model: Any, batch: Batch) -> list[Tensor]:
        """What the model in raykd answers."""

    def aligned(self, outputs: Sequence[Tensor], batch: Batch, model: Any) -> list[Tensor]:
        """`outputs` of the plain model, laid out as `answers`."""

    def decisions(self, answers: Sequence[Tensor], batch: Batch, model: Any) -> list[Any]:
        """What is concluded: spans, or labels."""


def plain_inputs(batch: Mapping[str, Tensor]) -> Batch:
    """The part of a batch that a plain model reads."""
    return {name: batch[name] for name in _INPUTS if name in batch}


class QAForm:
    """Start and end logits."""

    outputs = ("start_logits", "end_logits")
    plain = staticmethod(plain_qa)

    def batches(self, tokenizer: Any, model: Any, config: PointConfig) -> list[Batch]:
        items = smallworld.parallel_items("dev", 2, languages=_LANGUAGES)
        examples = [example for item in items.values() for example in item.values()]
        data = config.data
        options = {"stride": data.stride, "max_question_length": data.max_question_length, "no_answer": "keep"}
        return _cut(build_features(examples, tokenizer, max_length=data.max_length, **options))

    def answers(self, model: Any, batch: Batch) -> list[Tensor]:
        outputs = model(**plain_inputs(batch))
        return [outputs.start_logits, outputs.end_logits]

    def aligned(self, outputs: Sequence[Tensor], batch: Batch, model: Any) -> list[Tensor]:
        return list(outputs)

    def decisions(self, answers: Sequence[Tensor], batch: Batch, model: Any) -> list[Any]:
        _, first, last = top_spans(*answers, context_mask=batch["context_mask"])
        return list(zip(first.tolist(), last.tolist(), strict=True))


class TaggingForm:
    """Label scores of pieces, which the head's pooling makes those of words."""

    outputs = ("logits",)
    plain = staticmethod(plain_tagger)

    def batches(self, tokenizer: Any, model: TagModel, config: PointConfig) -> list[Batch]:
        found = smallworld_tags.sentences("dev", 3, languages=_LANGUAGES)
        sentences = [type(each)(each.id, each.language, each.words) for members in found.values() for each in members]
        options = {"labels": model.head.labels, "scheme": "none", "max_length": config.data.max_length}
        return _cut(build_tag_features(sentences, tokenizer, languages=_LANGUAGES, **options))

    def answers(self, model: TagModel, batch: Batch) -> list[Tensor]:
        return [model(**model_inputs(batch)).emissions]

    def aligned(self, outputs: Sequence[Tensor], batch: Batch, model: TagModel) -> list[Tensor]:
        return [pool_words(outputs[0], batch["first"], batch["last"], model.head.pooling)]

    def decisions(self, answers: Sequence[Tensor], batch: Batch, model: TagModel) -> list[Any]:
        transitions = model.transitions() if model.transitions is not None else (None, None, None)
        return best_labels(TagOutput(answers[0], *transitions), batch, np.arange(len(answers[0])))


class EncoderForm:
    """Hidden states."""

    outputs = ("last_hidden_state",)
    plain = staticmethod(plain_encoder)

    def batches(self, tokenizer: Any, model: Any, config: PointConfig) -> list[Batch]:
        items = smallworld.parallel_items("dev", 2, languages=_LANGUAGES)
        texts = [text for item in items.values() for each in item.values() for text in (each.question, each.context)]
        options = {"truncation": True, "max_length": config.data.max_length, "padding": True, "return_tensors": "pt"}
        return [dict(tokenizer(texts[first:past], **options)) for first, past in _borders(len(texts))]

    def answers(self, model: Any, batch: Batch) -> list[Tensor]:
        return [model.hidden(**plain_inputs(batch))]

    def aligned(self, outputs: Sequence[Tensor], batch: Batch, model: Any) -> list[Tensor]:
        return list(outputs)

    def decisions(self, answers: Sequence[Tensor], batch: Batch, model: Any) -> list[Any]:
        return []


FORMS: dict[str, Form] = {"qa": QAForm(), "tagging": TaggingForm(), "parallel": EncoderForm()}
"""Task -> what its model is outside of raykd."""


def _cut(features: Any) -> list[Batch]:
    return [features.collate(np.arange(first, past)) for first, past in _borders(len(features))]


def _borders(count: int) -> list[tuple[int, int]]:
    """One, two, and all the others."""
    return [(0, 1), (1, 3), (3, count)]
