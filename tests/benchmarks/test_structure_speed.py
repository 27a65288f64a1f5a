"""How fast the CRF's parts are, as ratios of two ways measured in one run. `make benchmark` prints them.

Random scores, no model: what is measured is what a term adds to a step, with the gradients of emissions and
transitions.
"""

import heapq
import statistics
import time
from collections.abc import Callable

import pytest
import torch
from support.enumerated_crf import Case, random_case

from raykd.objectives.crf import forward_backward, k_best, log_partition, marginals, path_scores
from raykd.objectives.structure import exact_kd, negative_log_likelihood, posterior_kd, top_wk_kd

pytestmark = pytest.mark.benchmark

NUM_PATHS = 10
Candidate = tuple[float, tuple[int, ...]]


def plain_k_best(case: Case) -> list[list[Candidate]]:
    """One sentence, one word and one label after the other; the K best ways to each label are kept with their tags."""
    found = []
    between, start, end = (part.tolist() for part in case.transitions)
    for row, length in enumerate(case.lengths):
        emissions = case.emissions[row, :length].tolist()
        labels = range(len(start))
        best = [[(start[label] + emissions[0][label], (label,))] for label in labels]
        for word in emissions[1:]:
            best = [
                heapq.nlargest(
                    NUM_PATHS,
                    [
                        (score + between[before][label] + word[label], (*path, label))
                        for before in labels
                        for score, path in best[before]
                    ],
                )
                for label in labels
            ]
        ends = [(score + end[label], path) for label in labels for score, path in best[label]]
        found.append(heapq.nlargest(NUM_PATHS, ends))
    return found


def seconds(*functions: Callable[[], object], turns: int) -> list[float]:
    """The median of each, measured in turns, so that a slow moment of the machine meets all of them."""
    taken: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(turns):
        for times, function in zip(taken, functions, strict=True):
            before = time.perf_counter()
            function()
            times.append(time.perf_counter() - before)
    return [statistics.median(times) for times in taken]


def test_k_best_against_plain_python():
    case = random_case([40] * 32, 20, seed=0)
    best = k_best(*case.arguments, NUM_PATHS)
    for row, paths in enumerate(plain_k_best(case)):
        expected = torch.tensor([score for score, _ in paths])
        torch.testing.assert_close(best.scores[row], expected, rtol=1e-5, atol=1e-3)
    plain, batched = seconds(lambda: plain_k_best(case), lambda: k_best(*case.arguments, NUM_PATHS), turns=3)
    print(f"\nk-best of 32 sentences x 40 words x 20 labels, k = 10: plain Python {plain * 1e3:.0f} ms", end="")
    print(f", batched {batched * 1e3:.1f} ms, {plain / batched:.0f} times")
    assert plain / batched >= 10


@pytest.mark.parametrize("num_labels", [7, 20])
def test_what_the_terms_cost(num_labels):
    lengths = torch.randint(10, 26, (64,), generator=torch.Generator().manual_seed(0)).tolist()
    student = random_case([*lengths[1:], 25], num_labels, seed=1).with_gradients()
    teacher = random_case([*lengths[1:], 25], num_labels, seed=2)
    tags = torch.randint(num_labels, student.mask.shape, generator=torch.Generator().manual_seed(3))
    chain = student.arguments

    def likelihood(log_z: torch.Tensor | None = None) -> torch.Tensor:
        return negative_log_likelihood(chain[0], tags, *chain[1:], log_z=log_z)

    def autograd() -> torch.Tensor:
        emissions, mask, (between, start, end) = chain
        alpha = start + emissions[:, 0]
        for word in range(1, mask.shape[1]):
            step = (alpha[:, :, None] + between).logsumexp(dim=1) + emissions[:, word]
            alpha = torch.where(mask[:, word, None], step, alpha)
        return (alpha + end).logsumexp(dim=1) - path_scores(emissions, tags, mask, chain[2])

    def posterior() -> torch.Tensor:
        log_z, table = forward_backward(*chain)
        return likelihood(log_z) + posterior_kd(table, marginals(*teacher.arguments), student.mask, temperature=4.0)

    def top_wk() -> torch.Tensor:
        log_z, best = log_partition(*chain), k_best(*teacher.arguments, NUM_PATHS)
        return likelihood(log_z) + top_wk_kd(chain[0], best, *chain[1:], log_z=log_z)

    def both() -> torch.Tensor:
        (log_z, table), best = forward_backward(*chain), k_best(*teacher.arguments, NUM_PATHS)
        kd = posterior_kd(table, marginals(*teacher.arguments), student.mask, temperature=4.0)
        return likelihood(log_z) + kd + top_wk_kd(chain[0], best, *chain[1:], log_z=log_z)

    def exact() -> torch.Tensor:
        transitions = {"student_transitions": chain[2], "teacher_transitions": teacher.transitions}
        return likelihood() + exact_kd(chain[0], teacher.emissions, student.mask, **transitions, temperature=1.0)

    terms = {
        "likelihood, steps by autograd": autograd,
        "likelihood + posterior": posterior,
        "likelihood + Top-WK": top_wk,
        "likelihood + posterior + Top-WK": both,
        "likelihood + exact": exact,
    }
    steps = [lambda term=term: torch.autograd.grad(term().mean(), student.parameters) for term in terms.values()]
    plain, *costs = seconds(lambda: torch.autograd.grad(likelihood().mean(), student.parameters), *steps, turns=15)
    print(f"\n64 sentences of 10 to 25 words, {num_labels} labels: likelihood {plain * 1e3:.2f} ms")
    for name, cost in zip(terms, costs, strict=True):
        print(f"{name}: {cost * 1e3:.2f} ms, {cost / plain:.2f} times")
