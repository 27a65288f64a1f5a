import pytest
import torch
from support.tiny_multilevel import bert
from torch import nn
from transformers import (
    AutoModel,
    BertConfig,
    BertForQuestionAnswering,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    FunnelConfig,
    FunnelModel,
    PreTrainedTokenizerFast,
)

from raykd.errors import DataError
from raykd.models.encoder import SENTENCE_CONFIG, SentenceEncoder, load_sentence_encoder, tiny_sentence_encoder

BATCH = {
    "input_ids": torch.tensor([[2, 5, 9, 31, 7, 12, 18, 3], [2, 8, 21, 22, 3, 0, 0, 0]]),
    "attention_mask": torch.tensor([[1] * 8, [1] * 5 + [0] * 3]),
}
LENGTHS = (8, 5)
FIRST = torch.tensor([[1, 2, 5, 6], [1, 3, 0, 0]])
WORD_MASK = torch.tensor([[True] * 4, [True, True, False, False]])


def saved(made: SentenceEncoder, folder) -> str:
    made.save_pretrained(folder, state_dict=made.state_dict())
    return str(folder)


@torch.no_grad()
def sentences(made: SentenceEncoder) -> torch.Tensor:
    return made.eval()(**BATCH).sentence


# Vectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_sentence_is_its_first_token_or_the_mean_of_all(pooling):
    made = SentenceEncoder(bert(), pooling).eval()
    found = sentences(made)
    assert found.shape == (2, 16)
    for row, length in enumerate(LENGTHS):
        with torch.no_grad():
            (hidden,) = made.encoder(BATCH["input_ids"][row : row + 1, :length]).last_hidden_state
        expected = hidden[0] if pooling == "cls" else sum(hidden) / length
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-5)


def test_a_word_is_its_first_piece():
    made = SentenceEncoder(bert(), "cls").eval()
    with torch.no_grad():
        hidden = made.encoder(**BATCH).last_hidden_state
        every, masked = (made(**BATCH, first=FIRST, word_mask=mask).words for mask in (None, WORD_MASK))
    for row in range(2):
        for word in range(4):
            vector = hidden[row, FIRST[row, word]]
            assert torch.equal(every[row, word], vector)
            assert torch.equal(masked[row, word], vector * WORD_MASK[row, word])


def test_words_are_read_only_where_they_are_asked_for():
    assert SentenceEncoder(bert(), "cls")(**BATCH).words is None


def test_token_types_are_read():
    made = SentenceEncoder(bert(), "cls").eval()
    types = (torch.arange(8) > 3).long().expand(2, -1)
    with torch.no_grad():
        assert not torch.allclose(made(**BATCH, token_type_ids=types).sentence, sentences(made))
        assert torch.equal(made(**BATCH, token_type_ids=0 * types).sentence, sentences(made))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_vectors_are_float32_under_bf16_autocast(pooling):
    made = SentenceEncoder(bert(), pooling).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = made(**BATCH, first=FIRST)
    assert (found.sentence.dtype, found.words.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(found.sentence, sentences(made), atol=0.1, rtol=0.05)


# Folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_an_encoder_comes_back_bit_for_bit(tmp_path, pooling):
    made = SentenceEncoder(bert(), pooling)
    again = load_sentence_encoder(saved(made, tmp_path))
    assert again.pooling == pooling and torch.equal(sentences(again), sentences(made))
    assert again.state_dict().keys() == made.state_dict().keys()


def test_an_encoder_is_saved_from_the_state_it_is_given(tmp_path):
    made = SentenceEncoder(bert(), "cls")
    given = {name: value + 1 for name, value in made.state_dict().items()}
    made.save_pretrained(tmp_path, state_dict=given)
    again = load_sentence_encoder(str(tmp_path)).state_dict()
    assert again.keys() == given.keys() and all(torch.equal(again[name], given[name]) for name in given)


def test_transformers_finds_all_weights_in_the_folder_and_no_others(tmp_path):
    folder = saved(SentenceEncoder(bert(), "cls"), tmp_path)
    _, info = AutoModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]


