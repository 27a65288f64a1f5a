import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForQuestionAnswering
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from raykd.models.cpu import use_cpu_kernels
from raykd.models.cpu_attention import ATTENTION, attention
from raykd.models.cpu_dropout import keep_mask


def masks(batch, heads, length):
    lengths = torch.arange(length - batch + 1, length + 1)
    padding = (torch.arange(length) < lengths[:, None])[:, None, None].expand(batch, 1, length, length)
    bias = torch.randn(1, heads, length, length)
    return {"none": None, "padding": padding, "bias": bias}


@pytest.mark.parametrize("kind", ["none", "padding", "bias"])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
@pytest.mark.parametrize("probability", [0.0, 0.3])
def test_attention_and_its_gradients_equal_the_plain_formula_with_the_same_mask(kind, chunk, probability, monkeypatch):
    monkeypatch.setattr("raykd.models.cpu_attention._CHUNK_SCORES", chunk)
    torch.manual_seed(0)
    batch, heads, length, width = 3, 2, 7, 5
    mask = masks(batch, heads, length)[kind]
    inputs = [torch.randn(batch, heads, length, width, requires_grad=True) for _ in range(3)]
    upstream = torch.randn(batch, length, heads, width)

    torch.manual_seed(5)
    got, weights = attention(nn.Identity().train(), *inputs, mask, dropout=probability, is_causal=False)
    got_gradients = torch.autograd.grad(got, inputs, upstream)

    torch.manual_seed(5)
    keep = keep_mask(torch.Size((batch, heads, length, length)), probability)
    query, key, value = inputs
    scores = query @ key.transpose(-1, -2) / width**0.5
    if kind == "padding":
        scores = scores.masked_fill(~mask, -torch.inf)
    elif kind == "bias":
        scores = scores + mask
    plain = ((scores.softmax(-1) * keep / (1 - probability)) @ value).transpose(1, 2)
    assert weights is None
    torch.testing.assert_close(got, plain)
    for gradient, expected in zip(got_gradients, torch.autograd.grad(plain, inputs, upstream), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    inputs = [torch.randn(2, 2, 5, 3, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    mask = masks(2, 2, 5)["padding"]

    def attended(*inputs):
        torch.manual_seed(5)
        return attention(nn.Identity(), *inputs, mask, dropout=0.3, is_causal=False)[0]

    assert torch.autograd.gradcheck(attended, inputs)


def test_in_bf16_it_is_about_as_exact_as_torch_also_under_autocast():
    torch.manual_seed(0)
    batch, heads, length, width = 4, 2, 96, 32
    mask = masks(batch, heads, length)["padding"]
    inputs = [2 * torch.randn(batch, heads, length, width).bfloat16() for _ in range(3)]
    upstream = torch.randn(batch, length, heads, width).bfloat16()

    def both_passes(function, dtype):
        leaves = [each.to(dtype).requires_grad_() for each in inputs]
        out = function(nn.Identity(), *leaves, mask, is_causal=False)[0]
        return out.detach(), *torch.autograd.grad(out, leaves, upstream.to(dtype))

    exact = both_passes(sdpa_attention_forward, torch.float64)

    def errors(function):
        return [
            float((got.double() - expected).norm() / expected.norm())
            for got, expected in zip(both_passes(function, torch.bfloat16), exact, strict=True)
        ]

    fused = errors(sdpa_attention_forward)
    assert all(ours <= 2 * theirs < 0.02 for ours, theirs in zip(errors(attention), fused, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        assert all(ours <= 2 * theirs < 0.02 for ours, theirs in zip(errors(attention), fused, strict=True))


def test_what_it_cannot_do_is_left_to_torch():
    """Other shapes, a mask that learns, causal reading without a mask, and passes without gradients."""
    torch.manual_seed(0)
    query, key = torch.randn(2, 4, 5, 8, requires_grad=True), torch.randn(2, 4, 9, 8)
    bias = torch.randn(1, 4, 5, 5, requires_grad=True)
    calls = [
        ((query, key, key, None), {"is_causal": False}),
        ((query, query, query, bias), {"is_causal": False}),
        ((query, query, query, None), {"is_causal": True}),
        ((query.detach(),) * 3 + (None,), {"is_causal": False}),
    ]
    for arguments, options in calls:
        got = attention(nn.Identity(), *arguments, **options)[0]
        assert torch.equal(got, sdpa_attention_forward(nn.Identity(), *arguments, **options)[0])
    assert torch.autograd.grad(attention(nn.Identity(), *calls[1][0], is_causal=False)[0].sum(), bias)[0].any()


def bert(probability):
    torch.manual_seed(0)
    return BertForQuestionAnswering(
        BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            hidden_dropout_prob=probability,
            attention_probs_dropout_prob=probability,
        )
    )


def test_a_model_trains_with_it_and_answers_as_before():
    plain, fast = bert(0.1), bert(0.1)
    use_cpu_kernels(fast)
    assert fast.config._attn_implementation == ATTENTION
    assert plain.state_dict().keys() == fast.state_dict().keys()
    inputs = {"input_ids": torch.randint(50, (3, 9)), "attention_mask": torch.ones(3, 9, dtype=torch.int64)}
    inputs["attention_mask"][1, 5:] = 0
    plain.eval(), fast.eval()
    torch.testing.assert_close(fast(**inputs).start_logits, plain(**inputs).start_logits)
    fast.train()
    outputs = [fast(**inputs).start_logits for _ in range(2)]
    assert not torch.equal(*outputs)
    torch.manual_seed(3)
    once = fast(**inputs).start_logits
    torch.manual_seed(3)
    assert torch.equal(once, fast(**inputs).start_logits)
    with torch.autocast("cpu", torch.bfloat16):
        fast(**inputs).start_logits.sum().backward()
    assert all(torch.isfinite(each.grad).all() for each in fast.parameters() if each.grad is not None)


def test_many_draws_have_the_mean_of_no_dropout():
    """Only the last product is linear in the mask: the mean over draws of attention is attention without dropout."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 1, 6, 4) for _ in range(3))
    draws = torch.stack(
        [attention(nn.Identity(), query, key, value, None, dropout=0.2, is_causal=False)[0] for _ in range(4000)]
    )
    expected = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    torch.testing.assert_close(draws.mean(0), expected, atol=0.05, rtol=0)


def test_what_is_saved_names_an_attention_that_everybody_has(tmp_path):
    model = bert(0.1)
    use_cpu_kernels(model)
    model.save_pretrained(tmp_path)
    assert ATTENTION not in (tmp_path / "config.json").read_text()
    assert BertForQuestionAnswering.from_pretrained(tmp_path).config._attn_implementation == "sdpa"
