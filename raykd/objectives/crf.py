"""Linear-chain CRF: sums, marginals and best paths of a batch of sentences, in log space and float32.

The score of labels y_1..y_n is `start[y_1] + sum_i emissions[i, y_i] + sum_i between[y_i, y_i+1] + end[y_n]`, and
p(y) = exp(score - log_partition). All functions share these arguments:

- emissions: [B, L, V], any float dtype. float64 is computed in float64, every other dtype in float32; there is no
  matrix product here, so autocast lowers nothing. Positions outside the mask are never looked at.
- mask: [B, L] bool, True for words. Each row starts with its words and has at least one; that is not checked, as it
  would make a GPU wait for the host.
- transitions: `Transitions`, of the whole batch or one for each sentence.

Scores are nats and must be finite: forbid a transition with -1e4. Where nothing but forbidden paths are left, the
results are those of the least forbidden ones. A shape that does not fit raises ValueError.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from raykd.objectives.chain import (
    Chain,
    Transitions,
    at,
    at_least_float32,
    best_messages,
    both_messages,
    check,
    in_reverse,
    messages,
    time_major,
)


class ForwardBackward(NamedTuple):
    """What one run over a batch tells; gradients flow through both."""

    log_partition: Tensor
    """[B]."""

    log_marginals: Tensor
    """[B, L, V], log p(y_i = a), normalised at every word; 0 outside the mask."""


class ExpectedCounts(NamedTuple):
    """How often a random labelling is expected to have each part; the inner product with scores is a mean score."""

    labels: Tensor
    """[B, L, V], 0 outside the mask."""

    pairs: Tensor
    """[B, V, V], [from, to], summed over the sentence."""

    first: Tensor
    """[B, V]."""

    last: Tensor
    """[B, V]."""


class BestPaths(NamedTuple):
    """The K best labellings of each sentence, best first."""

    paths: Tensor
    """[B, K, L] int64, 0 outside the mask."""

    scores: Tensor
    """[B, K], not normalised; -inf where there is no such path."""

    valid: Tensor
    """[B, K] bool. A sentence has as many True as it has labellings, but at most K."""


def log_partition(emissions: Tensor, mask: Tensor, transitions: Transitions) -> Tensor:
    """log of the sum of exp(score) over all labellings, [B] nats, with gradients."""
    chain = time_major(emissions, mask, transitions)
    return _log_total(messages(chain.emissions, chain.between, chain.start), chain)


def forward_backward(emissions: Tensor, mask: Tensor, transitions: Transitions) -> ForwardBackward:
    """log Z and the log marginals, for hardly more than one of them."""
    chain = time_major(emissions, mask, transitions)
    forward, backward = both_messages(chain)
    log_marginals = (forward + backward - chain.emissions).log_softmax(dim=1).permute(2, 0, 1)
    return ForwardBackward(_log_total(forward, chain), log_marginals.masked_fill(~mask.unsqueeze(-1), 0))


def marginals(emissions: Tensor, mask: Tensor, transitions: Transitions) -> Tensor:
    """log p(y_i = a), [B, L, V], normalised at every word, 0 outside the mask, with gradients."""
    return forward_backward(emissions, mask, transitions).log_marginals


def pair_marginals(emissions: Tensor, mask: Tensor, transitions: Transitions) -> Tensor:
    """p(y_i = a, y_i+1 = b), [B, L - 1, V, V], 0 where word i + 1 is outside the mask, with gradients."""
    chain = time_major(emissions, mask, transitions)
    return _pairs(*both_messages(chain), chain, temperature=1.0).permute(3, 0, 1, 2)


def expected_counts(
    emissions: Tensor, mask: Tensor, transitions: Transitions, *, temperature: float = 1.0
) -> ExpectedCounts:
    """The expected counts of labels, pairs and ends, with gradients.

    At T = 1 they are those of p. At another T the marginal of each pair, of the first and of the last label is raised
    to 1 / T and normalised by itself: the "local" temperature of the released code of Structural Knowledge Distillation
    (ACL 2021). Neighbouring pairs then disagree about the label they share; `labels` follows the pair that ends there.
    """
    chain = time_major(emissions, mask, transitions)
    forward, backward = both_messages(chain)
    labels = forward + backward - chain.emissions
    first, last = ((ends / temperature).softmax(dim=0) for ends in (labels[0], at(chain.last, labels)))
    pairs = _pairs(forward, backward, chain, temperature=temperature)
    labels = torch.cat((first.unsqueeze(0), pairs.sum(dim=1))).permute(2, 0, 1)
    return ExpectedCounts(labels, pairs.sum(dim=0).permute(2, 0, 1), first.T, last.T)


def path_scores(emissions: Tensor, tags: Tensor, mask: Tensor, transitions: Transitions) -> Tensor:
    """Scores of given labellings, not normalised, with gradients.

    Args:
        tags: [B, L] or [B, K, L] int64 below V; any number outside the mask.

    Returns:
        [B] or [B, K] nats.
    """
    check(emissions, mask, transitions)
    batch, length, labels = emissions.shape
    if tags.dim() not in {2, 3} or (tags.shape[0], tags.shape[-1]) != (batch, length):
        raise ValueError(f"tags: got {list(tags.shape)}; they must be [{batch}, {length}] or [{batch}, K, {length}]")
    values, words = at_least_float32(emissions), mask.unsqueeze(-1)
    between, start, end = (part.to(values.dtype) for part in transitions)
    paths = (tags.unsqueeze(1) if tags.dim() == 2 else tags).transpose(1, 2).masked_fill(~words, 0)
    scores = values.gather(2, paths).masked_fill(~words, 0).sum(dim=1)
    pairs = (paths[:, :-1] * labels + paths[:, 1:]).flatten(1)
    moves = between.flatten(-2).expand(batch, -1).gather(1, pairs).view_as(paths[:, 1:])
    scores = scores + moves.masked_fill(~words[:, 1:], 0).sum(dim=1)
    last = paths.gather(1, (mask.sum(dim=1) - 1).view(-1, 1, 1).expand(-1, 1, paths.shape[2])).squeeze(1)
    scores = scores + start.expand(batch, -1).gather(1, paths[:, 0]) + end.expand(batch, -1).gather(1, last)
    return scores.squeeze(1) if tags.dim() == 2 else scores


def viterbi(emissions: Tensor, mask: Tensor, transitions: Transitions) -> tuple[Tensor, Tensor]:
    """The best labelling of each sentence, [B, L] int64 with 0 outside the mask, and its score, [B]. No gradient."""
    best = k_best(emissions, mask, transitions, 1)
    return best.paths[:, 0], best.scores[:, 0]


@torch.no_grad()
def k_best(emissions: Tensor, mask: Tensor, transitions: Transitions, num_paths: int) -> BestPaths:
    """The `num_paths` best labellings of each sentence, exact but for ties within rounding. No gradient.

    The best score that the rest of the sentence can add is known first, from a pass backwards. Ranked by what each can
    still reach, the K best beginnings hold those of the K best paths: a better-ranked beginning has a better path. So
    K beginnings of a sentence are kept, and not K for each label.

    Raises:
        ValueError: if `num_paths` is below 1.
    """
    if num_paths < 1:
        raise ValueError(f"num_paths: got {num_paths}; it must be at least 1")
    chain = time_major(emissions, mask, transitions)
    reachable = in_reverse(best_messages(chain), chain.reversal).transpose(1, 2)
    parents, labels, totals = _keep_beginnings(chain, reachable, num_paths)
    scores = at(chain.last, totals.transpose(1, 2)).T
    rank = torch.arange(num_paths, device=mask.device).expand(len(mask), -1)
    path = []
    for step in range(len(labels) - 1, -1, -1):
        path.append(labels[step].gather(1, rank))
        rank = torch.where(mask[:, step, None], parents[step].gather(1, rank), rank)
    paths = torch.stack(path[::-1], dim=-1)
    valid = scores > -torch.inf
    return BestPaths(paths.masked_fill(~(mask.unsqueeze(1) & valid.unsqueeze(-1)), 0), scores, valid)


def _keep_beginnings(chain: Chain, reachable: Tensor, num_paths: int) -> tuple[Tensor, Tensor, Tensor]:
    """The K best beginnings at each word by their best possible score: parent's rank, label and that score, [L, B, K].

    Positions behind a sentence are filled like words; nobody reads them.
    """
    length, batch, labels = reachable.shape
    emissions = chain.emissions.transpose(1, 2)
    between = chain.between.permute(2, 0, 1).flatten(0, 1)
    rows = torch.arange(batch, device=between.device).unsqueeze(-1) * (labels if len(between) > labels else 0)
    candidates = chain.start.T.expand(batch, -1).unsqueeze(1)
    if num_paths > labels:
        candidates = torch.nn.functional.pad(candidates, (0, 0, 0, -(-num_paths // labels) - 1), value=-torch.inf)
    kept = []
    for step in range(length):
        total, choice = (candidates + reachable[step].unsqueeze(1)).flatten(1).topk(num_paths)
        score = (candidates + emissions[step].unsqueeze(1)).flatten(1).gather(1, choice)
        label = choice % labels
        kept.append((choice // labels, label, total))
        candidates = score.unsqueeze(-1) + between[rows + label]
    parents, chosen, totals = (torch.stack(part) for part in zip(*kept, strict=True))
    return parents, chosen, totals


def _pairs(forward: Tensor, backward: Tensor, chain: Chain, *, temperature: float) -> Tensor:
    """[L - 1, V, V, B], the pair marginals to the power of 1 / T, normalised; 0 where the second is no word."""
    before, between, after = (part / temperature for part in (forward[:-1], chain.between, backward[1:]))
    scores = before.unsqueeze(2) + between + after.unsqueeze(1)
    pairs = scores.flatten(1, 2).softmax(dim=1).view_as(scores)
    return pairs * chain.words[1:, None, None].to(pairs.dtype)


def _log_total(forward: Tensor, chain: Chain) -> Tensor:
    return (at(chain.last, forward) + chain.end).logsumexp(dim=0)
