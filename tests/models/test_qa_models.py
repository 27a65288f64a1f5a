import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    BertConfig,
    BertForQuestionAnswering,
    BertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    GPT2Config,
    GPT2ForQuestionAnswering,
    Qwen2Config,
    Qwen2ForQuestionAnswering,
    Qwen2Model,
)

from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.errors import DataError
from raykd.models.qa import SpanModel, load_qa_model, load_tokenizer, shrink, tiny_qa_model

INPUTS = {
    "input_ids": torch.tensor([[2, 5, 9, 31, 7, 3], [2, 8, 3, 0, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]),
}


def gemma(**options) -> Gemma3TextModel:
    layers = options.pop("num_hidden_layers", 3)
    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 16, "head_dim": 8, "sliding_window": 4}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": layers}
    kinds = ["sliding_attention", "full_attention"] * layers
    torch.manual_seed(0)
    config = Gemma3TextConfig(**sizes, **heads, layer_types=kinds[:layers], initializer_range=0.3, **options)
    return Gemma3TextModel(config).eval()


def bert(kind: type = BertForQuestionAnswering, **options) -> BertForQuestionAnswering:
    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    torch.manual_seed(0)
    defaults = {"num_hidden_layers": 4, "max_position_embeddings": 32, "initializer_range": 0.3}
    return kind(BertConfig(**sizes | defaults | options)).eval()


@torch.no_grad()
def logits(model: nn.Module) -> torch.Tensor:
    outputs = model.eval()(**INPUTS)
    return torch.stack([outputs.start_logits, outputs.end_logits])


def saved(model: nn.Module, folder) -> str:
    model.save_pretrained(folder, state_dict=model.state_dict())
    return str(folder)


# The span model ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backbone", [gemma, lambda: gemma(use_bidirectional_attention=True)])
def test_a_span_model_comes_back_bit_for_bit(tmp_path, backbone):
    torch.manual_seed(1)
    model = SpanModel(backbone())
    again = load_qa_model(saved(model, tmp_path))
    assert isinstance(again, SpanModel)
    assert torch.equal(logits(again), logits(model))
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in again.state_dict().items())
    assert json.loads((tmp_path / "span_head.json").read_text()) == {"head": "span", "outputs": ["start", "end"]}


def test_a_span_model_is_saved_from_the_state_it_is_given_and_not_from_its_own(tmp_path):
    # Under ZeRO-3 the parameters of the model itself are empty.
    model = SpanModel(gemma())
    gathered = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=gathered)
    again = load_qa_model(str(tmp_path)).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in gathered.items())


def test_the_backbone_of_a_span_model_is_a_plain_folder_of_transformers(tmp_path):
    model = SpanModel(gemma())
    plain = AutoModel.from_pretrained(saved(model, tmp_path)).eval()
    with torch.no_grad():
        hidden = plain(**INPUTS).last_hidden_state
        expected = model.backbone(**INPUTS).last_hidden_state
    assert torch.equal(hidden, expected)


def test_a_span_model_gives_the_embeddings_and_configuration_of_its_backbone():
    model = SpanModel(gemma())
    assert model.get_input_embeddings() is model.backbone.get_input_embeddings()
    assert model.config is model.backbone.config


def test_start_and_end_logits_are_the_two_rows_of_the_span_head():
    model = SpanModel(gemma())
    with torch.no_grad():
        hidden = model.backbone(**INPUTS).last_hidden_state
        outputs = model(**INPUTS)
    head = model.span_head
    torch.testing.assert_close(outputs.start_logits, hidden @ head.weight[0] + head.bias[0])
    torch.testing.assert_close(outputs.end_logits, hidden @ head.weight[1] + head.bias[1])


# Loading ----------------------------------------------------------------------------------------------------------


def test_a_model_with_a_qa_class_loads_as_that_class_bit_for_bit(tmp_path):
    model = bert()
    again = load_qa_model(saved(model, tmp_path))
    assert type(again) is BertForQuestionAnswering
    assert torch.equal(logits(again), logits(model))


def test_a_backbone_without_a_qa_head_gets_one_that_is_drawn_from_torchs_generator(tmp_path):
    folder = saved(bert(BertModel), tmp_path)
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(load_qa_model(folder))
    heads = [model.qa_outputs.weight for model in models]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_model_without_a_qa_class_gets_a_span_head(tmp_path):
    backbone = gemma()
    torch.manual_seed(1)
    loaded = load_qa_model(saved(backbone, tmp_path))
    assert isinstance(loaded, SpanModel)
    assert all(torch.equal(loaded.backbone.state_dict()[name], value) for name, value in backbone.state_dict().items())
    assert loaded.span_head.bias.tolist() == [0.0, 0.0]


