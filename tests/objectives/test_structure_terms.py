"""What holds for every term of `raykd.objectives.structure`."""

import pytest
import torch
from support.enumerated_crf import Case, exact, random_case, random_tags
from torch import Tensor

from raykd.objectives.crf import Transitions, forward_backward, k_best, marginals
from raykd.objectives.structure import PATH_OBJECTIVES, negative_log_likelihood, posterior_kd, token_kd

torch.set_num_threads(1)


def losses_of(student: Case, teacher: Case) -> dict[str, Tensor]:
    """Every term, from what a teacher stores."""
    z, table = forward_backward(*student.arguments)
    best = k_best(*teacher.arguments, 4)
    arguments = student.emissions, best, student.mask, student.transitions
    return {
        "likelihood": negative_log_likelihood(
            student.emissions, random_tags(student), student.mask, student.transitions, log_z=z
        ),
        "token": token_kd(student.emissions, teacher.emissions, student.mask, temperature=2.0),
        "posterior": posterior_kd(table, marginals(*teacher.arguments), student.mask, temperature=2.0),
        "local": exact(student, teacher, temperature=2.0),
        "global": exact(student, teacher, temperature=2.0, softening="global"),
        **{name: objective(*arguments) for name, objective in PATH_OBJECTIVES.items()},
        **{f"{name}, shared": objective(*arguments, log_z=z) for name, objective in PATH_OBJECTIVES.items()},
    }


def test_no_gradient_flows_into_the_teacher():
    student, teacher = (random_case([5, 1, 3], 4, seed=seed).with_gradients() for seed in (0, 1))
    for name, loss in losses_of(student, teacher).items():
        grads = torch.autograd.grad(
            loss.sum(), (*student.parameters, *teacher.parameters), allow_unused=True, retain_graph=True
        )
        assert grads[0].abs().sum() > 0 and (grads[0][~student.mask] == 0).all(), name
        assert all(grad is None for grad in grads[4:]), name
        if name != "token":
            assert all(grad.abs().sum() > 0 for grad in grads[1:4]), name


def test_a_shared_log_partition_changes_nothing():
    student, teacher = (random_case([9, 1, 6], 4, seed=seed) for seed in (0, 1))
    losses = losses_of(student, teacher)
    for name in PATH_OBJECTIVES:
        torch.testing.assert_close(losses[name], losses[f"{name}, shared"])


def test_sentences_are_distilled_by_the_teacher_of_their_language():
    student = random_case([5, 2, 4], 4, seed=0)
    teachers = [random_case([5, 2, 4], 4, seed=seed) for seed in (1, 2)]
    of_sentence = [0, 1, 0]
    emissions = torch.stack([teachers[index].emissions[row] for row, index in enumerate(of_sentence)])
    parts = (
        torch.stack([part[index] for index in of_sentence])
        for part in map(torch.stack, zip(*(teacher.transitions for teacher in teachers), strict=True))
    )
    routed = losses_of(student, Case(emissions, student.mask, Transitions(*parts)))
    apart = [losses_of(student, teacher) for teacher in teachers]
    for name, loss in routed.items():
        expected = torch.stack([apart[index][name][row] for row, index in enumerate(of_sentence)])
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_terms_are_float32_whatever_comes_in_and_under_autocast(dtype):
    def narrow(seed: int) -> Case:
        case = random_case([12, 3, 7], 9, seed=seed, scale=3.0)
        return Case(case.emissions.to(dtype), case.mask, Transitions(*(part.to(dtype) for part in case.transitions)))

    def widened(case: Case) -> Case:
        return Case(case.emissions.float(), case.mask, case.transitions.softened(1.0))

    student, teacher = narrow(0), narrow(1)
    expected = losses_of(widened(student), widened(teacher))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = losses_of(student, teacher)
    for name, loss in got.items():
        assert loss.dtype == torch.float32
        assert torch.equal(loss, expected[name]), name


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_large_scores_and_forbidden_transitions_give_finite_losses_and_gradients():
    student, teacher = (random_case([40, 1, 2, 17], 9, seed=seed, scale=50.0) for seed in (0, 1))
    forbidden = torch.rand(9, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    for case in (student, teacher):
        case.transitions.between[forbidden] = -1e4
        case.transitions.start[:4] = case.transitions.end[5:] = -1e4
    student = student.with_gradients()
    with torch.autograd.detect_anomaly(check_nan=True):
        losses = losses_of(student, teacher)
        sum(loss.sum() for loss in losses.values()).backward()
    assert all(loss.isfinite().all() for loss in losses.values())
    assert all(part.grad.isfinite().all() for part in student.parameters)
