"""Dropout that a CPU draws quickly: the same distribution as torch's, other random numbers.

torch draws a CPU's masks one number after another with the Mersenne Twister, a fifth of a step of a small BERT. NumPy's
SFC64 gives four 16-bit numbers at once, about 15 times as fast. Its seed is drawn from torch's generator: the same seed
gives the same masks.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "sdpa_cpu_dropout"
"""The name of this module's attention in transformers."""
_LEVELS = 1 << 16
_CHUNK_SCORES = 1 << 19
"""Attention weights that are worked on at once: they stay in the processor's cache from product to product."""


def use_cpu_dropout(model: nn.Module) -> None:
    """Let a model draw its dropout masks here. In training on a CPU its speed changes, elsewhere nothing does."""
    for name, module in list(model.named_modules()):
        if type(module) is nn.Dropout:
            model.set_submodule(name, CPUDropout(module.p, module.inplace))
        elif isinstance(module, PreTrainedModel) and module.config._attn_implementation == "sdpa":
            module.set_attn_implementation(ATTENTION)


def keep_mask(shape: torch.Size, probability: float) -> Tensor:
    """A uint8 tensor on the CPU, 1 with probability 1 - p, to within 2**-17, else 0.

    Not bool, which torch turns into floating point ten times as slowly.

    Args:
        probability: p, of 0, in [0, 1).
    """
    seed = int(torch.randint(torch.iinfo(torch.int64).max, (), dtype=torch.int64))
    size = shape.numel()
    numbers = np.random.SFC64(seed).random_raw(size // 4 + 1).view(np.uint16)[:size]
    return torch.from_numpy((numbers >= round(probability * _LEVELS)).view(np.uint8)).view(shape)


class CPUDropout(nn.Dropout):
    """`nn.Dropout` with masks of `keep_mask` where the input is on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """The input with some elements 0, the others scaled up, in training; the input itself else."""
        if not self.training or self.p == 0 or input.device.type != "cpu" or self.p == 1:
            return super().forward(input)
        return _Dropout.apply(input, self.p)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, probability: float) -> Tensor:
        keep = keep_mask(values.shape, probability)
        ctx.save_for_backward(keep)
        ctx.scale = 1 / (1 - probability)
        return keep.to(values.dtype).mul_(values).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return keep.to(gradient.dtype).mul_(gradient).mul_(ctx.scale), None


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention as transformers calls it; with dropout on a CPU its own, else transformers'.

    torch's fused CPU kernel has no dropout; what it falls back to draws slowly and writes every intermediate result.

    Args:
        query, key, value: [B, H, L, D].
        attention_mask: [B, 1 or H, L, L] bool, True where a key is read, or to be added to the scores; None reads all.

    Returns:
        [B, L, H, D], and None in place of the weights.
    """
    causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
    special = query.shape != key.shape or any(value is not None for value in kwargs.values())
    if dropout == 0 or query.device.type != "cpu" or special or (causal and attention_mask is None):
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, is_causal, **kwargs)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return _Attention.apply(query, key, value, attention_mask, dropout, scale).transpose(1, 2).contiguous(), None


class _Attention(torch.autograd.Function):
    """Attention with dropout, a few sentences at a time; inside, heads and sentences are one dimension."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, probability: float, scale: float
    ) -> Tensor:
        batch, heads, length, depth = query.shape
        ctx.scale, ctx.rest = scale, 1 / (1 - probability)
        bias = None if mask is None else _added(mask, query.dtype).expand(batch, -1, -1, -1)
        query, key, value = (each.reshape(-1, length, depth) for each in (query, key, value))
        keep = keep_mask(torch.Size((batch * heads, length, length)), probability)
        weights, kept = query.new_empty(keep.shape), query.new_empty(keep.shape)
        result = torch.empty_like(value)
        for first, last in _parts(batch, heads * length * length):
            part = slice(first * heads, last * heads)
            scores = _product(query[part], key[part].mT, weights[part], scale)
            if bias is not None:
                scores.view(-1, heads, length, length).add_(bias[first:last])
            torch.softmax(scores, dim=-1, out=scores)
            kept[part].copy_(keep[part]).mul_(scores)
            _product(kept[part], value[part], result[part], ctx.rest)
        ctx.save_for_backward(query, key, value, weights, kept)
        return result.view(batch, heads, length, depth)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, weights, kept = ctx.saved_tensors
        batch, heads, length, depth = gradient.shape
        gradient = gradient.reshape(-1, length, depth)
        to_query, to_key, to_value = (torch.empty_like(each) for each in (query, key, value))
        scratch = torch.empty_like(weights)  # Its first part alone is used, again and again.
        for first, last in _parts(batch, heads * length * length):
            part = slice(first * heads, last * heads)
            _product(kept[part].mT, gradient[part], to_value[part], ctx.rest)
            # The softmax's own gradient, w * (g - sum(w * g)), where g is 0 at dropped weights: w * g is kept * g.
            weighted = _product(gradient[part], value[part].mT, scratch[: len(gradient[part])], ctx.rest)
            weighted.mul_(kept[part])
            weighted.addcmul_(weights[part], weighted.sum(-1, keepdim=True), value=-1)
            _product(weighted, key[part], to_query[part], ctx.scale)
            _product(weighted.mT, query[part], to_key[part], ctx.scale)
        return *(each.view(batch, heads, length, depth) for each in (to_query, to_key, to_value)), None, None, None


def _product(left: Tensor, right: Tensor, out: Tensor, scale: float) -> Tensor:
    """`scale * left @ right`, written into `out`."""
    return torch.baddbmm(out, left, right, beta=0, alpha=scale, out=out)


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as numbers to be added to the scores."""
    if mask.dtype != torch.bool:
        return mask
    return (~mask).view(torch.uint8).to(dtype).mul_(torch.finfo(dtype).min)


def _parts(batch: int, scores_each: int) -> Iterator[tuple[int, int]]:
    """First and last (exclusive) sentence of each part."""
    size = max(1, _CHUNK_SCORES // scores_each)
    return ((start, min(start + size, batch)) for start in range(0, batch, size))


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
