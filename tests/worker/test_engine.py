import json
import math
import sys

import pytest
import torch
from torch import nn

from raykd.worker.engine import (
    BETAS,
    Engine,
    EngineOptions,
    _parameter_groups,
    hidden,
    join_process_group,
    legacy_epsilon,
)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(8, 2, 8)
        self.LayerNorm = nn.LayerNorm(8)
        self.lstm = nn.LSTM(8, 4, bidirectional=True)
        self.emissions = nn.Linear(8, 3)
        self.frozen = nn.Linear(8, 3).requires_grad_(False)


def groups(**options) -> dict[str, tuple[float, float]]:
    """Parameter -> its weight decay and the factor of its learning rate."""
    defaults = {"zero_stage": 0, "offload": "none", "precision": "float32", "learning_rate": 1e-3, "weight_decay": 0.1}
    limits = {"adam_epsilon": 1e-8, "max_grad_norm": 1.0}
    model = Model()
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group["weight_decay"], group["factor"])
        for group in _parameter_groups(model, EngineOptions(**defaults, **limits, **options))
        for parameter in group["params"]
    }


def test_biases_and_norms_do_not_decay():
    found = groups()
    free = {name for name, (decay, _) in found.items() if not decay}
    assert {name for name in found if "bias" in name} <= free
    assert {name for name in free if "bias" not in name} == {"LayerNorm.weight"}
    assert found["lstm.weight_hh_l0_reverse"] == (0.1, 1.0)
    assert not {"frozen.weight", "frozen.bias"} & {*found}


def test_a_part_of_a_model_has_its_own_learning_rate():
    found = groups(rate_factors=(("lstm.", 20.0), ("emissions.", 3.0)))
    factors = {name.partition(".")[0]: factor for name, (_, factor) in found.items()}
    assert factors == {"encoder": 1.0, "LayerNorm": 1.0, "lstm": 20.0, "emissions": 3.0}
    assert found["lstm.bias_ih_l0"] == (0.0, 20.0)


def released_adamw(gradients: list[torch.Tensor], start: torch.Tensor, *, rate: float, epsilon: float) -> torch.Tensor:
    """The update of older transformers, with bias correction and no weight decay, one number after another."""
    found = start.double().tolist()
    for place in range(len(found)):
        first = second = 0.0
        for step, gradient in enumerate((float(each.double()[place]) for each in gradients), start=1):
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            size = rate * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            found[place] -= size * first / (math.sqrt(second) + epsilon)
    return torch.tensor(found, dtype=torch.float64)


def scaled_gradients(dtype: torch.dtype) -> list[torch.Tensor]:
    """24 steps; epsilon counts for some numbers, and is nothing for others."""
    torch.manual_seed(3)
    return [torch.randn(8, dtype=dtype) * 10.0 ** torch.arange(-9, -1, dtype=dtype) for _ in range(24)]


def test_the_epsilon_of_a_step_makes_adamw_that_of_older_transformers():
    gradients, start = scaled_gradients(torch.float64), torch.ones(8, dtype=torch.float64)
    moved = {}
    for name, legacy in (("legacy", True), ("today", False)):
        weights = nn.Parameter(start.clone())
        optimizer = torch.optim.AdamW([weights], lr=1e-2, betas=BETAS, eps=1e-8, weight_decay=0.0)
        for step, gradient in enumerate(gradients, start=1):
            weights.grad = gradient
            if legacy:
                optimizer.param_groups[0]["eps"] = legacy_epsilon(1e-8, step)
            optimizer.step()
        moved[name] = weights.detach() - start
    expected = released_adamw(gradients, start, rate=1e-2, epsilon=1e-8) - start
    torch.testing.assert_close(moved["legacy"], expected, rtol=1e-9, atol=0)
    assert (moved["today"] / expected - 1)[:2].abs().min() > 0.5


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_an_engine_takes_the_steps_of_older_transformers_also_after_a_checkpoint(tmp_path, stage):
    join_process_group(alone=True)
    gradients, start = scaled_gradients(torch.float32), torch.ones(8)

    class Weights(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(start.clone())

        def forward(self, gradient: torch.Tensor) -> torch.Tensor:
            return (self.weights * gradient).sum()

    def engine() -> Engine:
        defaults = {"zero_stage": stage, "offload": "none", "precision": "float32", "learning_rate": 1e-2}
        limits = {"weight_decay": 0.0, "adam_epsilon": 1e-8, "max_grad_norm": 0.0}
        return Engine(Weights(), EngineOptions(**defaults, **limits, optimizer="adamw_legacy"))

    def train(made: Engine, part: list[torch.Tensor]) -> torch.Tensor:
        made.train()
        for gradient in part:
            made.backward(made(gradient=gradient.to(made.device)))
            made.step(1e-2)
        return made.weights()["weights"].double() - start

    whole, first, second = engine(), engine(), engine()
    expected = released_adamw(gradients, start, rate=1e-2, epsilon=1e-8) - start
    moved = train(whole, gradients)
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-6)
    train(first, gradients[:10])
    first.save(tmp_path)
    second.load(tmp_path)
    assert train(second, gradients[10:]).equal(moved)
    for each in (whole, first, second):
        each.destroy()


def test_a_hidden_module_is_not_found_until_the_block_ends_and_one_that_is_there_stays(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with hidden("colorsys"), pytest.raises(ImportError):
        import colorsys
    import colorsys

    with hidden("colorsys"), hidden("json"):
        import colorsys as again

        assert again is colorsys
        assert sys.modules["json"] is json
