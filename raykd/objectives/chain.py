"""A batch of linear chains as the loops over time want it, and those loops: the inside of `raykd.objectives.crf`."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Transitions(NamedTuple):
    """Scores of label pairs and of the labels at both ends; there are no START and STOP labels.

    With a leading [B] in each part, every sentence has its own. All zeros make the CRF a softmax at every word.
    """

    between: Tensor
    """[V, V] or [B, V, V], indexed [from, to]."""

    start: Tensor
    """[V] or [B, V], for the first word."""

    end: Tensor
    """[V] or [B, V], for the last word."""

    def softened(self, temperature: float) -> "Transitions":
        """All scores divided by T, at least in float32."""
        return Transitions(*(at_least_float32(part) / temperature for part in self))


def at_least_float32(values: Tensor) -> Tensor:
    """In float32, but float64 as it is."""
    return values if values.dtype == torch.float64 else values.float()


class Chain(NamedTuple):
    """The batch with the sentences innermost: that is what makes adding and reducing over few labels fast on a CPU."""

    emissions: Tensor
    """[L, V, B], 0 outside the mask."""

    between: Tensor
    """[V, V, 1 or B]."""

    start: Tensor
    """[V, 1 or B]."""

    end: Tensor
    """[V, 1 or B]."""

    last: Tensor
    """[B], the position of the last word."""

    reversal: Tensor
    """[L, B], where to find word L, L - 1, .. of each sentence; it swaps words with words, and is its own inverse."""

    words: Tensor
    """[L, B] bool."""


def time_major(emissions: Tensor, mask: Tensor, transitions: Transitions) -> Chain:
    check(emissions, mask, transitions)
    values = at_least_float32(emissions).masked_fill(~mask.unsqueeze(-1), 0).permute(1, 2, 0).contiguous()
    parts = (part.to(values.dtype) for part in transitions)
    between, start, end = (
        part.movedim(0, -1) if part.dim() > dims else part.unsqueeze(-1)
        for part, dims in zip(parts, (2, 1, 1), strict=True)
    )
    length = len(values)
    last = mask.sum(dim=1) - 1
    reversal = (last - torch.arange(length, device=mask.device).unsqueeze(-1)) % length
    return Chain(values, between, start, end, last, reversal, mask.T)


def check(emissions: Tensor, mask: Tensor, transitions: Transitions) -> None:
    if emissions.dim() != 3 or 0 in emissions.shape[1:]:
        raise ValueError(f"emissions: got {list(emissions.shape)}; they must be [B, L, V], L and V at least 1")
    batch, length, labels = emissions.shape
    if mask.shape != (batch, length) or mask.dtype != torch.bool:
        raise ValueError(f"mask: got {list(mask.shape)} of {mask.dtype}; it must be bool {[batch, length]}")
    for name, part in transitions._asdict().items():
        shape = (labels, labels) if name == "between" else (labels,)
        if part.shape not in {shape, (batch, *shape)}:
            raise ValueError(
                f"transitions.{name}: got {list(part.shape)}; it must be {list(shape)} or {[batch, *shape]}"
            )


class _Kept(Protocol):
    """What autograd hands from the way forward to the way back of `_Messages`."""

    needs_input_grad: tuple[bool, ...]
    saved_tensors: tuple[Tensor, ...]
    shapes: tuple[torch.Size, torch.Size]

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _Messages(torch.autograd.Function):
    """`out[i, b] = emissions[i, b] + logsumexp_a(out[i - 1, a] + between[a, b])`, from `start + emissions[0]`.

    The share of each label a in each sum, p(a at i - 1 | b at i, words to i), is kept. With it the way back is a
    product and a sum for each word, of probabilities and without logarithms: nothing in it can overflow.
    """

    @staticmethod
    def forward(ctx: _Kept, emissions: Tensor, between: Tensor, start: Tensor) -> Tensor:
        length, labels = emissions.shape[:2]
        differentiable = any(ctx.needs_input_grad)
        out = torch.empty_like(emissions)
        shares = emissions.new_empty(length if differentiable else 1, labels, *emissions.shape[1:])
        message = torch.add(start, emissions[0], out=out[0])
        for step in range(1, length):
            terms = message.unsqueeze(1) + between
            share = torch.softmax(terms, dim=0, out=shares[step if differentiable else 0])
            # The largest share is at least 1 / V, so its logarithm is safe; log-sum-exp would take the exp twice.
            total = terms.amax(dim=0).sub_(share.amax(dim=0).log_())
            message = torch.add(total, emissions[step], out=out[step])
        ctx.save_for_backward(shares)
        ctx.shapes = between.shape, start.shape
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: _Kept, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (shares,) = ctx.saved_tensors
        between_shape, start_shape = ctx.shapes
        grad = grad.clone(memory_format=torch.contiguous_format)
        grad_between = torch.zeros_like(shares[0])
        for step in range(len(grad) - 1, 0, -1):
            flow = shares[step] * grad[step]
            grad_between += flow
            grad[step - 1] += flow.sum(dim=1)
        return grad, grad_between.sum_to_size(between_shape), grad[0].sum_to_size(start_shape)


def messages(emissions: Tensor, between: Tensor, start: Tensor) -> Tensor:
    """[L, V, ..]: log of the summed exp(score) of all beginnings that end in a label, with its own emission."""
    if not torch.is_grad_enabled():  # Else what only the way back needs is kept for parameters all the same.
        emissions, between, start = emissions.detach(), between.detach(), start.detach()
    return _Messages.apply(emissions, between, start)


def both_messages(chain: Chain) -> tuple[Tensor, Tensor]:
    """Those of beginnings and those of endings, [L, V, B] each, both with the emission, in one loop over time."""
    both = messages(
        torch.stack((chain.emissions, in_reverse(chain.emissions, chain.reversal)), dim=2),
        torch.stack((chain.between, chain.between.transpose(0, 1)), dim=2),
        torch.stack((chain.start, chain.end), dim=1),
    )
    return both[:, :, 0], in_reverse(both[:, :, 1], chain.reversal)


def best_messages(chain: Chain) -> Tensor:
    """[L, V, B]: the best score of an ending that begins with a label, the last word first."""
    backwards, emissions = chain.between.transpose(0, 1), in_reverse(chain.emissions, chain.reversal)
    best = [chain.end + emissions[0]]
    for emission in emissions[1:]:
        best.append((best[-1].unsqueeze(1) + backwards).amax(dim=0) + emission)
    return torch.stack(best)


def at(position: Tensor, values: Tensor) -> Tensor:
    """[L, V, B] at one position [B] of each sentence: [V, B]."""
    return values.gather(0, position.expand(1, values.shape[1], -1)).squeeze(0)


def in_reverse(values: Tensor, reversal: Tensor) -> Tensor:
    """[L, V, B] with the words of each sentence in reverse; what lies behind a sentence stays behind it."""
    return values.gather(0, reversal.unsqueeze(1).expand_as(values))
