"""Sentence encoders: any transformers encoder, read as one vector for a sentence and one for each word."""

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    BertModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.utils import ModelOutput

from raykd.errors import DataError
from raykd.models.files import SENTENCE_CONFIG
from raykd.models.loading import load_options, plain_load_errors
from raykd.models.masked_head import MaskedHead, load_masked_head
from raykd.models.qa import set_dropout
from raykd.models.tiny import tiny_config

Pooling = Literal["cls", "mean"]
"""A sentence's vector: the last hidden state of the first token, or the mean of those that the mask lets through."""


@dataclass
class EncoderOutput(ModelOutput):
    """Vectors in float32: `sentence` [B, H], and `words` [B, W, H] where they were asked for."""

    sentence: Tensor | None = None
    words: Tensor | None = None


class SentenceEncoder(nn.Module):
    """A folder of it holds the encoder as transformers writes it, and `sentence.json`.

    Attributes:
        masked_head: the masked-token head that the model came with, which vectors do not depend on; its folder has it
            in `masked_head.safetensors`.
    """

    def __init__(self, encoder: PreTrainedModel, pooling: Pooling, masked_head: MaskedHead | None = None) -> None:
        super().__init__()
        self.encoder, self.pooling, self.masked_head = encoder, pooling, masked_head

    @property
    def config(self) -> PreTrainedConfig:
        """The encoder's configuration."""
        return self.encoder.config

    @property
    def width(self) -> int:
        """H, the size of the vectors."""
        return self.config.get_text_config().hidden_size

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's input embeddings."""
        return self.encoder.get_input_embeddings()

    def hidden(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Last hidden states [B, L, H]; token types only for an encoder that has them."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state

    def forward(
        self,
        *,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        first: Tensor | None = None,
        word_mask: Tensor | None = None,
    ) -> EncoderOutput:
        """Vectors of sentences, and of words.

        Args:
            input_ids, attention_mask, token_type_ids: [B, L].
            first: [B, W] position of each word's first piece; None reads no words.
            word_mask: [B, W] bool, True where there is a word; the other vectors are 0. None takes all for words.
        """
        hidden = self.hidden(input_ids, attention_mask, token_type_ids).float()
        words = None
        if first is not None:
            words = hidden.gather(1, first[..., None].expand(-1, -1, hidden.shape[-1]))
            if word_mask is not None:
                words = words * word_mask[..., None]
        return EncoderOutput(sentence=_pool(hidden, attention_mask, self.pooling), words=words)

    def save_pretrained(self, folder: Path, *, state_dict: dict[str, Tensor]) -> None:
        """Write encoder and head; `state_dict` holds the weights of the whole module."""
        parts: dict[str, dict[str, Tensor]] = {"encoder": {}, "masked_head": {}}
        for name, tensor in state_dict.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.encoder.save_pretrained(folder, state_dict=parts["encoder"])
        if self.masked_head is not None:
            self.masked_head.save(folder, state_dict=parts["masked_head"])
        (Path(folder) / SENTENCE_CONFIG).write_text(json.dumps({"pooling": self.pooling}), encoding="utf-8")


def _pool(hidden: Tensor, attention_mask: Tensor, pooling: Pooling) -> Tensor:
    """[B, H] of sentences out of [B, L, H] of tokens."""
    if pooling == "cls":
        return hidden[:, 0]
    weights = attention_mask.to(hidden.dtype)[..., None]
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def load_sentence_encoder(
    model: str, *, pooling: str | None = None, dropout: float | None = None, masked_head: bool = False
) -> SentenceEncoder:
    """A sentence encoder in float32 from a folder of ours, a transformers folder or a Hub id; other heads are left out.

    Args:
        pooling: None takes what the folder says, `cls` where it says nothing.
        dropout: replaces every dropout probability of the configuration.
        masked_head: take its masked-token head too, where it has one.

    Raises:
        DataError: if the model cannot be found or read, or weights of its encoder are missing.
    """
    chosen = cast(Pooling, pooling) if pooling is not None else _stored_pooling(model)
    with plain_load_errors("model", model):
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        if dropout is not None:
            set_dropout(config, dropout)
        options = load_options(config) | without_pooler(config)
        encoder, info = AutoModel.from_pretrained(model, output_loading_info=True, **options)
    if info["missing_keys"]:
        raise DataError(f"{model}: the encoder's weights lack {', '.join(sorted(info['missing_keys'])[:3])}")
    encoder = encoder.float()
    return SentenceEncoder(encoder, chosen, load_masked_head(model, encoder) if masked_head else None)


def without_pooler(config: PreTrainedConfig) -> dict[str, bool]:
    """The option of `from_pretrained` that leaves out the layer above an encoder's first token, where there is one."""
    found: Any = MODEL_MAPPING.get(type(config), ())
    # A few configurations have several classes.
    kinds = found if isinstance(found, tuple) else (found,)
    has_pooler = bool(kinds) and all("add_pooling_layer" in inspect.signature(kind).parameters for kind in kinds)
    return {"add_pooling_layer": False} if has_pooler else {}


def vector_size(model: str) -> int:
    """The size of the vectors of a model folder or Hub id, by its configuration alone.

    Raises:
        DataError: if the configuration cannot be found or read.
    """
    with plain_load_errors("model", model):
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    return config.get_text_config().hidden_size


def _stored_pooling(model: str) -> Pooling:
    path = Path(model) / SENTENCE_CONFIG
    if not path.is_file():
        return "cls"
    try:
        pooling = json.loads(path.read_text(encoding="utf-8"))["pooling"]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not a sentence encoder's file ({error}); export the model again") from error
    if pooling not in get_args(Pooling):
        raise DataError(f"{path}: pooling: got {pooling!r}; it is one of {', '.join(get_args(Pooling))}")
    return pooling


def tiny_sentence_encoder(tokenizer: PreTrainedTokenizerFast, *, seed: int, pooling: Pooling) -> SentenceEncoder:
    """A small random BERT for the built-in world: 2 layers of width 64, sized for seconds on one CPU core."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SentenceEncoder(BertModel(tiny_config(tokenizer), add_pooling_layer=False), pooling)
