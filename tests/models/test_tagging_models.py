import json

import pytest
import safetensors.torch
import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM, BertModel, GPT2Config, GPT2Model

from raykd.errors import DataError
from raykd.models.tagging import HEAD_CONFIG, HEAD_WEIGHTS, TagHead, TagModel, load_head, load_tag_model

LABELS = ("O", "B-X", "I-X", "E-X", "S-X")
WIDTH = 16

# Two sentences of 4 and 2 words, of 1 to 3 pieces each, between a first and a last special token.
BATCH = {
    "input_ids": torch.tensor([[2, 5, 9, 31, 7, 12, 18, 3], [2, 8, 21, 22, 3, 0, 0, 0]]),
    "attention_mask": torch.tensor([[1] * 8, [1] * 5 + [0] * 3]),
    "first": torch.tensor([[1, 2, 5, 6], [1, 2, 0, 0]]),
    "last": torch.tensor([[1, 4, 5, 6], [1, 3, 0, 0]]),
    "word_mask": torch.tensor([[True] * 4, [True, True, False, False]]),
}
ALONE = {
    "input_ids": BATCH["input_ids"][1:, :5],
    "attention_mask": BATCH["attention_mask"][1:, :5],
    **{name: BATCH[name][1:, :2] for name in ("first", "last", "word_mask")},
}


def encoder(kind: type = BertModel, **options) -> BertModel:
    sizes = {"vocab_size": 40, "hidden_size": WIDTH, "intermediate_size": 16, "num_attention_heads": 2}
    torch.manual_seed(0)
    defaults = {"num_hidden_layers": 2, "max_position_embeddings": 32, "initializer_range": 0.3}
    config = BertConfig(**sizes | defaults | options)
    return kind(config, add_pooling_layer=False) if kind is BertModel else kind(config)


def model(*, dropout: float = 0.1, **head) -> TagModel:
    """A random model with transitions that differ from 0."""
    drops = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    made = TagModel(encoder(**drops), TagHead(LABELS, **head))
    generator = torch.Generator().manual_seed(1)
    for parameter in made.transitions.parameters() if made.transitions else ():
        nn.init.normal_(parameter, generator=generator)
    return made


def saved(made: TagModel, folder) -> str:
    made.save_pretrained(folder, state_dict=made.state_dict())
    return str(folder)


@torch.no_grad()
def outputs(made: TagModel, batch: dict = BATCH) -> dict[str, torch.Tensor]:
    return dict(made.eval()(**batch))


def loss_of(made: TagModel) -> torch.Tensor:
    """A number that every output has a part in."""
    return sum(
        (tensor * torch.arange(1.0, tensor.numel() + 1).view(tensor.shape)).sum() for tensor in made(**BATCH).values()
    )


# Words out of pieces ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_a_word_is_its_first_piece_or_the_mean_of_its_pieces(pooling):
    made = model(pooling=pooling).eval()
    with torch.no_grad():
        hidden = made.encoder(BATCH["input_ids"], attention_mask=BATCH["attention_mask"]).last_hidden_state
        found = made(**BATCH).emissions
    for row, length in enumerate((4, 2)):
        for word in range(length):
            first, last = int(BATCH["first"][row, word]), int(BATCH["last"][row, word])
            pieces = [hidden[row, piece] for piece in range(first, last + 1)]
            vector = pieces[0] if pooling == "first" else sum(pieces) / len(pieces)
            expected = made.emissions.weight @ vector + made.emissions.bias
            torch.testing.assert_close(found[row, word], expected, atol=1e-5, rtol=1e-5)


def test_the_poolings_differ_for_words_of_several_pieces_alone():
    first, mean = (outputs(model(pooling=pooling))["emissions"] for pooling in ("first", "mean"))
    same = torch.isclose(first, mean, atol=1e-5).all(dim=-1)
    assert same.tolist() == [[True, False, True, True], [True, False, True, True]]


@pytest.mark.parametrize("pooling", ["first", "mean"])
@pytest.mark.parametrize("lstm_size", [None, 6])
def test_a_sentence_in_a_padded_batch_has_the_scores_that_it_has_alone(pooling, lstm_size):
    made = model(pooling=pooling, lstm_size=lstm_size)
    together, alone = outputs(made)["emissions"], outputs(made, ALONE)["emissions"]
    torch.testing.assert_close(together[1, :2], alone[0], atol=1e-5, rtol=1e-5)


