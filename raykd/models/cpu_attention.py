"""Attention for training on a CPU: with dropout, which torch's fused kernel has not, and faster than it in bf16.

What torch falls back to draws its masks slowly and writes every intermediate result; in bf16 its fused kernel takes two
to five times as long for both passes together. Without gradients the fused kernel is kept.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from raykd.models.cpu_dropout import keep_mask

ATTENTION = "sdpa_cpu_training"
"""The name of this module's attention in transformers."""
_CHUNK_SCORES = 1 << 19
"""Attention weights that are worked on at once: they stay in the processor's cache from product to product."""


def use_cpu_attention(model: nn.Module) -> None:
    """Give a model with torch's attention this one. In training on a CPU its speed changes, elsewhere nothing does."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and module.config._attn_implementation == "sdpa":
            module.set_attn_implementation(ATTENTION)


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
    """Scaled dot-product attention as transformers calls it; in training on a CPU its own, else transformers'.

    Args:
        query, key, value: [B, H, L, D].
        attention_mask: [B, 1 or H, L, L] bool, True where a key is read, or to be added to the scores; None reads all.

    Returns:
        [B, L, H, D], and None in place of the weights.
    """
    causal = getattr(module, "is_causal", False) if is_causal is None else is_causal
    special = not query.shape == key.shape == value.shape or any(option is not None for option in kwargs.values())
    special |= (attention_mask is None and causal) or (attention_mask is not None and attention_mask.requires_grad)
    training = dropout > 0 or (torch.is_grad_enabled() and query.requires_grad)
    if special or not training or query.device.type != "cpu":
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, is_causal, **kwargs)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return _Attention.apply(query, key, value, attention_mask, dropout, scale).transpose(1, 2).contiguous(), None


class _Attention(torch.autograd.Function):
    """Attention, a few sentences at a time; inside, heads and sentences are one dimension."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, probability: float, scale: float
    ) -> Tensor:
        batch, heads, length, depth = query.shape
        ctx.scale, ctx.rest = scale, 1 / (1 - probability)
        bias = None if mask is None else _added(mask).expand(batch, -1, -1, -1)
        query, key, value = (each.reshape(-1, length, depth) for each in (query, key, value))
        weights = query.new_empty(batch * heads, length, length)
        keep = keep_mask(weights.shape, probability) if probability else None
        kept = weights if keep is None else torch.empty_like(weights)
        result = torch.empty_like(value)
        # In float32 at least: a score in bf16 is off by up to 0.4%, its exponential by more.
        precise = torch.promote_types(weights.dtype, torch.float32)
        scratch = None if weights.dtype == precise else torch.empty(weights.shape, dtype=precise)
        for first, last in _parts(batch, heads * length * length):
            part = slice(first * heads, last * heads)
            scores = weights[part] if scratch is None else scratch[: (last - first) * heads]
            _product(query[part].to(precise), key[part].to(precise).mT, scores, scale)
            if bias is not None:
                scores.view(-1, heads, length, length).add_(bias[first:last])
            torch.softmax(scores, dim=-1, out=scores)
            if scratch is not None:
                weights[part] = scores
            if keep is not None:
                kept[part].copy_(keep[part]).mul_(weights[part])
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


def _added(mask: Tensor) -> Tensor:
    """A mask as numbers to be added to the scores."""
    if mask.dtype != torch.bool:
        return mask
    return (~mask).view(torch.uint8).float().mul_(torch.finfo(torch.float32).min)


def _parts(batch: int, scores_each: int) -> Iterator[tuple[int, int]]:
    """First and last (exclusive) sentence of each part."""
    size = max(1, _CHUNK_SCORES // scores_each)
    return ((start, min(start + size, batch)) for start in range(0, batch, size))


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
