"""Models of ours as classes of transformers, which load without raykd."""

import copy
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
)

from raykd.errors import DataError
from raykd.models.encoder import SentenceEncoder
from raykd.models.qa import QAModel, SpanModel
from raykd.models.tagging import TagModel


def plain_qa(model: QAModel) -> PreTrainedModel:
    """A QA model as transformers' own.

    Raises:
        DataError: if there is no such class, or it has other layers above the backbone.
    """
    if not isinstance(model, SpanModel):
        return model
    return _with_head(model.backbone, model.span_head, MODEL_FOR_QUESTION_ANSWERING_MAPPING, "question-answering")


def plain_tagger(model: TagModel) -> PreTrainedModel:
    """Encoder and emissions of a tagging model as a token classifier: scores of pieces. A CRF's transitions are left.

    Pieces' scores become those of words as `TagHead.pooling` says: the mean of linear scores is the score of the mean.

    Raises:
        DataError: if there is a BiLSTM, no such class, or one with other layers above the encoder.
    """
    if model.lstm is not None:
        raise DataError(
            f"a BiLSTM of size {model.head.lstm_size} stands on the encoder (head.lstm_size), and no class of "
            "transformers has one; label with `raykd predict`, or train a head without it"
        )
    labels = dict(enumerate(model.head.labels))
    names = {"id2label": labels, "label2id": {label: number for number, label in labels.items()}}
    return _with_head(
        model.encoder, model.emissions, MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING, "token-classification", **names
    )


def plain_encoder(model: SentenceEncoder) -> PreTrainedModel:
    """The encoder alone; its pooling has no place in transformers."""
    return model.encoder


def _with_head(encoder: PreTrainedModel, head: nn.Linear, classes: Any, what: str, **settings: Any) -> PreTrainedModel:
    config = copy.deepcopy(encoder.config)
    for name, value in settings.items():
        setattr(config, name, value)
    kind = classes.get(type(config), None)
    if kind is None:
        raise DataError(f"transformers has no {what} class for {config.model_type}; use the model with `raykd predict`")
    whole = kind(config)
    base = whole.base_model
    own = [module for module in whole.children() if module is not base and any(True for _ in module.parameters())]
    shape = head.weight.shape
    if len(own) != 1 or not isinstance(own[0], nn.Linear) or own[0].weight.shape != shape or own[0].bias is None:
        raise DataError(
            f"transformers' {kind.__name__} has more than a linear layer on its encoder, so this head does not fit; "
            "use the model with `raykd predict`"
        )
    missing, _ = base.load_state_dict(encoder.state_dict(), strict=False)
    if missing:
        raise DataError(f"transformers' {kind.__name__} has an encoder with other weights: {', '.join(missing[:3])}")
    own[0].load_state_dict(head.state_dict())
    return whole.eval()
