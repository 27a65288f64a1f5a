"""Linear layers whose products a CPU computes with oneDNN, which torch asks for in bfloat16 only.

In float32 torch hands them to MKL, which on processors of other makers than Intel leaves a fifth of the speed unused.
The gradient of the weights stays with MKL: its operands are transposed, which oneDNN would copy first.
"""

from typing import Any

import torch
from torch import Tensor, nn

_MIN_WIDTH = 16
"""Narrower layers, such as heads, gain nothing."""


class CPULinear(nn.Linear):
    """`nn.Linear`, faster where everything is float32 on a CPU; anything else is torch's."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        plain = input.device.type != "cpu" or torch.is_autocast_enabled("cpu") or not input.numel()
        if plain or input.dtype != torch.float32 or self.weight.dtype != torch.float32:
            return super().forward(input)
        return _Linear.apply(input, self.weight, self.bias)


def use_cpu_linear(model: nn.Module) -> None:
    """Let a model's linear layers compute here, with the parameters they have."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    for name, module in list(model.named_modules()):
        if type(module) is nn.Linear and min(module.in_features, module.out_features) >= _MIN_WIDTH:
            faster = CPULinear(module.in_features, module.out_features, module.bias is not None, device="meta")
            faster.weight, faster.bias = module.weight, module.bias
            model.set_submodule(name, faster.train(module.training))


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(values, weight)
        return _product(values, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, weight = ctx.saved_tensors
        needs_values, needs_weight, needs_bias = ctx.needs_input_grad
        rows = gradient.reshape(-1, gradient.shape[-1])
        return (
            _product(gradient, weight.t(), None) if needs_values else None,
            rows.t() @ values.reshape(-1, values.shape[-1]) if needs_weight else None,
            rows.sum(0) if needs_bias else None,
        )


def _product(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(values, weight, bias, "none", [], "")
