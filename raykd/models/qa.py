"""Extractive QA models: whatever transformers has a QA class for, and a span head over any other backbone."""

import copy
import json
from pathlib import Path
from typing import Any, Literal, TypeAlias

import safetensors.torch
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    BertForQuestionAnswering,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import QuestionAnsweringModelOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_QUESTION_ANSWERING_MAPPING

from raykd.errors import DataError
from raykd.models.files import SPAN_HEAD, SPAN_HEAD_CONFIG
from raykd.models.loading import load_options, plain_load_errors
from raykd.models.tiny import tiny_config


class SpanModel(nn.Module):
    """A backbone and a linear layer to a start and an end logit for each token.

    Its folder holds the backbone as transformers writes it, plus `span_head.safetensors` and `span_head.json`.
    """

    def __init__(self, backbone: PreTrainedModel) -> None:
        super().__init__()
        self.backbone = backbone
        config = backbone.config.get_text_config()
        self.span_head = nn.Linear(config.hidden_size, 2)
        nn.init.normal_(self.span_head.weight, std=getattr(config, "initializer_range", 0.02))
        nn.init.zeros_(self.span_head.bias)

    @property
    def config(self) -> PreTrainedConfig:
        """The backbone's configuration."""
        return self.backbone.config

    def get_input_embeddings(self) -> nn.Module:
        """The backbone's input embeddings."""
        return self.backbone.get_input_embeddings()

    def forward(self, **inputs: Tensor) -> QuestionAnsweringModelOutput:
        """Start and end logits [B, L] of `input_ids` and `attention_mask` [B, L]."""
        hidden = self.backbone(**inputs).last_hidden_state
        logits = self.span_head(hidden.to(self.span_head.weight.dtype))
        return QuestionAnsweringModelOutput(start_logits=logits[..., 0], end_logits=logits[..., 1])

    def save_pretrained(self, folder: Path, *, state_dict: dict[str, Tensor]) -> None:
        """Write backbone and head; `state_dict` holds the weights of the whole model."""
        parts: dict[str, dict[str, Tensor]] = {"backbone": {}, "span_head": {}}
        for name, tensor in state_dict.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        self.backbone.save_pretrained(folder, state_dict=parts["backbone"])
        safetensors.torch.save_file(parts["span_head"], Path(folder) / SPAN_HEAD)
        (Path(folder) / SPAN_HEAD_CONFIG).write_text(json.dumps({"head": "span", "outputs": ["start", "end"]}))


QAModel: TypeAlias = PreTrainedModel | SpanModel


def load_tokenizer(model: str, *, gguf_file: str | None = None) -> PreTrainedTokenizerFast:
    """The fast tokenizer of a model folder or Hub id.

    Raises:
        DataError: if there is none, only a slow one (it has no character offsets), or one without a vocabulary.
    """
    options = {"gguf_file": gguf_file} if gguf_file else {}
    with plain_load_errors("tokenizer", model):
        tokenizer = AutoTokenizer.from_pretrained(model, **options)
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise DataError(f"{model}: its tokenizer has no fast version, which raykd needs for offsets; convert it first")
    # Of a folder without its files some tokenizers are made all the same: every word is unknown to them.
    if not {*tokenizer.get_vocab()} - {*tokenizer.all_special_tokens}:
        raise DataError(f"{model}: its tokenizer has no vocabulary; add its files to the folder, like tokenizer.json")
    return tokenizer


