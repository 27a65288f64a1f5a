import json
import sys

import pytest
from torch import nn

from raykd.worker.engine import EngineOptions, _parameter_groups, hidden


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


def test_a_hidden_module_is_not_found_until_the_block_ends_and_one_that_is_there_stays(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with hidden("colorsys"), pytest.raises(ImportError):
        import colorsys
    import colorsys

    with hidden("colorsys"), hidden("json"):
        import colorsys as again

        assert again is colorsys
        assert sys.modules["json"] is json
