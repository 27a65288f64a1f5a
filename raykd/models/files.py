"""What a model's files say: its task by the names of ours, what it reads by its configuration. Needs no torch."""

from collections.abc import Mapping
from typing import Any

SPAN_HEAD, SPAN_HEAD_CONFIG = "span_head.safetensors", "span_head.json"
"""Of a question-answering head of ours."""

HEAD_WEIGHTS, HEAD_CONFIG = "tag_head.safetensors", "tag_head.json"
"""Of a tagging head."""

SENTENCE_CONFIG = "sentence.json"
"""How a sentence encoder makes a vector of its tokens."""

MASKED_HEAD = "masked_head.safetensors"
"""Of a sentence encoder that came with a masked-token head: what of it is no part of the encoder."""

_COUNTED_FROM_PADDING = (
    "camembert",
    "data2vec-text",
    "ibert",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xmod",
)
"""Kinds of models whose first position is the one after the padding's: the ones before it are never used."""


def counts_from_padding(config: Mapping[str, Any]) -> bool:
    """Whether the number of a text's first position depends on the id of the padding.

    Args:
        config: of transformers, as `config.json` holds it.
    """
    text = config.get("text_config") or config
    return str(text.get("model_type", "")).startswith(_COUNTED_FROM_PADDING)


def usable_positions(config: Mapping[str, Any]) -> int | None:
    """The longest text that a model reads, in tokens; None where its positions have no end, or nothing is said.

    Args:
        config: of transformers, as `config.json` holds it.
    """
    text = config.get("text_config") or config
    positions = text.get("max_position_embeddings")
    if not isinstance(positions, int) or positions < 1:
        return None
    return positions - (text.get("pad_token_id") or 0) - 1 if counts_from_padding(config) else positions
