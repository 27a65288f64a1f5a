import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from raykd.config.base import Schedule
from raykd.config.training import Batching
from raykd.data.batching import order_epoch
from raykd.tasks.qa.config import QaTraining
from raykd.worker.loop import EpochData, Terms, Timeline, WeightedLoss, learning_rate_at, train_epoch

# The learning rate ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "warmup", "expected"),
    [
        ("linear", 0.0, [1.0, 0.75, 0.5, 0.25]),
        ("linear", 0.5, [0.5, 1.0, 1.0, 0.5]),  # 2 of 4 steps warm up
        ("constant", 0.0, [1.0, 1.0, 1.0, 1.0]),
        ("constant", 0.25, [1.0, 1.0, 1.0, 1.0]),
        ("cosine", 0.0, [1.0, 0.8535534, 0.5, 0.1464466]),  # (1 + cos(pi / 4)) / 2 = 0.8536
    ],
)
def test_learning_rates_of_four_steps(schedule, warmup, expected):
    config = Batching(learning_rate=1.0, lr_schedule=schedule, warmup=warmup)
    assert [learning_rate_at(config, step, 4) for step in range(4)] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_a_schedule_ends_at_zero(schedule):
    config = Batching(learning_rate=2.0, lr_schedule=schedule, warmup=0.1)
    assert learning_rate_at(config, 100, 100) == pytest.approx(0.0)
    assert 0 < learning_rate_at(config, 99, 100) < 0.1


@given(st.integers(1, 500), st.floats(0, 0.99), st.sampled_from(["linear", "cosine", "constant"]))
def test_a_learning_rate_is_never_above_its_peak_nor_below_zero(total, warmup, schedule):
    config = Batching(learning_rate=1.0, lr_schedule=schedule, warmup=warmup)
    rates = [learning_rate_at(config, step, total) for step in range(total)]
    assert all(0 < rate <= 1 for rate in rates)
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


# Training ---------------------------------------------------------------------------------------------------------

NUM_FEATURES = 23
WIDTHS = np.random.default_rng(5).integers(3, 12, size=NUM_FEATURES)


class Torch:
    """An engine of plain torch: gradients accumulate until the step, as with DeepSpeed. SGD, no clipping."""

    def __init__(self, model: nn.Module, *, rank: int = 0, world_size: int = 1, frozen: bool = False) -> None:
        self.model, self.rank, self.world_size, self.frozen = copy.deepcopy(model), rank, world_size, frozen
        self.device = torch.device("cpu")
        self.gradients: list[torch.Tensor] = []
        self.learning_rates: list[float] = []

    def __call__(self, **inputs):
        return self.model(inputs["inputs"])

    def train(self) -> None:
        self.model.train()

    def backward(self, loss: torch.Tensor) -> None:
        loss.backward()

    def step(self, learning_rate: float) -> None:
        self.learning_rates.append(learning_rate)
        self.gradients.append(torch.cat([p.grad.flatten().clone() for p in self.model.parameters()]))
        with torch.no_grad():
            for parameter in self.model.parameters():
                if not self.frozen:
                    parameter.add_(parameter.grad, alpha=-learning_rate)
                parameter.grad = None


class Halves:
    """A teacher whose signal of a feature is half of its label."""

    def __init__(self) -> None:
        self.steps: list[list[int]] = []

    def for_step(self, step, micros):
        self.steps.append(step.tolist())
        return [LABELS[micro.indices] / 2 for micro in micros]


torch.manual_seed(0)
INPUTS, LABELS = torch.randn(NUM_FEATURES, 4), torch.randn(NUM_FEATURES)
MODEL = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))


class Features:
    """Features whose inputs do not depend on padding; notes the width that was asked for."""

    def __init__(self) -> None:
        self.widths: set[int | None] = set()

    def collate(self, indices: np.ndarray, *, pad_to: int | None = None) -> dict[str, torch.Tensor]:
        self.widths.add(pad_to)
        return {"inputs": INPUTS[indices], "labels": LABELS[indices]}


def terms(engine, batch, signal) -> Terms:
    predicted = engine(inputs=batch["inputs"]).squeeze(-1)
    kd = None if signal is None else (predicted - signal) ** 2
    return Terms((predicted - batch["labels"]) ** 2, kd)


def full_batch(model: nn.Module, step: np.ndarray, label_weight: float, kd_weight: float) -> torch.Tensor:
    """[3] total, label and KD term, each the mean over a step."""
    predicted = model(INPUTS[step]).squeeze(-1)
    label, kd = ((predicted - LABELS[step]) ** 2).mean(), ((predicted - LABELS[step] / 2) ** 2).mean()
    return torch.stack([label_weight * label + kd_weight * kd, label, kd])


