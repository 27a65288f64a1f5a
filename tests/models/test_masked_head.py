import json

import pytest
import safetensors.torch
import torch
from support.tiny_multilevel import NUM_TOKENS, WIDTH, batch, bert, student
from torch import nn
from transformers import (
    AlbertConfig,
    AlbertForMaskedLM,
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForQuestionAnswering,
    DistilBertConfig,
    DistilBertForMaskedLM,
    EuroBertConfig,
    EuroBertForMaskedLM,
    GPT2Config,
    GPT2Model,
    LongformerConfig,
    LongformerForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from raykd.errors import DataError
from raykd.models.encoder import SentenceEncoder, load_sentence_encoder
from raykd.models.files import MASKED_HEAD
from raykd.models.masked_head import build_masked_head, has_masked_head
from raykd.models.multilevel import MultilevelModel, MultilevelOptions
from raykd.tasks.parallel.config import ParallelTraining

SHAPE = {"vocab_size": NUM_TOKENS, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 2}
SIZES = SHAPE | {"hidden_size": WIDTH, "max_position_embeddings": 32, "initializer_range": 0.1}
MARKS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
KINDS = {
    "bert": (BertForMaskedLM, BertConfig(**SIZES)),
    "pretraining": (BertForPreTraining, BertConfig(**SIZES)),
    "roberta": (RobertaForMaskedLM, RobertaConfig(**SIZES)),
    "xlm-roberta": (XLMRobertaForMaskedLM, XLMRobertaConfig(**SIZES, type_vocab_size=1)),
    "albert": (AlbertForMaskedLM, AlbertConfig(**SIZES, embedding_size=6)),
    "distilbert": (
        DistilBertForMaskedLM,
        DistilBertConfig(vocab_size=NUM_TOKENS, dim=WIDTH, n_layers=1, n_heads=2, hidden_dim=16),
    ),
    "modernbert": (ModernBertForMaskedLM, ModernBertConfig(**SIZES, **MARKS, cls_token_id=1, sep_token_id=2)),
    "untied": (EuroBertForMaskedLM, EuroBertConfig(**SIZES, **MARKS, num_key_value_heads=2)),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def trained(kind: str = "bert") -> PreTrainedModel:
    """A model with a masked-token head, no weight of which is what it starts from."""
    torch.manual_seed(0)
    made, config = KINDS[kind]
    model = made(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def folder_of(model: PreTrainedModel, folder) -> str:
    model.save_pretrained(folder)
    return str(folder)


def to_train(encoder: SentenceEncoder) -> MultilevelModel:
    """A student that masked tokens alone train."""
    return MultilevelModel(encoder, MultilevelOptions(12, frozenset({"tlm"}), "batch"), seed=1)


def loaded(folder) -> SentenceEncoder:
    return load_sentence_encoder(str(folder), dropout=0.0, masked_head=True).eval()


@torch.no_grad()
def masked_logits(encoder: SentenceEncoder) -> torch.Tensor:
    return to_train(encoder).eval()(**batch()).masked_logits


def head_file(folder) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / MASKED_HEAD)


# What it says -----------------------------------------------------------------------------------------------------


@kinds
def test_scores_of_masked_positions_are_those_of_transformers_own_model(tmp_path, kind):
    model, inputs = trained(kind), batch()
    found = masked_logits(loaded(folder_of(model, tmp_path)))
    with torch.no_grad():
        output = model(input_ids=inputs["tlm_ids"], attention_mask=inputs["tlm_mask"])
    whole = output.prediction_logits if kind == "pretraining" else output.logits
    expected = whole[inputs["tlm_rows"], inputs["tlm_columns"]]
    assert expected.std() > 0.1 and found.shape == (3, NUM_TOKENS)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


@kinds
def test_all_weights_are_trained_and_the_matrix_is_that_of_the_inputs(tmp_path, kind):
    made = to_train(loaded(folder_of(trained(kind), tmp_path))).train()
    assert made.mlm is None and not [name for name, _ in made.named_parameters() if name.startswith("mlm.")]
    made(**batch()).masked_logits.square().sum().backward()
    assert [name for name, parameter in made.named_parameters() if parameter.grad is None] == []
    head, embeddings = made.encoder.masked_head, made.get_input_embeddings().weight
    matrices = [each for each in head.parameters() if each.shape == embeddings.shape and len(each) == NUM_TOKENS]
    assert len(matrices) == 1 and (matrices[0] is embeddings) == (kind != "untied")
    assert sorted({*map(len, head.weights().values())} & {NUM_TOKENS}) == [NUM_TOKENS]


def test_a_head_that_asks_its_base_model_for_more_is_given_nothing(tmp_path):
    made = LongformerForMaskedLM(LongformerConfig(**SIZES, attention_window=4))
    head = load_sentence_encoder(folder_of(made, tmp_path), masked_head=True).masked_head
    hidden = torch.randn(3, WIDTH)
    assert torch.equal(head(hidden), made.lm_head(hidden))


def test_no_masked_token_gives_no_scores_and_all_gradients(tmp_path):
    made = to_train(loaded(folder_of(trained(), tmp_path))).train()
    empty = torch.zeros(0, dtype=torch.long)
    found = made(**batch() | {"tlm_rows": empty, "tlm_columns": empty}).masked_logits
    assert found.shape == (0, NUM_TOKENS)
    found.sum().backward()
    assert not any(parameter.grad.any() for parameter in made.parameters())


def test_scores_are_float32_under_bf16_autocast(tmp_path):
    encoder = loaded(folder_of(trained(), tmp_path))
    with torch.autocast("cpu", torch.bfloat16):
        found = masked_logits(encoder)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, masked_logits(encoder), atol=0.1, rtol=0.1)


def test_its_own_head_learns_at_the_encoders_rate_and_a_drawn_one_at_that_of_heads(tmp_path):
    rates = ParallelTraining(head_learning_rate=1e-3).part_rates
    own = to_train(loaded(folder_of(trained(), tmp_path)))
    assert not [name for name, _ in own.named_parameters() if name.startswith(tuple(rates))]
    drawn = student(parts=frozenset({"tlm"}))
    assert [name for name, _ in drawn.named_parameters() if name.startswith(tuple(rates))]


# Folders ----------------------------------------------------------------------------------------------------------


@kinds
def test_a_head_comes_back_bit_for_bit_as_it_was_trained(tmp_path, kind):
    encoder = loaded(folder_of(trained(kind), tmp_path / "given"))
    made = to_train(encoder)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.01)
    made.save_pretrained(tmp_path / "ours", state_dict=made.state_dict())
    again = loaded(tmp_path / "ours")
    assert torch.equal(masked_logits(again), masked_logits(encoder))
    assert again.state_dict().keys() == encoder.state_dict().keys()
    assert again.masked_head.own == encoder.masked_head.own
    assert head_file(tmp_path / "ours").keys() == encoder.masked_head.weights().keys()


