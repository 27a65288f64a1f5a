"""From start and end logits to answers: the best spans of a feature, the best answer over the features of an example.

The search is exact over all spans of at most `max_answer_tokens`. The SQuAD post-processing pairs only the 20 best
starts with the 20 best ends; where its answer is another, this one has the higher score.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Span:
    """A candidate answer: tokens of the feature, the end inclusive, and `context[start_char:end_char]`, the text."""

    score: float
    """Start logit plus end logit: comparable between the features of one example, not a probability."""
    start_token: int
    end_token: int
    start_char: int
    end_char: int


def best_spans(
    start_logits: Tensor,
    end_logits: Tensor,
    *,
    offsets: Tensor,
    context_mask: Tensor,
    word_edges: Tensor | None = None,
    n_best: int = 20,
    max_answer_tokens: int = 30,
) -> list[Span]:
    """The spans of one feature with the highest sum of start and end logit, best first.

    Equal scores: the earlier start comes first, then the shorter span.

    Args:
        start_logits: [L], any float dtype; compared in float32.
        end_logits: [L].
        offsets: [L, 2] int, first and past-the-last character of every token in the context.
        context_mask: [L] bool, True where an answer may start and end.
        word_edges: [L, 2] bool, whether a token begins with a word and ends with one: answers are whole words. None:
            they may begin and end inside a word.
        n_best: spans to return at most, >= 1.
        max_answer_tokens: tokens in a span at most, >= 1.

    Returns:
        Up to n_best spans; none where the mask allows none.

    Raises:
        ValueError: if the shapes do not fit, or n_best or max_answer_tokens is below 1.
    """
    if n_best < 1:
        raise ValueError(f"n_best: got {n_best}; it must be at least 1")
    edges = word_edges[None] if word_edges is not None else None
    starts, ends = _context_logits(start_logits[None], end_logits[None], context_mask[None], edges, max_answer_tokens)
    scores = (starts[0, :, None] + ends[0]).flatten()
    # A stable sort, not topk: topk orders equal scores differently from device to device.
    scores, order = scores.sort(descending=True, stable=True)
    num_spans = min(n_best, int((scores > -torch.inf).sum()))
    scores, order = scores[:num_spans], order[:num_spans]
    start_tokens = order // max_answer_tokens
    end_tokens = start_tokens + order % max_answer_tokens
    places = (start_tokens, end_tokens, offsets[start_tokens, 0].long(), offsets[end_tokens, 1].long())
    return [Span(*each) for each in zip(scores.tolist(), *(place.tolist() for place in places), strict=True)]


def top_spans(
    start_logits: Tensor,
    end_logits: Tensor,
    *,
    context_mask: Tensor,
    word_edges: Tensor | None = None,
    max_answer_tokens: int = 30,
) -> tuple[Tensor, Tensor, Tensor]:
    """The best span of every feature of a batch, on the batch's device and without waiting for it.

    Agrees with the first of `best_spans`, in equal scores too.

    Args:
        start_logits: [B, L], any float dtype; compared in float32.
        end_logits: [B, L].
        context_mask: [B, L] bool, True where an answer may start and end.
        word_edges: [B, L, 2] bool, as in `best_spans`.
        max_answer_tokens: tokens in a span at most, >= 1.

    Returns:
        (score [B] float32, start token [B] int64, end token [B] int64, inclusive). The score is -inf, and the tokens
        mean nothing, where the mask allows no span.

    Raises:
        ValueError: if the shapes differ or max_answer_tokens is below 1.
    """
    starts, ends = _context_logits(start_logits, end_logits, context_mask, word_edges, max_answer_tokens)
    # For a given start the best end is the best one in reach, so [B, L, max_answer_tokens] is never built.
    best_ends, extra_tokens = ends.max(dim=-1)
    scores, start_tokens = (starts + best_ends).max(dim=-1)
    end_tokens = start_tokens + extra_tokens.gather(-1, start_tokens[:, None]).squeeze(-1)
    return scores, start_tokens, end_tokens


def top_k_spans(
    start_logits: Tensor,
    end_logits: Tensor,
    *,
    context_mask: Tensor,
    k: int,
    word_edges: Tensor | None = None,
    max_answer_tokens: int = 30,
) -> tuple[Tensor, Tensor, Tensor]:
    """The best spans of every feature of a batch, on the batch's device and without waiting for it.

    Which of equal scores comes first depends on the device; arguments and errors are otherwise those of `top_spans`.

    Returns:
        (scores [B, K] float32, best first, start tokens and end tokens [B, K] int64), K = k or the number of all pairs
        of positions if that is less. A score is -inf where there is no further span.
    """
    starts, ends = _context_logits(start_logits, end_logits, context_mask, word_edges, max_answer_tokens)
    every = (starts[..., None] + ends).flatten(1)
    scores, order = every.topk(min(k, every.shape[1]))
    first = order // max_answer_tokens
    return scores, first, first + order % max_answer_tokens


def _context_logits(
    start_logits: Tensor,
    end_logits: Tensor,
    context_mask: Tensor,
    word_edges: Tensor | None,
    max_answer_tokens: int,
) -> tuple[Tensor, Tensor]:
    """Starts [B, L], and the ends in reach of each, [B, L, max_answer_tokens] (a view); -inf where none may be."""
    if not start_logits.shape == end_logits.shape == context_mask.shape:
        raise ValueError(
            f"got start logits {list(start_logits.shape)}, end logits {list(end_logits.shape)}, "
            f"context mask {list(context_mask.shape)}; they must be the same"
        )
    if max_answer_tokens < 1:
        raise ValueError(f"max_answer_tokens: got {max_answer_tokens}; it must be at least 1")
    may_start = may_end = context_mask
    if word_edges is not None:
        may_start, may_end = context_mask & word_edges[..., 0], context_mask & word_edges[..., 1]
    starts = start_logits.detach().float().masked_fill(~may_start, -torch.inf)
    ends = end_logits.detach().float().masked_fill(~may_end, -torch.inf)
    return starts, F.pad(ends, (0, max_answer_tokens - 1), value=-torch.inf).unfold(-1, max_answer_tokens, 1)
