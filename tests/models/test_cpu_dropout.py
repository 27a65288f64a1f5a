import pytest
import torch
from torch import nn

from raykd.models.cpu_dropout import CPUDropout, keep_mask, use_cpu_dropout


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9])
def test_masks_drop_at_their_rate_and_repeat_with_the_seed(probability):
    torch.manual_seed(1)
    first, second = (keep_mask(torch.Size((300, 1001)), probability) for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(first, keep_mask(torch.Size((300, 1001)), probability))
    assert probability == 0 or not torch.equal(first, second)
    assert set(first.unique().tolist()) <= {0, 1}
    assert float((1 - first).float().mean()) == pytest.approx(probability, abs=4e-3)


def test_dropout_scales_what_it_keeps_and_is_nothing_in_eval():
    module, values = CPUDropout(0.25), torch.ones(64, 64, requires_grad=True)
    out = module(values)
    assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])
    out.sum().backward()
    assert torch.equal(values.grad, out.detach())
    assert module.eval()(values) is values


def test_only_plain_dropout_is_replaced():
    class Special(nn.Dropout):
        pass

    model = nn.ModuleList([nn.Dropout(0.3), Special(0.3), nn.Linear(2, 2)])
    use_cpu_dropout(model)
    assert [type(module) for module in model] == [CPUDropout, Special, nn.Linear]
    assert model[0].p == 0.3
