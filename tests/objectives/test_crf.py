import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.enumerated_crf import all_scores, cases, label_table, labellings, pair_table, random_case

from raykd.objectives.chain import both_messages, time_major
from raykd.objectives.crf import (
    Transitions,
    expected_counts,
    forward_backward,
    k_best,
    log_partition,
    marginals,
    pair_marginals,
    path_scores,
    viterbi,
)

torch.set_num_threads(1)

FORBIDDEN = -1e4

some = settings(max_examples=100, deadline=None)


def assert_near(got: torch.Tensor, expected: torch.Tensor) -> None:
    """Of sums of scores up to some hundreds, in float32."""
    torch.testing.assert_close(got.double(), expected.double(), rtol=1e-5, atol=3e-4)


def worked_example() -> tuple[torch.Tensor, torch.Tensor, Transitions]:
    """Three words, labels F and T, potentials that change with the position (arXiv:2004.03846, table 1).

    A label for each position, F1 T1 F2 T2 F3 T3, makes them transitions; all others are forbidden.
    """
    between = torch.full((6, 6), FORBIDDEN)
    between[0:2, 2:4] = torch.tensor([[2, 1 / 2], [1 / 2, 2]]).log()
    between[2:4, 4:6] = torch.tensor([[1 / 3, 3], [4, 1 / 4]]).log()
    start, end = torch.full((6,), FORBIDDEN), torch.full((6,), FORBIDDEN)
    start[0:2] = end[4:6] = 0
    return torch.zeros(1, 3, 6), torch.ones(1, 3, dtype=torch.bool), Transitions(between, start, end)


def test_the_sums_of_the_worked_example():
    chain = worked_example()
    printed = [1, 2.5, 10.83], [1, 2.5, 8.13], [8.79, 3.33, 1], [10.17, 4.25, 1]
    tables = [messages.exp()[:, :, 0] for messages in both_messages(time_major(*chain))]
    got = [table[range(3), range(label, 6, 2)] for table in tables for label in (0, 1)]
    torch.testing.assert_close(torch.stack(got), torch.tensor(printed), atol=0.006, rtol=0)
    assert log_partition(*chain).exp().item() == pytest.approx(18.9583, abs=1e-3)


def test_the_probabilities_of_the_worked_example():
    chain = worked_example()
    of_f = marginals(*chain)[0].exp()[range(3), [0, 2, 4]]
    torch.testing.assert_close(of_f, torch.tensor([0.46, 0.44, 0.57]), atol=0.006, rtol=0)
    paths = labellings(3, 2) + torch.tensor([0, 2, 4])
    probabilities = (path_scores(chain[0], paths[None], *chain[1:]) - log_partition(*chain)).exp()[0]
    printed = torch.tensor([0.035, 0.316, 0.105, 0.007, 0.009, 0.079, 0.422, 0.026])  # FFF FFT FTF FTT TFF TFT TTF TTT
    torch.testing.assert_close(probabilities, printed, atol=6e-4, rtol=0)


def test_the_best_paths_of_the_worked_example():
    best = k_best(*worked_example(), 2)
    assert best.paths.tolist() == [[[1, 3, 4], [0, 2, 5]]]  # TTF, FFT
    torch.testing.assert_close(best.scores.softmax(dim=1), torch.tensor([[0.57, 0.43]]), atol=0.006, rtol=0)


@some
@given(cases(), st.data())
def test_values_are_those_of_enumeration(case, data):
    log_z, log_marginals = forward_backward(*case.arguments)
    pairs = pair_marginals(*case.arguments)
    assert_near(log_z, log_partition(*case.arguments))
    assert torch.equal(log_marginals, marginals(*case.arguments))
    for row, length in enumerate(case.lengths):
        scores = all_scores(case, row)
        assert_near(log_z[row], scores.logsumexp(dim=0))
        assert_near(log_marginals[row, :length], label_table(case, row))
        assert_near(pairs[row, : length - 1], pair_table(case, row))
        assert (log_marginals[row, length:] == 0).all() and (pairs[row, max(length - 1, 0) :] == 0).all()


@some
@given(cases(), st.integers(0, 2**32))
def test_scores_of_paths_are_those_of_enumeration(case, seed):
    generator = torch.Generator().manual_seed(seed)
    num_labels = case.emissions.shape[-1]
    tags = torch.randint(num_labels, (len(case.mask), 3, case.mask.shape[1]), generator=generator)
    hidden = tags.masked_fill(~case.mask[:, None], -100)
    got = path_scores(case.emissions, hidden, case.mask, case.transitions)
    assert_near(path_scores(case.emissions, hidden[:, 1], case.mask, case.transitions), got[:, 1])
    for row, length in enumerate(case.lengths):
        order = (tags[row, :, :length] * num_labels ** torch.arange(length - 1, -1, -1)).sum(dim=1)
        assert_near(got[row], all_scores(case, row)[order])


