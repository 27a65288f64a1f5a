import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from support.enumerated_crf import (
    Case,
    all_scores,
    cases,
    exact,
    label_table,
    labellings,
    pair_table,
    random_case,
    random_tags,
    zero_transitions,
)
from torch import Tensor

from raykd.objectives import forward_kl
from raykd.objectives.crf import BestPaths, k_best, marginals
from raykd.objectives.structure import (
    negative_log_likelihood,
    posterior_kd,
    token_cross_entropy,
    token_kd,
    top_k_kd,
    top_wk_kd,
)

torch.set_num_threads(1)

some = settings(max_examples=50, deadline=None)
temperatures = st.sampled_from([0.5, 1.0, 4.0])


@st.composite
def student_and_teacher(draw: st.DrawFn) -> tuple[Case, Case]:
    student = draw(cases())
    own, seed, scale = draw(st.booleans()), draw(st.integers(0, 2**32)), draw(st.sampled_from([0.3, 3.0]))
    return student, random_case(student.lengths, student.emissions.shape[-1], seed=seed, scale=scale, own=own)


pairs_of_cases = student_and_teacher()


def assert_near(got: Tensor, expected: Tensor) -> None:
    """Of terms that are differences of scores up to some hundreds, in float32, times T**2 of at most 16."""
    torch.testing.assert_close(got.double(), expected.double(), rtol=2e-5, atol=2e-3)


def by_row(case: Case, of_row) -> Tensor:
    return torch.stack([of_row(row) for row in range(len(case.mask))])


def kl(teacher: Tensor, student: Tensor) -> Tensor:
    """Of log-probabilities, summed over everything."""
    return (teacher.exp() * (teacher - student)).sum()


@some
@given(cases(), st.integers(0, 2**32))
def test_the_likelihood_of_the_labels_is_that_of_enumeration(case, seed):
    tags = random_tags(case, seed)

    def expected(row: int) -> Tensor:
        length = case.lengths[row]
        place = (labellings(length, case.emissions.shape[-1]) == tags[row, :length]).all(dim=1)
        return -all_scores(case, row).log_softmax(dim=0)[place].sum()

    assert_near(negative_log_likelihood(case.emissions, tags, case.mask, case.transitions), by_row(case, expected))


def test_cross_entropy_is_summed_over_the_words_of_a_sentence():
    case = random_case([4, 1, 3], 5, seed=0)
    tags = random_tags(case)
    emissions = case.emissions.clone().requires_grad_()
    loss = token_cross_entropy(emissions, tags, case.mask)
    for row, length in enumerate(case.lengths):
        expected = F.cross_entropy(case.emissions[row, :length], tags[row, :length], reduction="sum")
        torch.testing.assert_close(loss[row], expected)
    loss.sum().backward()
    assert (emissions.grad[~case.mask] == 0).all()
    softmax = negative_log_likelihood(case.emissions, tags, case.mask, zero_transitions(5))
    torch.testing.assert_close(loss, softmax)


@some
@given(pairs_of_cases, temperatures)
def test_token_distillation_is_the_divergence_of_each_word_summed(both, temperature):
    student, teacher = both

    def expected(row: int) -> Tensor:
        words = slice(student.lengths[row])
        return forward_kl(student.emissions[row, words], teacher.emissions[row, words], temperature=temperature).sum()

    got = token_kd(student.emissions, teacher.emissions, student.mask, temperature=temperature)
    torch.testing.assert_close(got, by_row(student, expected))


@some
@given(pairs_of_cases, temperatures)
def test_posterior_distillation_is_that_of_enumeration(both, temperature):
    student, teacher = both
    tables = marginals(*student.arguments), marginals(*teacher.arguments)

    def expected(row: int) -> Tensor:
        softened = [(label_table(case, row) / temperature).log_softmax(dim=1) for case in (teacher, student)]
        return kl(*softened) * temperature**2

    assert_near(posterior_kd(*tables, student.mask, temperature=temperature), by_row(student, expected))