def gradient(loss: torch.Tensor, model: nn.Module) -> torch.Tensor:
    return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(model.parameters()))])


def run(engine: Torch, batching: Batching, *, epoch: int = 0, **options):
    """An epoch with the given parts of what is trained, the loss and the timeline, and arguments of `train_epoch`."""
    steps = order_epoch(WIDTHS, batching, seed=1, epoch=epoch)

    def taken(defaults: dict) -> dict:
        return {name: options.pop(name, value) for name, value in defaults.items()}

    data = EpochData(steps, **taken({"features": Features(), "lengths": WIDTHS}))
    loss = WeightedLoss(terms, **taken({"teacher": None, "label_weight": 1.0, "kd_weight": 1.0}))
    span = {"first_step": 0, "total_steps": len(steps), "schedule_start": 0, "schedule_steps": len(steps)}
    timeline = Timeline(**taken(span))
    return steps, train_epoch(engine, data, loss=loss, batching=batching, timeline=timeline, **{"seed": 3} | options)


def by_examples(examples: int = 7, **options) -> Batching:
    return Batching(tokens_per_step=None, examples_per_step=examples, learning_rate=0.1, **options)


PADDED = QaTraining(tokens_per_step=None, examples_per_step=7, learning_rate=0.1, pad_to_max=True)