@some
@given(cases(), st.sampled_from([1, 2, 3, 7, 40, 1100]))
def test_the_k_best_paths_are_those_of_enumeration(case, num_paths):
    paths, scores, valid = k_best(*case.arguments, num_paths)
    assert paths.shape == (*case.mask.shape[:1], num_paths, case.mask.shape[1])
    assert_near(path_scores(case.emissions, paths, case.mask, case.transitions)[valid], scores[valid])
    for row, length in enumerate(case.lengths):
        expected = all_scores(case, row).sort(descending=True).values[:num_paths]
        assert valid[row].tolist() == [True] * len(expected) + [False] * (num_paths - len(expected))
        assert_near(scores[row, valid[row]], expected)
        assert len({tuple(path) for path in paths[row, valid[row]].tolist()}) == len(expected), "no path twice"
        assert (scores[row, ~valid[row]] == -torch.inf).all()
        assert (paths[row, ~valid[row]] == 0).all() and (paths[row, :, length:] == 0).all()
        alone = k_best(*case.sentence(row).arguments, num_paths)
        assert_near(alone.scores[0], scores[row])


@some
@given(cases())
def test_viterbi_finds_the_best_path(case):
    tags, scores = viterbi(*case.arguments)
    for row, length in enumerate(case.lengths):
        every = all_scores(case, row)
        assert_near(scores[row], every.max())
        assert_near(path_scores(case.emissions, tags, case.mask, case.transitions)[row], every.max())
        assert (tags[row, length:] == 0).all()


@some
@given(cases(), st.integers(0, 2**32))
def test_gradients_are_those_of_enumeration(case, seed):
    case = case.with_gradients()
    num_labels = case.emissions.shape[-1]
    generator = torch.Generator().manual_seed(seed)
    weights = [
        torch.randn(*shape, generator=generator).double() for shape in ((5,), (5, num_labels), (4, num_labels**2))
    ]
    log_z, log_marginals = forward_backward(*case.arguments)
    pairs = pair_marginals(*case.arguments).flatten(2)
    got = expected = 0
    for row, length in enumerate(case.lengths):
        mine = log_z[row], log_marginals[row, :length], pairs[row, : length - 1]
        true = all_scores(case, row).logsumexp(dim=0), label_table(case, row), pair_table(case, row).flatten(1)
        for weight, one, other in zip(weights, mine, true, strict=True):
            share = weight[row] if one.dim() == 0 else weight[: len(one)]
            got, expected = got + (share * one).sum(), expected + (share * other).sum()
    got = torch.autograd.grad(got, case.parameters, retain_graph=True)
    for one, other in zip(got, torch.autograd.grad(expected, case.parameters), strict=True):
        assert_near(one, other)


def test_gradients_of_float64_are_those_of_differences():
    case = random_case([4, 1, 3], 3, seed=0, own=True)
    emissions = case.emissions.nan_to_num().double().requires_grad_()
    parts = [part.double().requires_grad_() for part in case.transitions]

    def everything(emissions, *parts):
        chain = emissions, case.mask, Transitions(*parts)
        return *forward_backward(*chain), pair_marginals(*chain), log_partition(*chain), *expected_counts(*chain)

    assert torch.autograd.gradcheck(everything, (emissions, *parts))


def test_the_gradient_of_log_z_is_the_marginals_and_can_be_taken_twice():
    case = random_case([6, 1, 4], 5, seed=0).with_gradients()
    log_z = log_partition(*case.arguments).sum()
    grads = [torch.autograd.grad(log_z, case.parameters, retain_graph=True) for _ in range(2)]
    for first, second in zip(*grads, strict=True):
        assert torch.equal(first, second)
    expected = marginals(*case.arguments).exp().masked_fill(~case.mask[..., None], 0)
    torch.testing.assert_close(grads[0][0], expected)
    torch.testing.assert_close(grads[0][1], pair_marginals(*case.arguments).sum(dim=(0, 1)))


@some
@given(cases())
def test_expected_counts_add_up_to_the_expected_score(case):
    counts = expected_counts(*case.arguments)
    between, start, end = case.transitions
    words = case.emissions.nan_to_num() * counts.labels
    mean = words.sum(dim=(1, 2)) + (counts.pairs * between).sum(dim=(1, 2))
    mean = mean + (counts.first * start + counts.last * end).sum(dim=1)
    for row in range(len(case.mask)):
        scores = all_scores(case, row)
        torch.testing.assert_close(mean[row].double(), (scores.softmax(dim=0) * scores).sum(), rtol=1e-4, atol=3e-3)


