"""Models over fewer pieces: the rows of input and output embeddings that a trimmed tokenizer can name."""

from collections.abc import Iterator

import torch
from torch import nn
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel

from raykd.errors import DataError
from raykd.models.encoder import SentenceEncoder
from raykd.models.files import counts_from_padding
from raykd.models.masked_head import MaskedHead, build_masked_head
from raykd.models.vocabulary import Kept

_NAMES_A_TOKEN = ("_token_id", "_token_index")
"""How keys of a configuration end that hold an id, or several."""


def trim_model(model: nn.Module, kept: Kept) -> None:
    """Leave a model the vectors of the kept pieces alone, in place.

    Input embeddings, output embeddings (tied or not) and their bias keep the kept rows bit for bit; configurations name
    the new ids. An id that is not kept, such as a default that the tokenizer knows nothing of, becomes None.

    Args:
        model: of transformers, or one of ours over one of transformers.
        kept: of `needed_pieces`, for the tokenizer that the model reads with.

    Raises:
        DataError: if the model has no plain embeddings, or none for some of the pieces; if it has other embeddings by
            piece; if its positions count from the padding and the padding's id would change. The model is as it was.
    """
    if isinstance(model, SentenceEncoder) and model.masked_head is not None:
        head, model.masked_head = model.masked_head, None
        rows = model.encoder.get_input_embeddings().num_embeddings
        trim_model(model, kept)
        model.masked_head = _trimmed_head(model.encoder, head, kept, rows)
        return
    inner = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
    embeddings = inner.get_input_embeddings()
    _check(inner, embeddings, kept)
    rows, padding = embeddings.num_embeddings, embeddings.padding_idx
    num_kept, new_padding = len(kept.ids), kept.new_ids.get(padding)
    chosen = torch.tensor(kept.ids, device=embeddings.weight.device)
    # One tensor may have several names.
    trimmed: dict[int, nn.Parameter] = {}
    for module, name in [*_by_piece(inner, embeddings)]:
        old = getattr(module, name)
        if id(old) not in trimmed:
            trimmed[id(old)] = nn.Parameter(old.detach()[chosen], requires_grad=old.requires_grad)
        setattr(module, name, trimmed[id(old)])
        if isinstance(module, nn.Embedding):
            module.num_embeddings, module.padding_idx = num_kept, new_padding
        elif isinstance(module, nn.Linear):
            module.out_features = num_kept
    for config in _configs(inner):
        for name, value in [*vars(config).items()]:
            if name.endswith(_NAMES_A_TOKEN) and value is not None:
                setattr(config, name, _renumbered(value, kept))
    inner.config.get_text_config().vocab_size = num_kept
    for module in inner.modules():
        own = vars(module)
        if isinstance(module, PreTrainedModel) and own.get("vocab_size") == rows:
            own["vocab_size"] = num_kept
        if isinstance(module, PreTrainedModel) and padding is not None and own.get("padding_idx") == padding:
            own["padding_idx"] = new_padding


def _by_piece(inner: PreTrainedModel, embeddings: nn.Embedding) -> Iterator[tuple[nn.Module, str]]:
    """Modules and the names of their parameters that have a row for each piece."""
    output = inner.get_output_embeddings()
    for module in inner.modules():
        for name, parameter in module.named_parameters(recurse=False):
            # A head's bias may stand beside its linear layer, under one name or two.
            is_bare_bias = name == "bias" and getattr(module, "weight", None) is None
            may_be = module is output or is_bare_bias
            if parameter is embeddings.weight or (may_be and parameter.shape[0] == embeddings.num_embeddings):
                yield module, name


def _configs(inner: PreTrainedModel) -> list[PreTrainedConfig | GenerationConfig]:
    """The configurations that may name tokens, each once."""
    found = [module.config for module in inner.modules() if isinstance(module, PreTrainedModel)]
    found += [config.get_text_config() for config in found]
    if getattr(inner, "generation_config", None) is not None:
        found.append(inner.generation_config)
    return [*{id(config): config for config in found}.values()]


def _renumbered(value: int | list[int], kept: Kept) -> int | list[int] | None:
    if isinstance(value, list):
        return [kept.new_ids[number] for number in value if number in kept.new_ids] or None
    return kept.new_ids.get(value)


def _trimmed_head(encoder: PreTrainedModel, head: MaskedHead, kept: Kept, rows: int) -> MaskedHead:
    """The masked-token head of a trimmed encoder, tied to its embeddings again.

    Args:
        rows: of the embeddings before they were trimmed.
    """
    chosen = torch.tensor(kept.ids)
    weights = {name: each[chosen] if len(each) == rows else each for name, each in head.weights().items()}
    return build_masked_head(encoder.config, encoder.get_input_embeddings().get_parameter("weight"), weights)


def _check(inner: PreTrainedModel, embeddings: nn.Module, kept: Kept) -> None:
    kind = type(inner).__name__
    if not isinstance(embeddings, nn.Embedding):
        raise DataError(f"student.vocabulary: {kind} has no plain input embeddings, so they cannot be trimmed")
    if kept.ids[-1] >= embeddings.num_embeddings:
        raise DataError(
            f"student.vocabulary: {kind} has vectors for {embeddings.num_embeddings:,} pieces, its tokenizer has "
            f"{kept.total:,}; model and tokenizer do not belong together"
        )
    for name, module in inner.named_modules():
        is_other = isinstance(module, nn.Embedding) and module.weight is not embeddings.weight
        if is_other and module.num_embeddings == embeddings.num_embeddings and "position" not in name:
            raise DataError(f"student.vocabulary: {kind} has other vectors by piece ({name}), which cannot be trimmed")
    config = inner.config.to_dict()
    padding = inner.config.get_text_config().pad_token_id
    if counts_from_padding(config) and kept.new_ids.get(padding) != padding:
        raise DataError(
            f"student.vocabulary: {kind} counts its positions from the id of the padding, which is {padding} and would "
            "change; use a model whose special tokens come first in its vocabulary"
        )