def load_qa_model(
    model: str,
    *,
    gguf_file: str | None = None,
    bidirectional: bool = False,
    dropout: float | None = None,
    needs_head: bool = False,
) -> QAModel:
    """A QA model in float32 from a folder of ours, any transformers folder, or a Hub id.

    A model without a QA class gets a `SpanModel`; an untrained head is initialised from torch's generator.

    Args:
        gguf_file: name of the GGUF file in `model` that holds the weights.
        bidirectional: read a decoder without its causal mask; an error where its configuration does not know how.
        dropout: replaces every dropout probability of the configuration.
        needs_head: refuse a model whose head was never trained.

    Raises:
        DataError: if the model cannot be found or read, or is not one that can do this.
    """
    options: dict[str, Any] = {"gguf_file": gguf_file} if gguf_file else {}
    with plain_load_errors("model", model):
        config = AutoConfig.from_pretrained(model, trust_remote_code=False, **options)
        if bidirectional:
            config = _without_causal_mask(model, config)
        if dropout is not None:
            set_dropout(config, dropout)
        options |= load_options(config)
        folder = Path(model)
        has_head = (folder / SPAN_HEAD).is_file()
        if has_head:
            loaded = SpanModel(AutoModel.from_pretrained(model, **options))
            loaded.span_head.load_state_dict(safetensors.torch.load_file(folder / SPAN_HEAD))
        elif type(config) in MODEL_FOR_QUESTION_ANSWERING_MAPPING and not bidirectional:
            options["output_loading_info"] = True
            loaded, info = AutoModelForQuestionAnswering.from_pretrained(model, **options)
            has_head = not info["missing_keys"]
        else:
            loaded = SpanModel(AutoModel.from_pretrained(model, **options))
    if needs_head and not has_head:
        raise DataError(
            f"{model}: it has no trained question-answering head; train one (base.train in a sweep file), "
            "or use a model that has one"
        )
    return _dequantized(loaded) if gguf_file else loaded.float()


def _dequantized(model: QAModel) -> QAModel:
    """A model out of a GGUF file as an ordinary one in float32: transformers dequantised it, but calls it quantised."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            vars(module).update(is_quantized=False, hf_quantizer=None)
            module.config.__dict__.pop("quantization_config", None)
    return nn.Module.float(model)


def tiny_qa_model(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> QAModel:
    """A small random BERT for the built-in world: 2 layers of width 128, sized for a minute on one CPU core."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BertForQuestionAnswering(tiny_config(tokenizer, width=128))


@torch.no_grad()
def renew_head(model: QAModel) -> None:
    """Initialise the layers above the backbone again, from torch's generator."""
    config = model.config.get_text_config()
    head = model.span_head if isinstance(model, SpanModel) else _own_layers(model)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=getattr(config, "initializer_range", 0.02))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _own_layers(model: PreTrainedModel) -> nn.ModuleList:
    """What a class of transformers has above its backbone."""
    return nn.ModuleList(module for module in model.children() if module is not model.base_model)


def shrink(model: QAModel, num_layers: int, *, which: Literal["spaced", "first"] = "spaced") -> QAModel:
    """A copy that keeps `num_layers` of the model's layers.

    Args:
        model: any with a list of layers.
        which: those that are evenly spaced, the first and the last among them, or the first ones.

    Raises:
        DataError: if the model has fewer layers, or its list of layers cannot be found.
    """
    _, layers = _layers(model)
    if not 1 <= num_layers <= len(layers):
        raise DataError(f"student.num_layers: got {num_layers}; the base model has {len(layers)}")
    last = len(layers) - 1
    if which == "first":
        kept = list(range(num_layers))
    elif num_layers == 1:
        kept = [last]
    else:
        kept = [round(index * last / (num_layers - 1)) for index in range(num_layers)]
    small = copy.deepcopy(model)
    name, layers = _layers(small)
    layers = nn.ModuleList(layers[index] for index in kept)
    setattr(small.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], layers)
    config = small.config.get_text_config()
    config.num_hidden_layers = num_layers
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[index] for index in kept]
    for index, layer in enumerate(layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                vars(module)["layer_idx"] = index
    return small


def _layers(model: QAModel) -> tuple[str, nn.ModuleList]:
    count = model.config.get_text_config().num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return name, module
    raise DataError(f"student.num_layers: the layers of {type(model).__name__} were not found; use student.model")


def _without_causal_mask(model: str, config: PreTrainedConfig) -> PreTrainedConfig:
    text = config.get_text_config()
    if not hasattr(text, "use_bidirectional_attention"):
        raise DataError(
            f"{model}: base.bidirectional: {text.model_type} has no use_bidirectional_attention; remove the key"
        )
    text.use_bidirectional_attention = True
    return text


def set_dropout(config: PreTrainedConfig, dropout: float) -> None:
    text = config.get_text_config()
    for name, value in vars(text).items():
        if ("dropout" in name or name in ("attn_pdrop", "resid_pdrop", "embd_pdrop")) and type(value) in (int, float):
            setattr(text, name, dropout)
