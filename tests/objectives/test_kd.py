import math

import pytest
import torch
from torch import nn

from raykd.objectives import DIRECTIONS, forward_kl, reverse_kl, span_cross_entropy, symmetric_kl

torch.set_num_threads(1)

TEACHER_3_TO_1 = torch.tensor([[math.log(3.0), 0.0]])
STUDENT_1_TO_1 = torch.zeros(1, 2)
FORWARD = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)  # 0.1308 nats
REVERSE = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)  # 0.1438 nats

directions = pytest.mark.parametrize("direction", DIRECTIONS)


def random_logits(*shape: int, seed: int, scale: float = 3.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def test_forward_kl_of_known_rows():
    torch.testing.assert_close(forward_kl(STUDENT_1_TO_1, TEACHER_3_TO_1, temperature=1.0), torch.tensor([FORWARD]))


def test_reverse_kl_of_known_rows():
    torch.testing.assert_close(reverse_kl(STUDENT_1_TO_1, TEACHER_3_TO_1, temperature=1.0), torch.tensor([REVERSE]))


def test_symmetric_kl_is_the_sum_of_both_directions():
    known = symmetric_kl(STUDENT_1_TO_1, TEACHER_3_TO_1, temperature=1.0)
    torch.testing.assert_close(known, torch.tensor([FORWARD + REVERSE]))
    student, teacher = random_logits(7, 50, seed=0), random_logits(7, 50, seed=1)
    mask = random_logits(7, 50, seed=2) > 0
    both = (kl(student, teacher, temperature=2.0, mask=mask) for kl in (forward_kl, reverse_kl))
    torch.testing.assert_close(symmetric_kl(student, teacher, temperature=2.0, mask=mask), sum(both))


@directions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_row_has_no_divergence_from_itself(direction, dtype):
    logits = random_logits(8, 384, seed=0).to(dtype)
    divergence = DIRECTIONS[direction](logits, logits, temperature=2.0)
    assert divergence.dtype == torch.float32
    assert divergence.abs().max() <= 1e-6


@directions
def test_divergences_of_random_rows_are_above_zero(direction):
    student, teacher = random_logits(64, 30, seed=0), random_logits(64, 30, seed=1)
    assert (DIRECTIONS[direction](student, teacher, temperature=4.0) > 0).all()


@directions
def test_the_divergence_carries_t_squared(direction):
    student, teacher = random_logits(5, 40, seed=0), random_logits(5, 40, seed=1)
    at_one = DIRECTIONS[direction](student / 4, teacher / 4, temperature=1.0)
    torch.testing.assert_close(DIRECTIONS[direction](student, teacher, temperature=4.0), 16 * at_one)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 16.0])
