"""How models of transformers are loaded: in float32, without running code of theirs, errors in one line."""

import contextlib
import os
import pickle
from collections.abc import Iterator
from typing import Any

import safetensors
import torch
from transformers import PreTrainedConfig

from raykd.errors import DataError

# Else transformers asks the Hub, in a thread, to convert a model that has no safetensors.
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "true")


def load_options(config: PreTrainedConfig) -> dict[str, Any]:
    """Options of `from_pretrained`: safetensors where there are any, else the tensors of `pytorch_model.bin` alone."""
    return {"config": config, "dtype": torch.float32, "trust_remote_code": False, "weights_only": True}


@contextlib.contextmanager
def plain_load_errors(kind: str, model: str) -> Iterator[None]:
    """What goes wrong while a model or a tokenizer is loaded, as one line.

    Args:
        kind: `model` or `tokenizer`.
    """
    try:
        yield
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{model}: its weights are a pickle that holds more than tensors, or is damaged; it was not read, since it "
            "could run any code. Convert it to safetensors where you trust it"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{model}: {kind} cannot be loaded ({reason}). Give a folder with config.json, weights and tokenizer, "
            "or a Hub id while the Hub can be reached"
        ) from error