def test_losses_and_weights_are_those_of_a_plain_full_batch():
    batching, engine, plain = by_examples(micro_batch_examples=2), Torch(MODEL), copy.deepcopy(MODEL)
    steps, stats = run(engine, batching, teacher=Halves(), label_weight=0.5, kd_weight=2.0)
    for number, step in enumerate(steps):
        expected = full_batch(plain, step, 0.5, 2.0)
        assert stats.losses[number] == pytest.approx(expected.tolist(), rel=1e-5)
        update = gradient(expected[0], plain) * 0.1 * (1 - number / len(steps))
        torch.nn.utils.vector_to_parameters(
            torch.nn.utils.parameters_to_vector(plain.parameters()).detach() - update, plain.parameters()
        )
    for ours, theirs in zip(engine.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    "micro", [{"micro_batch_examples": 1}, {"micro_batch_examples": 3}, {"micro_batch_tokens": 32}]
)
def test_the_size_of_a_micro_batch_changes_nothing(micro):
    whole, parts = Torch(MODEL), Torch(MODEL)
    _, expected = run(whole, by_examples(), teacher=Halves())
    _, stats = run(parts, by_examples(**micro), teacher=Halves())
    np.testing.assert_allclose(stats.losses, expected.losses, rtol=1e-5)
    for ours, theirs in zip(parts.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_weights_follow_their_schedule_over_the_progress_of_the_lineage():
    # Steps 4 to 7 of 0 to 10: the label weight rises from 0 to 1, the KD weight falls from 2 to 0 until the middle.
    batching = by_examples(6)
    rising, falling = Schedule(start=0, end=1), Schedule(start=2, end=0, until=0.5)
    options = {"label_weight": rising, "kd_weight": falling, "first_step": 4, "total_steps": 11}
    _, stats = run(Torch(MODEL), batching, teacher=Halves(), **options)
    for (total, label, kd), (label_weight, kd_weight) in zip(
        stats.losses, [(0.4, 0.4), (0.5, 0.0), (0.6, 0.0), (0.7, 0.0)], strict=True
    ):
        assert total == pytest.approx(label_weight * label + kd_weight * kd, rel=1e-5)


def test_a_teacher_without_weight_is_not_asked():
    teacher = Halves()
    _, stats = run(Torch(MODEL), by_examples(), teacher=teacher, kd_weight=Schedule(start=1, end=0, until=0.5))
    assert len(stats.losses) == 4
    assert len(teacher.steps) == 2  # progress 0 and 1/3; at 2/3 and 1 the weight is 0
    assert [row[2] > 0 for row in stats.losses] == [True, True, False, False]


def test_the_last_step_of_the_lineage_has_progress_1():
    options = {"label_weight": Schedule(start=0, end=1), "kd_weight": 0.0}
    _, stats = run(Torch(MODEL), by_examples(), **options)
    assert stats.losses[0][0] == 0
    assert stats.losses[-1][0] == pytest.approx(stats.losses[-1][1])


def test_the_learning_rate_counts_from_the_first_step_of_its_schedule():
    engine = Torch(MODEL)
    run(engine, by_examples(6), first_step=10, total_steps=50, schedule_start=8, schedule_steps=8)
    # Steps 2 to 5 of 8: 0.1 x 6/8, 5/8, 4/8, 3/8.
    assert engine.learning_rates == pytest.approx([0.075, 0.0625, 0.05, 0.0375])


@pytest.fixture
def process_group():
    """A group of this process alone: what is reduced over it stays what it was. An engine may have made one before."""
    if torch.distributed.is_initialized():
        yield
        return
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("examples", [1, 7, 10])
def test_the_ranks_add_up_to_the_loss_and_the_gradient_of_one(process_group, world_size, examples):
    # 23 features: in a step of 1, and in the last step of 7 and of 10, some rank has nothing to do.
    batching = by_examples(examples, micro_batch_examples=2)
    one = Torch(MODEL, frozen=True)
    _, expected = run(one, batching, teacher=Halves(), kd_weight=0.5)
    ranks = [Torch(MODEL, rank=rank, world_size=world_size, frozen=True) for rank in range(world_size)]
    shares = [run(rank, batching, teacher=Halves(), kd_weight=0.5)[1] for rank in ranks]
    np.testing.assert_allclose(sum(np.array(share.losses) for share in shares), expected.losses, rtol=1e-5)
    for number, gradients in enumerate(zip(*(rank.gradients for rank in ranks), strict=True)):
        # An engine averages the gradients of its ranks.
        torch.testing.assert_close(torch.stack(gradients).mean(dim=0), one.gradients[number])
    assert {(share.num_examples, share.num_tokens) for share in shares} == {(NUM_FEATURES, int(WIDTHS.sum()))}


def test_dropout_depends_on_seed_and_step_alone():
    noisy = nn.Sequential(nn.Dropout(0.5), MODEL)

    def losses(*, seed: int, first_step: int = 0) -> list:
        torch.rand(5)  # what others draw in between has no say
        engine = Torch(noisy, frozen=True)
        return run(engine, by_examples(), first_step=first_step, total_steps=20, seed=seed)[1].losses

    assert losses(seed=1) == losses(seed=1)
    assert losses(seed=1) != losses(seed=2)
    assert losses(seed=1) != losses(seed=1, first_step=4)


def test_an_epoch_that_is_resumed_in_the_middle_of_the_lineage_repeats_the_killed_one():
    noisy = nn.Sequential(nn.Dropout(0.5), MODEL)
    through = Torch(noisy)
    for epoch in (0, 1):
        _, expected = run(through, by_examples(), epoch=epoch, first_step=4 * epoch, total_steps=8)
        if epoch == 0:
            saved = copy.deepcopy(through.model)
    resumed = Torch(saved)
    torch.manual_seed(99)
    _, stats = run(resumed, by_examples(), epoch=1, first_step=4, total_steps=8)
    assert stats.losses == expected.losses
    for ours, theirs in zip(resumed.model.parameters(), through.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_epoch_that_is_resumed_at_a_step_repeats_the_rest_and_reports_all_of_it():
    noisy = nn.Sequential(nn.Dropout(0.5), MODEL)
    through, saved = Torch(noisy), []

    def between(done) -> None:
        begun = done()
        if len(begun.losses) == 2:
            saved.append((copy.deepcopy(through.model), begun))

    _, expected = run(through, by_examples(), between=between)
    (model, begun) = saved[0]
    assert begun.losses == expected.losses[:2]
    resumed = Torch(model)
    torch.manual_seed(99)
    _, stats = run(resumed, by_examples(), begun=begun)
    assert stats.losses == expected.losses
    assert (stats.num_examples, stats.num_tokens) == (expected.num_examples, expected.num_tokens)
    assert stats.seconds > begun.seconds
    assert len(resumed.learning_rates) == 2
    for ours, theirs in zip(resumed.model.parameters(), through.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_boundaries_are_those_between_steps_of_the_epoch():
    found = []
    steps, _ = run(Torch(MODEL), by_examples(), between=lambda done: found.append(len(done().losses)))
    assert found == list(range(1, len(steps)))


def test_batches_are_padded_to_the_width_of_all_features_only_where_that_was_asked_for():
    tight, wide = Features(), Features()
    run(Torch(MODEL), by_examples(), features=tight)
    run(Torch(MODEL), PADDED, features=wide, lengths=np.full(NUM_FEATURES, 48))
    assert (tight.widths, wide.widths) == ({None}, {48})


def test_a_model_in_evaluation_mode_is_put_back_into_training_mode():
    engine = Torch(MODEL)
    engine.model.eval()
    run(engine, by_examples())
    assert engine.model.training