def test_the_bilstm_reads_both_ways_and_no_padding():
    made = model(lstm_size=6).eval()
    words = torch.randn(2, 4, WIDTH, generator=torch.Generator().manual_seed(2))
    found = made.lstm(words, BATCH["word_mask"])
    assert found.shape == (2, 4, 12)
    reversed_ = made.lstm.weight_ih_l0_reverse, made.lstm.weight_hh_l0_reverse
    biases = made.lstm.bias_ih_l0_reverse, made.lstm.bias_hh_l0_reverse
    cell = nn.LSTMCell(WIDTH, 6)
    for name, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (*reversed_, *biases), strict=True):
        setattr(cell, name, value)
    state = None
    for word in (1, 0):  # the second sentence from its last word on
        state = cell(words[1:, word], state)
        torch.testing.assert_close(found[1, word, 6:], state[0][0])
    assert (found[1, 2:] == 0).all()


# What is trained --------------------------------------------------------------------------------------------------


def test_a_frozen_encoder_gets_no_gradient_and_reads_without_dropout():
    made = model(dropout=0.5, lstm_size=6, frozen_encoder=True).train()
    assert not made.encoder.training and made.lstm.training and made.dropout.training
    hidden = [made.encoder(BATCH["input_ids"]).last_hidden_state for _ in range(2)]
    assert torch.equal(*hidden)
    loss_of(made).backward()
    assert all(parameter.grad is None for parameter in made.encoder.parameters())
    trained = {name: parameter for name, parameter in made.named_parameters() if not name.startswith("encoder.")}
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in trained.values())
    # The head has dropout all the same.
    assert not torch.equal(made(**BATCH).emissions, made(**BATCH).emissions)


def test_a_frozen_encoder_comes_back_frozen(tmp_path):
    again = load_tag_model(saved(model(frozen_encoder=True), tmp_path))
    assert again.head.frozen_encoder and not any(each.requires_grad for each in again.encoder.parameters())


def test_a_free_encoder_trains_with_dropout():
    made = model(dropout=0.5).train()
    assert made.encoder.training
    assert not torch.equal(made(**BATCH).emissions, made(**BATCH).emissions)


@pytest.mark.parametrize("head", [{}, {"kind": "softmax"}, {"lstm_size": 6, "pooling": "mean"}])
@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
def test_every_trainable_parameter_of_a_loaded_model_has_a_part_in_its_outputs(tmp_path, head, kind):
    # A pooler that nobody reads would have no gradient: ZeRO and DDP wait for it in vain.
    encoder(kind).save_pretrained(tmp_path)
    made = load_tag_model(str(tmp_path), head=TagHead(LABELS, **head)).train()
    loss_of(made).backward()
    assert [name for name, parameter in made.named_parameters() if parameter.grad is None] == []


def test_a_softmax_head_has_no_transitions():
    made = model(kind="softmax")
    found = made(**BATCH)
    assert made.transitions is None and list(found) == ["emissions"]
    assert not [name for name in made.state_dict() if name.startswith("transitions")]


def test_a_crf_begins_as_a_softmax_head():
    made = TagModel(encoder(), TagHead(LABELS))
    found = made(**BATCH)
    assert (found.between.shape, found.start.shape, found.end.shape) == ((5, 5), (5,), (5,))
    assert not any(part.any() for part in (found.between, found.start, found.end))


def test_gradients_flow_into_transitions_that_are_copies():
    # Under ZeRO-3 the parameters themselves are empty after the forward pass.
    made = model()
    found = made(**BATCH)
    assert found.between.data_ptr() != made.transitions.between.data_ptr()
    (found.between * 2).sum().backward()
    assert (made.transitions.between.grad == 2).all()


@pytest.mark.parametrize("lstm_size", [None, 6])
@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_scores_are_float32_under_bf16_autocast(lstm_size, pooling):
    made = model(lstm_size=lstm_size, pooling=pooling).eval()
    plain = outputs(made)
    with torch.autocast("cpu", torch.bfloat16):
        found = outputs(made)
        assert made.encoder(BATCH["input_ids"]).last_hidden_state.isfinite().all()
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    torch.testing.assert_close(found["emissions"], plain["emissions"], atol=0.1, rtol=0.05)
    assert all(torch.equal(found[name], plain[name]) for name in ("between", "start", "end"))


# Folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [{}, {"kind": "softmax"}, {"lstm_size": 6, "pooling": "mean", "frozen_encoder": True}])
def test_a_model_comes_back_bit_for_bit(tmp_path, head):
    made = model(**head)
    again = load_tag_model(saved(made, tmp_path))
    assert again.head == made.head == load_head(str(tmp_path))
    expected, found = outputs(made), outputs(again)
    assert expected.keys() == found.keys() and all(torch.equal(expected[name], found[name]) for name in expected)
    assert again.state_dict().keys() == made.state_dict().keys()


def test_a_model_is_saved_from_the_state_it_is_given(tmp_path):
    made = model(lstm_size=6)
    gathered = {
        name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in made.state_dict().items()
    }
    made.save_pretrained(tmp_path, state_dict=gathered)
    again = load_tag_model(str(tmp_path)).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in gathered.items())


def test_labels_keep_their_order_and_their_letters(tmp_path):
    head = TagHead(("O", "B-ώρα", "I-地", "E-ώρα", "S-Ö"))
    assert load_head(saved(TagModel(encoder(), head), tmp_path)) == head


def test_a_head_is_put_on_any_encoder(tmp_path):
    GPT2Model(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2, n_positions=32)).save_pretrained(tmp_path)
    made = load_tag_model(str(tmp_path), head=TagHead(LABELS))
    assert outputs(made)["emissions"].shape == (2, 4, 5)


def test_a_given_head_takes_the_place_of_the_folders(tmp_path):
    folder = saved(model(lstm_size=6), tmp_path)
    other = TagHead(("A", "B"), kind="softmax")
    assert load_tag_model(folder, head=other).head == other


def test_a_head_that_is_made_anew_is_drawn_from_torchs_generator(tmp_path):
    encoder().save_pretrained(tmp_path)
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(load_tag_model(str(tmp_path), head=TagHead(LABELS)).emissions.weight)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_dropout_of_encoder_and_head_is_replaced(tmp_path):
    folder = saved(model(dropout=0.1), tmp_path)
    made = load_tag_model(folder, dropout=0.3)
    rates = {module.p for module in made.modules() if isinstance(module, nn.Dropout)}
    assert rates == {0.3}


def one_problem(folder) -> str:
    with pytest.raises(DataError) as caught:
        load_tag_model(str(folder))
    (line,) = caught.value.problems
    assert str(folder) in line and "\n" not in line
    return line


def test_a_folder_without_a_head_is_refused(tmp_path):
    encoder().save_pretrained(tmp_path)
    assert "it has no tagging head; train one (base.train in a sweep file)" in one_problem(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        load_tag_model(str(tmp_path / "nowhere"), head=TagHead(LABELS))


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"labels": 3}', '{"labels": ["O"], "kid": "crf"}', "\xff"], ids=repr
)
def test_a_head_that_cannot_be_read_is_refused(tmp_path, text):
    folder = saved(model(), tmp_path)
    (tmp_path / HEAD_CONFIG).write_bytes(text.encode("latin-1"))
    assert "not a tagging head" in one_problem(folder)


def test_a_head_that_lacks_weights_is_refused_with_their_names(tmp_path):
    folder = saved(model(), tmp_path)
    kept = safetensors.torch.load_file(tmp_path / HEAD_WEIGHTS)
    del kept["transitions.between"]
    safetensors.torch.save_file(kept, tmp_path / HEAD_WEIGHTS)
    assert "tag_head.safetensors lacks transitions.between" in one_problem(folder)


@pytest.mark.parametrize("damage", ["missing", "cut", "other shape"])
def test_weights_of_a_head_that_do_not_fit_are_refused(tmp_path, damage):
    folder = saved(model(), tmp_path)
    path = tmp_path / HEAD_WEIGHTS
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    else:
        described = json.loads((tmp_path / HEAD_CONFIG).read_text())
        (tmp_path / HEAD_CONFIG).write_text(json.dumps({**described, "labels": ["O", "B-X"]}))
    assert "cannot be loaded" in one_problem(folder)
