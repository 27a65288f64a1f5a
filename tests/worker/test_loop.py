import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from raykd.config.base import Schedule
from raykd.config.training import Batching
from raykd.worker.loop import Terms, batches_for_inference, learning_rate_at, order_epoch, split_step, train_epoch

lengths_of_features = st.lists(st.integers(1, 60), min_size=1, max_size=150).map(np.array)
token_budgets = st.integers(32, 400)


def padded(part: np.ndarray, lengths: np.ndarray) -> int:
    return len(part) * int(lengths[part].max())


def respects(part: np.ndarray, lengths: np.ndarray, tokens: int) -> bool:
    """A feature that is longer than the budget goes alone."""
    return len(part) == 1 or padded(part, lengths) <= tokens


def same_steps(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return [step.tolist() for step in first] == [step.tolist() for step in second]


# The order of an epoch --------------------------------------------------------------------------------------------


@given(lengths=lengths_of_features, tokens=token_budgets, seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_an_epoch_holds_every_feature_once_within_the_token_budget(lengths, tokens, seed, epoch):
    steps = order_epoch(lengths, Batching(tokens_per_step=tokens), seed=seed, epoch=epoch)
    assert sorted(np.concatenate(steps).tolist()) == list(range(len(lengths)))
    assert all(respects(step, lengths, tokens) for step in steps)


@given(lengths=lengths_of_features, examples=st.integers(1, 20), seed=st.integers(0, 99))
def test_steps_of_a_fixed_number_of_examples_are_full_but_for_the_last(lengths, examples, seed):
    config = Batching(tokens_per_step=None, examples_per_step=examples)
    steps = order_epoch(lengths, config, seed=seed, epoch=0)
    assert sorted(np.concatenate(steps).tolist()) == list(range(len(lengths)))
    assert all(len(step) == examples for step in steps[:-1])
    assert 1 <= len(steps[-1]) <= examples


@given(lengths=lengths_of_features, tokens=token_budgets, seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_the_order_depends_on_nothing_but_seed_and_epoch(lengths, tokens, seed, epoch):
    config = Batching(tokens_per_step=tokens)
    first = order_epoch(lengths, config, seed=seed, epoch=epoch)
    np.random.seed(1)
    other = Batching(tokens_per_step=tokens, micro_batch_tokens=64, micro_batch_examples=2)
    assert same_steps(first, order_epoch(lengths.copy(), other, seed=seed, epoch=epoch))


@pytest.mark.parametrize("batching", [{"tokens_per_step": 200}, {"tokens_per_step": None, "examples_per_step": 8}])
def test_epochs_and_seeds_differ_in_their_order(batching):
    lengths = np.random.default_rng(0).integers(5, 40, size=200)
    draws = [(0, 0), (0, 1), (1, 0), (1, 1)]
    orders = [order_epoch(lengths, Batching(**batching), seed=seed, epoch=epoch) for seed, epoch in draws]
    assert not any(same_steps(orders[i], orders[j]) for i in range(4) for j in range(i))


def test_features_of_like_length_meet_so_that_little_is_padding():
    lengths = np.random.default_rng(0).integers(5, 100, size=2000)
    steps = order_epoch(lengths, Batching(tokens_per_step=1024), seed=0, epoch=0)
    assert lengths.sum() / sum(padded(step, lengths) for step in steps) > 0.9
    means = [lengths[step].mean() for step in steps]
    assert means != sorted(means)


# The micro-batches of a step --------------------------------------------------------------------------------------


@given(
    lengths=lengths_of_features,
    tokens=st.integers(32, 200),
    examples=st.none() | st.integers(1, 9),
    world_size=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_the_ranks_of_a_step_share_its_features_and_make_equally_many_calls(
    lengths, tokens, examples, world_size, seed
):
    step = np.random.default_rng(seed).permutation(len(lengths))
    config = Batching(micro_batch_tokens=tokens, micro_batch_examples=examples)
    ranks = [split_step(step, lengths, config, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert len({len(micros) for micros in ranks}) == 1
    busy = [micro.indices for micros in ranks for micro in micros if not micro.idle]
    assert sorted(np.concatenate(busy).tolist()) == sorted(step.tolist())
    assert all(respects(part, lengths, tokens) for part in busy)
    assert all(len(part) <= (examples or len(part)) for part in busy)
    assert all(len(micro.indices) == 1 for micros in ranks for micro in micros if micro.idle)
    # No rank idles a whole turn, and none at all where every rank can have a feature.
    assert all(any(not micros[turn].idle for micros in ranks) for turn in range(len(ranks[0])))
    if len(step) >= world_size:
        assert all(any(not micro.idle for micro in micros) for micros in ranks)


@given(count=st.integers(1, 40), examples=st.integers(1, 9), seed=st.integers(0, 9))
def test_features_of_one_width_keep_their_order(count, examples, seed):
    step = np.random.default_rng(seed).permutation(count)
    config = Batching(micro_batch_tokens=10_000, micro_batch_examples=examples)
    micros = split_step(step, np.full(count, 30), config, rank=0, world_size=1)
    assert np.concatenate([micro.indices for micro in micros]).tolist() == step.tolist()
    assert [len(micro.indices) for micro in micros[:-1]] == [examples] * (len(micros) - 1)


def test_micro_batches_of_a_known_step():
    lengths = np.array([10, 40, 20, 10, 30])
    config = Batching(micro_batch_tokens=60)
    # By length: 10 10 20 (60 tokens padded) | 30 (with 40: 80) | 40.
    (first, second), (third, idle) = (
        split_step(np.arange(5), lengths, config, rank=rank, world_size=2) for rank in (0, 1)
    )
    assert [micro.indices.tolist() for micro in (first, third, second)] == [[0, 3, 2], [4], [1]]
    assert idle.idle


def test_a_step_that_fits_one_micro_batch_is_shared_out_over_the_ranks():
    lengths = np.full(6, 10)
    micros = [
        split_step(np.arange(6), lengths, Batching(micro_batch_tokens=1000), rank=rank, world_size=3)
        for rank in range(3)
    ]
    assert [[micro.indices.tolist() for micro in rank] for rank in micros] == [[[0, 1]], [[2, 3]], [[4, 5]]]


def test_sharing_a_step_out_over_more_ranks_keeps_the_token_budget():
    # 10 features of 1 token and 2 of 100: two micro-batches of at most 200. Three equal shares would put
    # 1 1 100 100 together, which is 400 tokens padded.
    lengths = np.array([1] * 10 + [100] * 2)
    config = Batching(micro_batch_tokens=200)
    for rank in range(3):
        for micro in split_step(np.arange(12), lengths, config, rank=rank, world_size=3):
            assert respects(micro.indices, lengths, 200)


def test_a_step_of_one_feature_leaves_the_other_ranks_idle_with_a_feature_to_repeat():
    micros = [split_step(np.array([7]), np.full(8, 10), Batching(), rank=rank, world_size=3) for rank in range(3)]
    assert [(micro.indices.tolist(), micro.idle) for (micro,) in micros] == [([7], False), ([7], True), ([7], True)]


@given(lengths=lengths_of_features, tokens=st.integers(16, 300), world_size=st.integers(1, 4))
def test_inference_covers_every_feature_once_and_keeps_the_ranks_in_step(lengths, tokens, world_size):
    ranks = [
        list(batches_for_inference(lengths, tokens=tokens, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert len({len(batches) for batches in ranks}) == 1
    busy = [batch.indices for batches in ranks for batch in batches if not batch.idle]
    assert sorted(np.concatenate(busy).tolist()) == list(range(len(lengths)))
    assert all(respects(part, lengths, tokens) for part in busy)
    # Widest first: what does not fit into memory fails at once, and not at the end.
    assert lengths[ranks[0][0].indices].max() == lengths.max()


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


def run(engine: Torch, batching: Batching, *, epoch: int = 0, teacher=None, **options):
    steps = order_epoch(WIDTHS, batching, seed=1, epoch=epoch)
    defaults = {"first_step": 0, "total_steps": len(steps), "schedule_steps": (0, len(steps)), "seed": 3}
    defaults |= {"label_weight": 1.0, "kd_weight": 1.0}
    arguments = (
        {"features": Features(), "lengths": WIDTHS, "compute_terms": terms, "teacher": teacher} | defaults | options
    )
    return steps, train_epoch(engine, steps, batching=batching, **arguments)


def by_examples(examples: int = 7, **options) -> Batching:
    return Batching(tokens_per_step=None, examples_per_step=examples, learning_rate=0.1, **options)


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
    run(engine, by_examples(6), first_step=10, total_steps=50, schedule_steps=(8, 8))
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
    run(Torch(MODEL), by_examples(pad_to_max=True), features=wide, lengths=np.full(NUM_FEATURES, 48))
    assert (tight.widths, wide.widths) == ({None}, {48})


def test_a_model_in_evaluation_mode_is_put_back_into_training_mode():
    engine = Torch(MODEL)
    engine.model.eval()
    run(engine, by_examples())
    assert engine.model.training