def test_pooling_is_what_is_asked_for_then_the_folders_then_the_first_token(tmp_path):
    bert().save_pretrained(tmp_path)
    assert load_sentence_encoder(str(tmp_path)).pooling == "cls"
    saved(SentenceEncoder(bert(), "mean"), tmp_path)
    assert load_sentence_encoder(str(tmp_path)).pooling == "mean"
    assert load_sentence_encoder(str(tmp_path), pooling="cls").pooling == "cls"


def test_the_encoder_of_a_qa_model_is_taken(tmp_path):
    made = BertForQuestionAnswering(bert().config)
    made.save_pretrained(tmp_path)
    again = load_sentence_encoder(str(tmp_path))
    assert torch.equal(sentences(again), sentences(SentenceEncoder(made.bert, "cls")))


def test_every_weight_of_a_loaded_encoder_has_a_part_in_its_sentences(tmp_path):
    # A pooler that nobody reads would have no gradient: ZeRO waits for it in vain.
    BertModel(bert().config).save_pretrained(tmp_path)
    made = load_sentence_encoder(str(tmp_path))
    made(**BATCH).sentence.sum().backward()
    assert [name for name, parameter in made.named_parameters() if parameter.grad is None] == []


def test_dropout_is_replaced(tmp_path):
    folder = saved(SentenceEncoder(bert(), "cls"), tmp_path)
    made = load_sentence_encoder(folder, dropout=0.3)
    assert {module.p for module in made.modules() if isinstance(module, nn.Dropout)} == {0.3}


def test_weights_are_read_in_float32(tmp_path):
    bert().bfloat16().save_pretrained(tmp_path)
    assert {value.dtype for value in load_sentence_encoder(str(tmp_path)).parameters()} == {torch.float32}


def test_an_encoder_of_another_kind_is_read(tmp_path):
    DistilBertModel(DistilBertConfig(vocab_size=40, dim=16, n_layers=1, n_heads=2, hidden_dim=16)).save_pretrained(
        tmp_path
    )
    made = load_sentence_encoder(str(tmp_path))
    assert made.width == 16 and sentences(made).shape == (2, 16)


@torch.no_grad()
def test_an_encoder_whose_configuration_has_several_classes_is_read_as_transformers_reads_it(tmp_path):
    sizes = {"vocab_size": 40, "block_sizes": [1, 1], "d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 32}
    FunnelModel(FunnelConfig(num_decoder_layers=1, **sizes)).save_pretrained(tmp_path)
    expected = AutoModel.from_pretrained(tmp_path).eval()(**BATCH).last_hidden_state[:, 0]
    assert torch.equal(sentences(load_sentence_encoder(str(tmp_path))), expected)


def one_problem(folder) -> str:
    with pytest.raises(DataError) as caught:
        load_sentence_encoder(str(folder))
    (line,) = caught.value.problems
    assert str(folder) in line and "\n" not in line
    return line


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    assert "cannot be loaded" in one_problem(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"pooling": 3}', '{"pooling": "max"}', '{"pooling": []}', "\xff"])
def test_a_pooling_that_cannot_be_read_is_refused(tmp_path, text):
    folder = saved(SentenceEncoder(bert(), "cls"), tmp_path)
    (tmp_path / SENTENCE_CONFIG).write_bytes(text.encode("latin-1"))
    assert SENTENCE_CONFIG in one_problem(folder)


def test_an_encoder_that_lacks_weights_is_refused_with_their_names(tmp_path):
    made = SentenceEncoder(bert(), "cls")
    kept = made.state_dict()
    del kept["encoder.encoder.layer.1.output.dense.weight"]
    made.save_pretrained(tmp_path, state_dict=kept)
    assert "encoder.layer.1.output.dense.weight" in one_problem(tmp_path)


def test_the_tiny_encoder_is_drawn_from_its_seed_alone():
    from tokenizers import Tokenizer, models

    words = {"[PAD]": 0, "a": 1, "b": 2}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words)), pad_token="[PAD]")
    before = torch.get_rng_state()
    made = [tiny_sentence_encoder(tokenizer, seed=seed, pooling="mean") for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    weights = [each.get_input_embeddings().weight for each in made]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert weights[0].shape == (3, 64) and made[0].pooling == "mean" and isinstance(made[0].config, BertConfig)