def test_without_transitions_posterior_distillation_is_token_distillation():
    student, teacher = random_case([6, 2, 1], 5, seed=0), random_case([6, 2, 1], 5, seed=1)
    softmax = zero_transitions(5)
    logits = [case.emissions.clone().requires_grad_() for case in (student, student)]
    tables = (marginals(part, student.mask, softmax) for part in (logits[0], teacher.emissions))
    losses = (
        posterior_kd(*tables, student.mask, temperature=2.0),
        token_kd(logits[1], teacher.emissions, student.mask, temperature=2.0),
    )
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.sum().backward()
    torch.testing.assert_close(logits[0].grad, logits[1].grad)


@some
@given(pairs_of_cases, st.sampled_from([1, 3, 10]), temperatures)
def test_top_k_distillation_is_that_of_enumeration(both, num_paths, temperature):
    student, teacher = both
    best = k_best(*teacher.arguments, num_paths)

    def expected(row: int, *, weighted: bool) -> Tensor:
        scores, order = all_scores(teacher, row).sort(descending=True)
        surprisal = -all_scores(student, row).log_softmax(dim=0)[order[:num_paths]]
        weights = (scores[:num_paths] / temperature).softmax(dim=0)
        return (weights * surprisal).sum() if weighted else surprisal.mean()

    arguments = student.emissions, best, student.mask, student.transitions
    assert_near(top_k_kd(*arguments), by_row(student, lambda row: expected(row, weighted=False)))
    weighted = top_wk_kd(*arguments, temperature=temperature)
    assert_near(weighted, by_row(student, lambda row: expected(row, weighted=True)))


@some
@given(pairs_of_cases, temperatures)
def test_exact_distillation_with_a_global_temperature_is_the_divergence_over_all_labellings(both, temperature):
    student, teacher = both

    def expected(row: int) -> Tensor:
        softened = [(all_scores(case, row) / temperature).log_softmax(dim=0) for case in (teacher, student)]
        return kl(*softened) * temperature**2

    got = exact(student, teacher, temperature=temperature, softening="global")
    assert_near(got, by_row(student, expected))
    assert (got > -2e-3).all()


@some
@given(pairs_of_cases, temperatures)
def test_exact_distillation_with_a_local_temperature_is_that_of_the_released_formula(both, temperature):
    student, teacher = both

    def term(row: int, case: Case) -> Tensor:
        """T**2 (log Z - sum of softened marginals times scores / T), for the scores of one of the two."""
        length = case.lengths[row]
        between, start, end = (part.double() for part in case.own_transitions(row))
        emissions = case.emissions[row, :length].double()
        pairs = (pair_table(teacher, row).clamp(min=1e-300).log() / temperature).flatten(1).softmax(dim=1)
        ends = [(label_table(teacher, row)[place] / temperature).softmax(dim=0) for place in (0, -1)]
        total = (ends[0] * (start + emissions[0])).sum() + (ends[1] * end).sum()
        for place, pair in enumerate(pairs.view(-1, *between.shape)):
            total = total + (pair * (between + emissions[place + 1])).sum()
        return temperature**2 * ((all_scores(case, row) / temperature).logsumexp(dim=0) - total / temperature)

    got = exact(student, teacher, temperature=temperature, softening="local")
    assert_near(got, by_row(student, lambda row: term(row, student) - term(row, teacher)))


@some
@given(pairs_of_cases)
def test_top_wk_over_all_paths_is_the_exact_cross_entropy(both):
    student, teacher = both
    num_labels, longest = student.emissions.shape[-1], max(student.lengths)
    best = k_best(*teacher.arguments, num_labels**longest)
    cross_entropy = top_wk_kd(student.emissions, best, student.mask, student.transitions)
    entropy = top_wk_kd(teacher.emissions, best, teacher.mask, teacher.transitions)
    for softening in ("local", "global"):
        assert_near(exact(student, teacher, temperature=1.0, softening=softening) + entropy, cross_entropy)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_student_that_equals_its_teacher_is_at_zero(temperature):
    case = random_case([30, 1, 12], 9, seed=0, scale=3.0)
    student = case.with_gradients()
    table = marginals(*student.arguments)
    divergences = {
        "token": token_kd(student.emissions, case.emissions, case.mask, temperature=temperature),
        "posterior": posterior_kd(table, table.detach(), case.mask, temperature=temperature),
        "local": exact(student, case, temperature=temperature, softening="local"),
        "global": exact(student, case, temperature=temperature, softening="global"),
    }
    for name, divergence in divergences.items():
        torch.testing.assert_close(divergence, torch.zeros(3), rtol=0, atol=1e-4)
        if name != "local" or temperature == 1:
            grads = torch.autograd.grad(divergence.sum(), student.parameters, allow_unused=True, retain_graph=True)
            assert all(grad is None or grad.abs().max() < 1e-3 for grad in grads)


