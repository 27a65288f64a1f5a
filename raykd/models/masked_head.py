"""The masked-token head that a model came with: transformers' own layers, on hidden states of an encoder."""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING
from transformers.utils import logging

from raykd.models.files import MASKED_HEAD, SENTENCE_CONFIG
from raykd.models.loading import load_options, plain_load_errors


class MaskedHead(nn.Module):
    """Scores of all pieces for hidden states, by a class of transformers whose base model is taken out.

    What the class ties stays tied: where its matrix is that of the input embeddings, it is the encoder's parameter.

    Attributes:
        own: names of its parameters that are no embeddings, each once: what a folder keeps of it.
    """

    def __init__(self, model: PreTrainedModel, embeddings: nn.Parameter) -> None:
        """
        Args:
            model: of `MODEL_FOR_MASKED_LM_MAPPING`; it gives its base model away.
            embeddings: the encoder's, in place of those of `model`.
        """
        super().__init__()
        tied = model.get_input_embeddings().get_parameter("weight")
        setattr(model, model.base_model_prefix, _HiddenStates())
        self.model = model
        self._replace({tied: embeddings})
        self.own = tuple(name for name, each in self.named_parameters() if each is not embeddings)

    def forward(self, hidden: Tensor) -> Tensor:
        """[M, V] float32 of [M, H]."""
        return self.model(inputs_embeds=hidden[None]).logits[0].float()

    def weights(self) -> dict[str, Tensor]:
        """Its own parameters by name; those of the vocabulary have a row for each piece: bias [V], matrix [V, E]."""
        return {name: self.get_parameter(name).detach() for name in self.own}

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Make these its own parameters, in float32.

        Raises:
            ValueError: if they have other names than `weights` gives.
        """
        if weights.keys() != {*self.own}:
            raise ValueError(f"it holds {', '.join(sorted(weights))}, not {', '.join(sorted(self.own))}")
        self._replace({self.get_parameter(name): nn.Parameter(weights[name].float()) for name in self.own})

    def save(self, folder: Path, *, state_dict: Mapping[str, Tensor]) -> None:
        """Write what is its own; `state_dict` holds the weights of the whole module."""
        own = {name: state_dict[name].contiguous() for name in self.own}
        safetensors.torch.save_file(own, Path(folder) / MASKED_HEAD)

    def _replace(self, others: Mapping[nn.Parameter, nn.Parameter]) -> None:
        """Put other parameters in the place of some, wherever these are: what is tied stays so."""
        for module in self.modules():
            for name, parameter in list(module.named_parameters(recurse=False, remove_duplicate=False)):
                if parameter in others:
                    setattr(module, name, others[parameter])


class _HiddenStates(nn.Module):
    """In the place of a base model: hidden states are what it is given."""

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> BaseModelOutput:
        return _Output(last_hidden_state=inputs_embeds)


class _Output(BaseModelOutput):
    """What else a class hands on of its base model's outputs, such as global attentions, is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def build_masked_head(config: PreTrainedConfig, embeddings: nn.Parameter, weights: Mapping[str, Tensor]) -> MaskedHead:
    """The head of an encoder with this configuration and these input embeddings.

    Args:
        weights: as `MaskedHead.weights` gives them.

    Raises:
        ValueError: if they are those of another class.
    """
    kind = _class_of(config)
    if kind is None:
        raise ValueError(f"{config.model_type} has no masked-token head")
    with torch.device("meta"):
        head = MaskedHead(kind(copy.deepcopy(config)), embeddings)
    head.take(weights)
    return head


def load_masked_head(model: str, encoder: PreTrainedModel) -> MaskedHead | None:
    """The trained head beside an encoder, from a folder of ours, a transformers folder or a Hub id; None without one.

    Args:
        encoder: loaded from there.

    Raises:
        DataError: if it cannot be read.
    """
    embeddings, path = encoder.get_input_embeddings().get_parameter("weight"), Path(model) / MASKED_HEAD
    if path.is_file():
        with plain_load_errors("masked-token head", model):
            return build_masked_head(encoder.config, embeddings, safetensors.torch.load_file(path))
    whole = _whole_model(model)
    return None if whole is None else MaskedHead(whole, embeddings)


def has_masked_head(model: str) -> bool:
    """Whether `load_masked_head` finds one. Reads the whole model where that is not a folder of ours.

    Raises:
        DataError: if the model cannot be read.
    """
    return (Path(model) / MASKED_HEAD).is_file() or _whole_model(model) is not None


def _whole_model(model: str) -> PreTrainedModel | None:
    """A model with all weights of its masked-token head; None where some are missing, or it has no such class."""
    if (Path(model) / SENTENCE_CONFIG).is_file():
        # Written by us: the encoder alone.
        return None
    with plain_load_errors("model", model):
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        if _class_of(config) is None:
            return None
        # What is missing is drawn, and said to be: nobody keeps it here.
        with torch.random.fork_rng(), _without_report():
            whole, info = AutoModelForMaskedLM.from_pretrained(model, output_loading_info=True, **load_options(config))
    missing = [name for name in info["missing_keys"] if not name.startswith(f"{whole.base_model_prefix}.")]
    return None if missing else whole.float()


def _class_of(config: PreTrainedConfig) -> type[PreTrainedModel] | None:
    """The class with a masked-token head; None where there is none, or it has a decoder between encoder and head."""
    if config.is_encoder_decoder or type(config) not in MODEL_FOR_MASKED_LM_MAPPING:
        return None
    kind: type[PreTrainedModel] = MODEL_FOR_MASKED_LM_MAPPING[type(config)]
    return kind


@contextlib.contextmanager
def _without_report() -> Iterator[None]:
    """Let transformers say nothing about weights that are missing."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