def test_the_released_losses_are_the_means_of_the_rows(temperature):
    batch, length = 6, 384
    student = [random_logits(batch, length, seed=seed) for seed in (0, 1)]
    teacher = [random_logits(batch, length, seed=seed) for seed in (2, 3)]
    gold = [torch.randint(length, (batch,), generator=torch.Generator().manual_seed(seed)) for seed in (4, 5)]
    kl_div = nn.KLDivLoss(reduction="batchmean")

    def divergence(target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        softened = torch.log_softmax(source / temperature, dim=-1), torch.softmax(target / temperature, dim=-1)
        return kl_div(*softened) * temperature**2

    boundaries = list(zip(student, teacher, strict=True))
    expected = {
        "forward_kl": sum(divergence(t, s) for s, t in boundaries) / 2,
        "reverse_kl": sum(divergence(s, t) for s, t in boundaries) / 2,
    }
    expected["symmetric_kl"] = expected["forward_kl"] + expected["reverse_kl"]
    for direction, kl in DIRECTIONS.items():
        got = sum(kl(s, t, temperature=temperature).mean() for s, t in boundaries) / 2
        torch.testing.assert_close(got, expected[direction], rtol=1e-6, atol=1e-6)

    cross_entropy = nn.CrossEntropyLoss()
    expected_label = (cross_entropy(student[0], gold[0]) + cross_entropy(student[1], gold[1])) / 2
    got_label = span_cross_entropy(*student, start=gold[0], end=gold[1]).mean()
    torch.testing.assert_close(got_label, expected_label, rtol=1e-6, atol=1e-6)


def test_the_gradient_of_forward_kl_is_t_times_the_gap_of_the_probabilities():
    # d KL(p||q) / d logit = (q - p) / T, times T**2.
    student, teacher = random_logits(3, 9, seed=0).requires_grad_(), random_logits(3, 9, seed=1)
    forward_kl(student, teacher, temperature=2.0).sum().backward()
    gap = torch.softmax(student.detach() / 2, dim=-1) - torch.softmax(teacher / 2, dim=-1)
    torch.testing.assert_close(student.grad, 2 * gap)


@directions
def test_gradients_agree_with_autograd_of_the_definition(direction):
    student, teacher = random_logits(3, 9, seed=0).requires_grad_(), random_logits(3, 9, seed=1)
    q, p = torch.softmax(student / 2, dim=-1), torch.softmax(teacher / 2, dim=-1)
    forward, reverse = (p * (p / q).log()).sum() * 4, (q * (q / p).log()).sum() * 4
    by_name = {"forward_kl": forward, "reverse_kl": reverse, "symmetric_kl": forward + reverse}
    (expected,) = torch.autograd.grad(by_name[direction], student)
    (got,) = torch.autograd.grad(DIRECTIONS[direction](student, teacher, temperature=2.0).sum(), student)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@directions
def test_no_gradient_flows_into_the_teacher(direction):
    student, teacher = random_logits(2, 5, seed=0).requires_grad_(), random_logits(2, 5, seed=1).requires_grad_()
    DIRECTIONS[direction](student, teacher, temperature=2.0).sum().backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


@directions
def test_a_mask_is_the_same_as_leaving_the_positions_out(direction):
    student, teacher = random_logits(4, 12, seed=0), random_logits(4, 12, seed=1)
    kept = torch.tensor([1, 2, 5, 6, 11])
    mask = torch.zeros(4, 12, dtype=torch.bool)
    mask[:, kept] = True
    masked, cut = student.clone().requires_grad_(), student[:, kept].clone().requires_grad_()
    got = DIRECTIONS[direction](masked, teacher, temperature=2.0, mask=mask)
    expected = DIRECTIONS[direction](cut, teacher[:, kept], temperature=2.0)
    torch.testing.assert_close(got, expected)
    got.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(masked.grad[:, kept], cut.grad)
    assert (masked.grad[~mask] == 0).all()


@directions
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize(
    ("dtype", "size"), [(torch.float16, 6e4), (torch.bfloat16, 1e5), (torch.bfloat16, 3e38), (torch.float32, 1e20)]
)
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_huge_logits_under_a_mask_give_finite_values_and_gradients(direction, dtype, size, temperature):
    signs = random_logits(2, 16, 64, seed=0).sign()
    student, teacher = (signs * size * (0.9 if temperature >= 1 else 0.4)).to(dtype)
    mask = random_logits(16, 64, seed=1) > 0
    mask[0] = False
    student.requires_grad_()
    with torch.autograd.detect_anomaly(check_nan=True):
        divergence = DIRECTIONS[direction](student, teacher, temperature=temperature, mask=mask)
        divergence.sum().backward()
    assert not divergence.isnan().any()
    assert student.grad.isfinite().all()
    assert (student.grad[~mask] == 0).all()


@directions
def test_a_row_without_positions_is_worth_nothing(direction):
    student = random_logits(2, 6, seed=0).requires_grad_()
    mask = torch.tensor([[False] * 6, [True] * 6])
    divergence = DIRECTIONS[direction](student, random_logits(2, 6, seed=1), temperature=2.0, mask=mask)
    assert divergence[0] == 0
    divergence.sum().backward()
    assert (student.grad[0] == 0).all()


@directions
def test_logits_that_a_model_hides_with_minus_infinity_do_no_harm(direction):
    student, teacher = random_logits(1, 6, seed=0), random_logits(1, 6, seed=1)
    expected = DIRECTIONS[direction](student[:, :4], teacher[:, :4], temperature=2.0)
    student[:, 4:] = teacher[:, 4:] = -torch.inf
    student.requires_grad_()
    divergence = DIRECTIONS[direction](student, teacher, temperature=2.0)
    divergence.sum().backward()
    torch.testing.assert_close(divergence, expected)
    assert student.grad.isfinite().all()


@directions
def test_wrong_input_is_refused(direction):
    kl, logits = DIRECTIONS[direction], torch.zeros(2, 3)
    with pytest.raises(ValueError, match="same"):
        kl(logits, torch.zeros(2, 4), temperature=1.0)
    with pytest.raises(ValueError, match="temperature: got 0"):
        kl(logits, logits, temperature=0)
    with pytest.raises(ValueError, match="bool"):
        kl(logits, logits, temperature=1.0, mask=torch.ones(2, 3))


def test_cross_entropy_of_known_rows():
    start_logits, end_logits = TEACHER_3_TO_1, torch.zeros(1, 2)  # -ln 0.75 and -ln 0.5
    loss = span_cross_entropy(start_logits, end_logits, start=torch.tensor([0]), end=torch.tensor([1]))
    torch.testing.assert_close(loss, torch.tensor([(-math.log(0.75) - math.log(0.5)) / 2]))


def test_a_boundary_without_an_answer_costs_nothing_and_sends_no_gradient():
    start_logits, end_logits = (random_logits(2, 5, seed=seed).requires_grad_() for seed in (0, 1))
    loss = span_cross_entropy(start_logits, end_logits, start=torch.tensor([-1, 2]), end=torch.tensor([-100, 3]))
    loss.sum().backward()
    assert loss[0] == 0 and loss[1] > 0
    assert (start_logits.grad[0] == 0).all() and (end_logits.grad[0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_cross_entropy_under_a_mask_is_that_of_the_positions_left(dtype):
    logits = [random_logits(3, 8, seed=seed, scale=1e4).to(dtype).requires_grad_() for seed in (0, 1)]
    mask = torch.zeros(3, 8, dtype=torch.bool)
    mask[:2, 3:6] = True
    gold = {"start": torch.tensor([3, 0, 4]), "end": torch.tensor([5, 4, 4])}
    loss = span_cross_entropy(*logits, **gold, mask=mask)
    loss.sum().backward()
    cut = [part[:2, 3:6] for part in logits]
    expected = span_cross_entropy(*cut, start=torch.tensor([0, -1]), end=torch.tensor([2, 1]))
    torch.testing.assert_close(loss, torch.cat((expected, torch.zeros(1))))
    assert loss.dtype == torch.float32
    for part in logits:
        assert part.grad.isfinite().all()
        assert (part.grad[~mask] == 0).all()