def test_t_squared_is_inside():
    student, teacher = random_case([5, 2], 4, seed=0), random_case([5, 2], 4, seed=1)
    tables = marginals(*student.arguments), marginals(*teacher.arguments)
    quarters = [Case(case.emissions / 4, case.mask, case.transitions.softened(4)) for case in (student, teacher)]
    pairs = (
        (
            token_kd(student.emissions, teacher.emissions, student.mask, temperature=4.0),
            token_kd(student.emissions / 4, teacher.emissions / 4, student.mask, temperature=1.0),
        ),
        (
            posterior_kd(*tables, student.mask, temperature=4.0),
            posterior_kd(*(table / 4 for table in tables), student.mask, temperature=1.0),
        ),
        (exact(student, teacher, temperature=4.0, softening="global"), exact(*quarters, temperature=1.0)),
    )
    for at_four, at_one in pairs:
        torch.testing.assert_close(at_four, 16 * at_one, rtol=1e-4, atol=1e-4)


def test_averaging_over_teachers_is_putting_their_paths_side_by_side():
    student = random_case([5, 3], 4, seed=0)
    bests = [k_best(*random_case([5, 3], 4, seed=seed).arguments, 3) for seed in (1, 2)]
    chain = student.mask, student.transitions
    mean = sum(top_k_kd(student.emissions, best, *chain) for best in bests) / 2
    side_by_side = BestPaths(*(torch.cat(parts, dim=1) for parts in zip(*bests, strict=True)))
    torch.testing.assert_close(mean, top_k_kd(student.emissions, side_by_side, *chain))


def test_the_weights_of_the_worked_example():
    # Two words, labels 0 and 1, the best paths worth 0 and -ln 3: weights 3/4 and 1/4, at T = 2 1.73 to 1.
    best = BestPaths(
        torch.tensor([[[0, 0], [1, 1], [0, 0]]]),
        torch.tensor([[0.0, -math.log(3.0), -torch.inf]]),
        torch.tensor([[True, True, False]]),
    )
    emissions, mask = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.ones(1, 2, dtype=torch.bool)
    arguments = emissions, best, mask, zero_transitions(2)
    log_z = math.log(math.e + 1) + math.log(2)
    assert top_k_kd(*arguments).item() == pytest.approx(log_z - 0.5, abs=1e-5)
    assert top_wk_kd(*arguments).item() == pytest.approx(log_z - 0.75, abs=1e-5)
    assert top_wk_kd(*arguments, temperature=2.0).item() == pytest.approx(log_z - 3**0.5 / (3**0.5 + 1), abs=1e-5)


def test_wrong_input_is_refused():
    logits, mask, tags = torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 3, dtype=torch.int64)
    case = Case(logits, mask, zero_transitions(4))
    with pytest.raises(ValueError, match="temperature: got 0"):
        token_kd(logits, logits, mask, temperature=0)
    with pytest.raises(ValueError, match="same"):
        token_kd(logits, logits[:, :2], mask, temperature=1.0)
    with pytest.raises(ValueError, match="mask: got"):
        posterior_kd(logits, logits, mask[:1], temperature=1.0)
    with pytest.raises(ValueError, match="tags: got"):
        token_cross_entropy(logits, tags[:, :2], mask)
    with pytest.raises(ValueError, match="softening: got 'both'; it must be 'local' or 'global'"):
        exact(case, case, temperature=1.0, softening="both")
    with pytest.raises(ValueError, match="temperature: got -1"):
        top_wk_kd(logits, k_best(*case.arguments, 2), mask, case.transitions, temperature=-1)
