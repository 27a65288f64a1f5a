import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from raykd.models.cpu_linear import CPULinear, use_cpu_linear


def both(inputs: int, outputs: int, *, bias: bool = True) -> tuple[nn.Linear, CPULinear]:
    """torch's layer and ours around the same parameters."""
    plain = nn.Linear(inputs, outputs, bias=bias)
    holder = nn.Sequential(plain)
    use_cpu_linear(holder)
    assert type(holder[0]) is CPULinear
    return plain, holder[0]


@given(
    shape=st.lists(st.integers(1, 9), min_size=0, max_size=3),
    inputs=st.integers(16, 70),
    outputs=st.integers(16, 70),
    bias=st.booleans(),
    transposed=st.booleans(),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_products_and_gradients_are_those_of_torch(shape, inputs, outputs, bias, transposed, seed):
    torch.manual_seed(seed)
    plain, faster = both(inputs, outputs, bias=bias)
    values = torch.randn(*shape, inputs)
    upstream = torch.randn(*shape, outputs)
    if transposed and len(shape) > 1:
        values, upstream = values.transpose(0, 1).contiguous().transpose(0, 1), upstream.transpose(0, 1)
        upstream = upstream.contiguous().transpose(0, 1)
    values.requires_grad_()
    wanted = [values, *plain.parameters()]
    torch.testing.assert_close(faster(values), plain(values))
    got = torch.autograd.grad(faster(values), wanted, upstream)
    for gradient, expected in zip(got, torch.autograd.grad(plain(values), wanted, upstream), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("frozen", ["weight", "bias", "values"])
def test_nothing_is_computed_for_what_is_frozen(frozen):
    _, faster = both(32, 32)
    tensors = {"weight": faster.weight, "bias": faster.bias, "values": torch.randn(4, 32, requires_grad=True)}
    tensors[frozen].requires_grad_(False)
    faster(tensors["values"]).sum().backward()
    assert [name for name, tensor in tensors.items() if tensor.grad is None] == [frozen]


def test_other_precisions_are_computed_by_torch():
    plain, faster = both(32, 32)
    values = torch.randn(4, 32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(faster(values), plain(values))
        assert faster(values).dtype == torch.bfloat16
    assert torch.equal(faster.double()(values.double()), plain.double()(values.double()))
    assert both(32, 32)[1](torch.randn(0, 32)).shape == (0, 32)


def test_a_model_keeps_its_names_its_ties_and_its_mode():
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertForMaskedLM(BertConfig(vocab_size=60, hidden_size=32, **sizes)).eval()
    inputs = {"input_ids": torch.randint(60, (3, 9))}
    names, expected = list(model.state_dict()), model(**inputs).logits
    use_cpu_linear(model)
    assert list(model.state_dict()) == names
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert not any(module.training for module in model.modules())
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert {type(module) for module in layers} == {CPULinear}
    torch.testing.assert_close(model(**inputs).logits, expected)


def test_narrow_layers_and_special_ones_are_left_alone():
    class Special(nn.Linear):
        pass

    model = nn.ModuleList([nn.Linear(64, 2), Special(64, 64)])
    use_cpu_linear(model)
    assert [type(module) for module in model] == [nn.Linear, Special]