def test_half_precision_weights_are_loaded_as_float32(tmp_path):
    folder = saved(gemma().to(torch.bfloat16), tmp_path)
    assert {tensor.dtype for tensor in load_qa_model(folder).parameters()} == {torch.float32}


def test_a_decoder_can_be_read_without_its_causal_mask_and_stays_so_once_saved(tmp_path):
    folder = saved(gemma(), tmp_path / "given")
    later = {**INPUTS, "input_ids": INPUTS["input_ids"].clone()}
    later["input_ids"][0, 3] = 11  # the fourth token changes: do the logits of the second one?

    @torch.no_grad()
    def looks_ahead(model: nn.Module) -> bool:
        before, after = (model.eval()(**inputs).start_logits[0, 1] for inputs in (INPUTS, later))
        return not torch.equal(before, after)

    assert not looks_ahead(load_qa_model(folder))
    bidirectional = load_qa_model(folder, bidirectional=True)
    assert looks_ahead(bidirectional)
    again = load_qa_model(saved(bidirectional, tmp_path / "ours"))
    assert looks_ahead(again)
    assert torch.equal(logits(again), logits(bidirectional))


def test_a_model_that_cannot_be_read_without_its_causal_mask_says_so(tmp_path):
    config = GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=32)
    folder = saved(GPT2ForQuestionAnswering(config), tmp_path)
    with pytest.raises(DataError, match=r"base\.bidirectional: gpt2 has no use_bidirectional_attention") as error:
        load_qa_model(folder, bidirectional=True)
    assert len(error.value.problems) == 1


@pytest.mark.parametrize("given", [0.1, 0], ids=["float", "integer zero"])
def test_dropout_reaches_every_dropout_module(tmp_path, given):
    folder = saved(bert(hidden_dropout_prob=given, attention_probs_dropout_prob=given), tmp_path)
    loaded = load_qa_model(folder, dropout=0.37)
    assert {module.p for module in loaded.modules() if isinstance(module, nn.Dropout)} == {0.37}
    loaded.train()
    assert not torch.equal(loaded(**INPUTS).start_logits, loaded(**INPUTS).start_logits)


def test_dropout_reaches_attention_that_has_no_module_of_its_own(tmp_path):
    folder = saved(gemma(), tmp_path)
    still = load_qa_model(folder, dropout=0.0).train()
    assert torch.equal(still(**INPUTS).start_logits, still(**INPUTS).start_logits)
    loaded = load_qa_model(folder, dropout=0.5).train()
    assert not torch.equal(loaded(**INPUTS).start_logits, loaded(**INPUTS).start_logits)


def test_dropout_of_0_leaves_nothing_to_chance(tmp_path):
    folder = saved(bert(), tmp_path)
    loaded = load_qa_model(folder, dropout=0.0).train()
    assert torch.equal(loaded(**INPUTS).start_logits, loaded(**INPUTS).start_logits)
    kept = load_qa_model(folder)
    assert {module.p for module in kept.modules() if isinstance(module, nn.Dropout)} == {0.1}


def test_a_model_that_is_not_there_is_one_line_that_says_what_to_do(tmp_path):
    missing = str(tmp_path / "gone")
    for load, kind in ((load_qa_model, "model"), (load_tokenizer, "tokenizer")):
        with pytest.raises(DataError, match=f"gone: {kind} cannot be loaded") as error:
            load(missing)
        (line,) = error.value.problems
        assert "\n" not in line
        assert "Give a folder with config.json, weights and tokenizer" in line


def test_a_folder_without_weights_or_with_torn_ones_is_one_line(tmp_path):
    folder = saved(bert(), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DataError, match="model cannot be loaded") as torn:
        load_qa_model(folder)
    weights.unlink()
    with pytest.raises(DataError, match="model cannot be loaded") as gone:
        load_qa_model(folder)
    assert [len(error.value.problems[0].splitlines()) for error in (torn, gone)] == [1, 1]


def test_weights_that_do_not_fit_the_configuration_are_one_line(tmp_path):
    folder = saved(bert(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 24}))
    with pytest.raises(DataError, match="model cannot be loaded"):
        load_qa_model(folder)


def test_a_folder_of_another_kind_of_model_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "no-such-architecture"}')
    with pytest.raises(DataError, match="model cannot be loaded") as error:
        load_qa_model(str(tmp_path))
    assert len(error.value.problems[0].splitlines()) == 1