def test_sentences_with_transitions_of_their_own_are_as_each_by_itself():
    case = random_case([7, 2, 5, 1], 6, seed=3, own=True)
    together = *forward_backward(*case.arguments), pair_marginals(*case.arguments), *k_best(*case.arguments, 4)
    for row, length in enumerate(case.lengths):
        chain = case.sentence(row).arguments
        alone = *forward_backward(*chain), pair_marginals(*chain), *k_best(*chain, 4)
        torch.testing.assert_close(together[0][row], alone[0][0])
        torch.testing.assert_close(together[1][row, :length], alone[1][0])
        torch.testing.assert_close(together[2][row, : length - 1], alone[2][0])
        assert torch.equal(together[3][row, :, :length], alone[3][0])


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("forbidden_share", [0.0, 0.5, 1.0])
def test_large_scores_and_forbidden_transitions_give_finite_values_and_gradients(own, forbidden_share):
    case = random_case([40, 1, 2, 17], 9, seed=0, scale=50.0, own=own)
    generator = torch.Generator().manual_seed(1)
    for part in case.transitions:
        part[torch.rand(part.shape, generator=generator) < forbidden_share] = FORBIDDEN
    tags = torch.randint(9, case.mask.shape, generator=generator)
    chain = case.with_gradients()
    with torch.autograd.detect_anomaly(check_nan=True):
        log_z, log_marginals = forward_backward(*chain.arguments)
        likelihood = path_scores(chain.emissions, tags, chain.mask, chain.transitions) - log_z
        values = likelihood, log_marginals, pair_marginals(*chain.arguments)
        sum(value.sum() for value in values).backward()
    assert all(value.isfinite().all() for value in values)
    assert all(part.grad.isfinite().all() for part in chain.parameters)
    assert (chain.emissions.grad[~case.mask] == 0).all()
    exact = forward_backward(
        case.emissions.double(), case.mask, Transitions(*(part.double() for part in case.transitions))
    )
    torch.testing.assert_close(log_z.double(), exact.log_partition, rtol=3e-6, atol=1e-3)
    rounding = log_z.abs().max().item() * 1e-6
    torch.testing.assert_close(
        log_marginals.exp().double(), exact.log_marginals.exp(), rtol=0, atol=max(1e-3, rounding)
    )
    assert viterbi(*case.arguments)[1].isfinite().all() and k_best(*case.arguments, 20).scores[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_are_float32_whatever_comes_in_and_under_autocast(dtype):
    case = random_case([12, 3, 7], 9, seed=0, scale=5.0)
    narrow = case.emissions.to(dtype), case.mask, Transitions(*(part.to(dtype) for part in case.transitions))
    wide = narrow[0].float(), case.mask, narrow[2].softened(1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = *forward_backward(*narrow), pair_marginals(*narrow), *k_best(*narrow, 3)
    for one, other in zip(got, (*forward_backward(*wide), pair_marginals(*wide), *k_best(*wide, 3)), strict=True):
        assert torch.equal(one, other)
        assert one.dtype not in {torch.float16, torch.bfloat16}


def test_no_value_is_asked_of_the_device():
    # On the meta device there are shapes and no values: what would make the host wait for a GPU fails.
    case = random_case([5, 2], 3, seed=0, own=True)
    emissions, mask, *parts = (part.to("meta") for part in (case.emissions, case.mask, *case.transitions))
    chain = emissions.requires_grad_(), mask, Transitions(*parts)
    loss = sum(value.sum() for value in (*forward_backward(*chain), *expected_counts(*chain), pair_marginals(*chain)))
    paths = k_best(*chain, 4).paths
    (loss + path_scores(emissions, paths, mask, chain[2]).sum()).backward()
    assert emissions.grad.shape == emissions.shape


def test_wrong_input_is_refused():
    emissions, mask = torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.bool)
    fit = Transitions(torch.zeros(4, 4), torch.zeros(4), torch.zeros(4))
    with pytest.raises(ValueError, match=r"emissions: got \[2, 3\]"):
        log_partition(emissions[:, :, 0], mask, fit)
    with pytest.raises(ValueError, match=r"mask: got \[2, 3\] of torch.float32"):
        marginals(emissions, mask.float(), fit)
    with pytest.raises(ValueError, match=r"transitions.end: got \[5\]; it must be \[4\] or \[2, 4\]"):
        pair_marginals(emissions, mask, fit._replace(end=torch.zeros(5)))
    with pytest.raises(ValueError, match=r"tags: got \[2, 4\]"):
        path_scores(emissions, torch.zeros(2, 4, dtype=torch.int64), mask, fit)
    with pytest.raises(ValueError, match="num_paths: got 0"):
        k_best(emissions, mask, fit, 0)


def test_one_label_leaves_nothing_to_choose():
    case = random_case([3, 1], 1, seed=0)
    assert marginals(*case.arguments).abs().max() == 0
    assert k_best(*case.arguments, 3).valid.tolist() == [[True, False, False]] * 2
    expected = [all_scores(case, row).item() for row in range(2)]
    assert log_partition(*case.arguments).tolist() == pytest.approx(expected, abs=1e-5)
    assert math.isclose(viterbi(*case.arguments)[1][1], expected[1], abs_tol=1e-5)
