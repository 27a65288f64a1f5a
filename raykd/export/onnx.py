"""A plain model as an ONNX file, checked with onnxruntime."""

import importlib.util
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from raykd.errors import ConfigError
from raykd.export.checks import Check, Probe
from raykd.tasks.form import Batch, plain_inputs

FILE = "model.onnx"
OPSET = 18
TOLERANCE = 1e-3
"""Other kernels add in another order; that conclusions are equal is checked exactly."""

_LIBRARIES = ("onnx", "onnxscript", "onnxruntime")
_MOST_IN_ONE_FILE = 1_900_000_000
"""Bytes of weights; a protocol buffer holds 2 GiB."""


class _Positional(nn.Module):
    """A model whose inputs and outputs have an order instead of names."""

    def __init__(self, model: nn.Module, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        super().__init__()
        self.model, self.inputs, self.outputs = model, inputs, outputs

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        found = self.model(**dict(zip(self.inputs, inputs, strict=True)))
        return tuple(getattr(found, name) for name in self.outputs)


def require_onnx() -> None:
    """Refuse what cannot be done here.

    Raises:
        ConfigError: if one of the libraries is not installed.
    """
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"--onnx: {', '.join(missing)} not installed; pip install 'raykd[onnx]'")


def write_onnx(model: nn.Module, probe: Probe, folder: Path) -> Check:
    """Write `model.onnx` for any batch size and length, and compare it with the model in raykd.

    Raises:
        ArtifactError: if it answers differently.
    """
    import onnxruntime

    path, outputs = folder / FILE, probe.form.outputs
    # A size of 1 would be taken for a constant.
    example = plain_inputs(probe.batches[1])
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    num_bytes = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    # What torch and its exporter say to each other.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Positional(model, list(example), outputs).eval(),
            tuple(example.values()),
            f=path,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes={"inputs": (sizes,) * len(example)},
            opset_version=OPSET,
            dynamo=True,
            external_data=num_bytes > _MOST_IN_ONE_FILE,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = {each.name for each in session.get_inputs()}

    def run(batch: Batch) -> list[Tensor]:
        read = {name: tensor.numpy() for name, tensor in batch.items() if name in names}
        return [torch.from_numpy(each) for each in session.run(list(outputs), read)]

    return probe.check(run, tolerance=TOLERANCE, what=f"{FILE} as onnxruntime runs it")