def test_a_tokenizer_is_fast_and_has_character_offsets(tmp_path):
    build_tokenizer(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer.is_fast
    assert tokenizer("a b", add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"] == [(0, 1), (2, 3)]


# The tiny model ---------------------------------------------------------------------------------------------------


def test_the_tiny_model_depends_on_its_seed_and_leaves_torchs_generator_alone(tmp_path):
    build_tokenizer(tmp_path)
    tokenizer = load_tokenizer(str(tmp_path))
    before = torch.get_rng_state()
    models = [tiny_qa_model(tokenizer, seed=seed) for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    first, same, other = (logits(model) for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert models[0].config.vocab_size == len(tokenizer)


# Fewer layers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "kept"),
    [(1, [5]), (2, [0, 5]), (3, [0, 2, 5]), (4, [0, 2, 3, 5]), (6, [0, 1, 2, 3, 4, 5])],
)
def test_a_shrunk_model_keeps_evenly_spaced_layers_with_their_weights(layers, kept):
    model = bert(num_hidden_layers=6)
    small = shrink(model, layers)
    assert small.config.num_hidden_layers == len(small.bert.encoder.layer) == layers
    for ours, index in zip(small.bert.encoder.layer, kept, strict=True):
        theirs = model.bert.encoder.layer[index].state_dict()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.state_dict().items())
    assert torch.equal(small.qa_outputs.weight, model.qa_outputs.weight)
    assert logits(small).shape == (2, 2, 6)


def test_the_model_that_is_shrunk_stays_as_it_was():
    model = bert()
    before = logits(model)
    small = shrink(model, 2)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    assert torch.equal(logits(model), before)
    assert model.config.num_hidden_layers == 4


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_shrunk_span_model_takes_the_kinds_of_its_layers_along_and_comes_back(tmp_path, layers):
    model = SpanModel(gemma(num_hidden_layers=4))
    kinds = {1: ["full_attention"], 2: ["sliding_attention", "full_attention"], 3: ["sliding_attention"]}
    small = shrink(model, layers)
    expected = kinds[layers] if layers < 3 else ["sliding_attention", "sliding_attention", "full_attention"]
    assert small.config.layer_types == expected  # of 4 layers: 3; 0 and 3; 0, 2 and 3
    assert [layer.self_attn.layer_idx for layer in small.backbone.layers] == list(range(layers))
    again = load_qa_model(saved(small, tmp_path))
    assert torch.equal(logits(again), logits(small))


@pytest.mark.parametrize("layers", [0, 5])
def test_a_model_cannot_be_shrunk_to_no_layer_or_to_more_than_it_has(layers):
    with pytest.raises(DataError, match=rf"student\.num_layers: got {layers}; the base model has 4"):
        shrink(bert(), layers)


def test_all_layers_give_the_same_model():
    model = bert()
    assert torch.equal(logits(shrink(model, 4)), logits(model))


# GGUF -------------------------------------------------------------------------------------------------------------


def test_a_gguf_file_gives_the_weights_that_were_written(tmp_path):
    gguf = pytest.importorskip("gguf", reason="gguf is not installed")
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    model = Qwen2Model(Qwen2Config(**sizes, num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64))
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    writer = gguf.GGUFWriter(str(tmp_path / "tiny.gguf"), "qwen2")
    writer.add_name("tiny")
    writer.add_block_count(2)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(model.config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_token_list([f"<{number}>" for number in range(40)])
    for name, tensor in model.state_dict().items():
        if name.startswith("layers."):
            _, layer, rest = name.split(".", 2)
            module, _, kind = rest.rpartition(".")
            stored = f"blk.{layer}.{names[module]}.{kind}"
        else:
            stored = {"embed_tokens.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}[name]
        writer.add_tensor(stored, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    loaded = load_qa_model(str(tmp_path), gguf_file="tiny.gguf")
    assert type(loaded) is Qwen2ForQuestionAnswering
    ours = {name.partition(".")[2]: tensor for name, tensor in loaded.state_dict().items()}
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(ours[name], tensor)


# Trust ------------------------------------------------------------------------------------------------------------


def test_of_weights_in_a_pickle_the_tensors_are_read(tmp_path):
    model = bert()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    found = load_qa_model(str(tmp_path)).state_dict()
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in model.state_dict().items())


class Trap:
    """Runs code when a pickle that holds it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_pickle_that_holds_code_is_refused_and_does_not_run(tmp_path):
    model, sprung = bert(), tmp_path / "sprung"
    model.config.save_pretrained(tmp_path)
    torch.save({**model.state_dict(), "trap": Trap(sprung)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="a pickle that holds more than tensors") as refused:
        load_qa_model(str(tmp_path))
    assert len(refused.value.problems) == 1
    assert not sprung.exists()