def test_beside_the_encoder_lies_what_is_no_part_of_it(tmp_path):
    encoder = loaded(folder_of(trained(), tmp_path / "given"))
    ours = tmp_path / "ours"
    encoder.save_pretrained(ours, state_dict=encoder.state_dict())
    assert {name.removeprefix("model.cls.predictions.") for name in head_file(ours)} == {
        *("bias", "transform.dense.weight", "transform.dense.bias"),
        *("transform.LayerNorm.weight", "transform.LayerNorm.bias"),
    }
    read, info = AutoModel.from_pretrained(ours, add_pooling_layer=False, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert json.loads((ours / "sentence.json").read_text()) == {"pooling": "cls"}
    assert torch.equal(read.embeddings.word_embeddings.weight, encoder.get_input_embeddings().weight)
    assert has_masked_head(str(ours)) and load_sentence_encoder(str(ours)).masked_head is None


def without_bias(folder) -> None:
    model = trained()
    model.cls.predictions.bias = model.cls.predictions.decoder.bias = None
    model.save_pretrained(folder)


@pytest.mark.parametrize(
    "write",
    [
        bert().save_pretrained,
        BertForQuestionAnswering(bert().config).save_pretrained,
        GPT2Model(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=32)).save_pretrained,
        without_bias,
        lambda folder: student(parts=frozenset({"tlm"})).save_pretrained(
            folder, state_dict=student(parts=frozenset({"tlm"})).state_dict()
        ),
    ],
    ids=["encoder", "qa", "decoder", "half a head", "ours"],
)
def test_a_model_without_a_head_has_none_and_draws_nothing(tmp_path, write):
    write(tmp_path)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert loaded(tmp_path).masked_head is None and not has_masked_head(str(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("content", [b"x", safetensors.torch.save({"model.lm_head.bias": torch.zeros(NUM_TOKENS)})])
def test_a_head_that_cannot_be_read_is_refused_in_one_line(tmp_path, content):
    encoder = loaded(folder_of(trained(), tmp_path / "given"))
    encoder.save_pretrained(tmp_path, state_dict=encoder.state_dict())
    (tmp_path / MASKED_HEAD).write_bytes(content)
    with pytest.raises(DataError, match="masked-token head cannot be loaded") as caught:
        loaded(tmp_path)
    (line,) = caught.value.problems
    assert str(tmp_path) in line and "\n" not in line


@kinds
def test_a_head_of_some_pieces_is_made_of_their_rows(tmp_path, kind):
    """What trimming a vocabulary does."""
    encoder, kept = loaded(folder_of(trained(kind), tmp_path)), torch.tensor([0, 3, 4, 17, 39])
    hidden, whole = torch.randn(4, WIDTH), encoder.masked_head
    embeddings = nn.Parameter(encoder.get_input_embeddings().weight.detach()[kept])
    rows = {name: each[kept] if len(each) == NUM_TOKENS else each for name, each in whole.weights().items()}
    config = encoder.config
    config.vocab_size = len(kept)
    small = build_masked_head(config, embeddings, rows)
    torch.testing.assert_close(small(hidden), whole(hidden)[:, kept], atol=1e-6, rtol=1e-6)
