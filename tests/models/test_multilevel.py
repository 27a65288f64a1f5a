import json

import pytest
import safetensors
import torch
from support import tiny_multilevel as multilevels
from support.process_group import run_as_ranks
from support.tiny_multilevel import (
    NUM_ROWS,
    NUM_TOKENS,
    PROJECTION,
    SENTENCES,
    SPLITS,
    TEACHER_WIDTH,
    WIDTH,
    batch,
    bert,
    loss_and_gradients,
    loss_of,
    student,
)
from torch import nn
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModel,
    DistilBertConfig,
    DistilBertModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from raykd.models.encoder import load_sentence_encoder


def of(output) -> dict[str, tuple]:
    return {name: tuple(value.shape) if torch.is_tensor(value) else value for name, value in output.items()}


def distilbert():
    return DistilBertModel(DistilBertConfig(vocab_size=NUM_TOKENS, dim=WIDTH, n_layers=1, n_heads=2, hidden_dim=16))


def xlm_roberta():
    sizes = {"vocab_size": NUM_TOKENS, "hidden_size": WIDTH, "intermediate_size": 16, "num_attention_heads": 2}
    config = XLMRobertaConfig(**sizes, num_hidden_layers=1, max_position_embeddings=32, type_vocab_size=1)
    return XLMRobertaModel(config, add_pooling_layer=False)


def albert():
    """Its token embeddings are narrower than its hidden states."""
    sizes = {"vocab_size": NUM_TOKENS, "embedding_size": 6, "hidden_size": WIDTH, "intermediate_size": 16}
    config = AlbertConfig(**sizes, num_attention_heads=2, num_hidden_layers=1, max_position_embeddings=32)
    return AlbertModel(config, add_pooling_layer=False)


# Parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("kind", [bert, xlm_roberta, distilbert, albert])
def test_all_parts_of_any_encoder_train_all_weights(kind, norm):
    made = student(kind(), norm=norm).train()
    projected = (NUM_ROWS, PROJECTION)
    output = made(**batch())
    assert of(output) == {
        "masked_logits": (3, NUM_TOKENS),
        "words": (2, 3, TEACHER_WIDTH),
        **{f"{part}_{side}": projected for part in ("sentence", "structure") for side in ("query", "key")},
        "own": (0, NUM_ROWS),
    }
    loss_of(output).backward()
    assert [name for name, parameter in made.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("part", "outputs", "weights"),
    [
        ("tlm", {"masked_logits"}, "mlm."),
        ("word", {"words"}, "width."),
        ("sentence", {"sentence_query", "sentence_key", "own"}, "sentence_heads."),
        ("structure", {"structure_query", "structure_key", "own"}, "structure_heads."),
    ],
)
def test_a_part_alone_has_its_own_weights_and_outputs(part, outputs, weights):
    made = student(parts=frozenset({part}))
    assert set(made(**batch())) == outputs
    heads = [name for name, _ in made.named_parameters() if not name.startswith("encoder.")]
    assert heads and all(name.startswith(weights) for name in heads)


def test_words_of_a_teacher_of_the_same_width_are_the_encoders():
    made = student(parts=frozenset({"word"}), teacher_width=WIDTH).eval()
    assert all(name.startswith("encoder.") for name in made.state_dict())
    inputs = batch()
    with torch.no_grad():
        hidden = made.encoder.hidden(inputs["context_ids"], inputs["context_mask"])
        found = made(**inputs).words
    for row in range(2):
        for word in range(3):
            torch.testing.assert_close(found[row, word], hidden[row, inputs["word_first"][row, word]])


def test_masked_logits_are_those_of_the_whole_text_at_its_masked_positions():
    made, inputs = student(parts=frozenset({"tlm"})).eval(), batch()
    embeddings = made.get_input_embeddings().weight
    with torch.no_grad():
        made.mlm.bias.normal_()
        hidden = made.encoder.hidden(inputs["tlm_ids"], inputs["tlm_mask"])
        transformed = nn.functional.gelu(hidden @ made.mlm.transform.weight.T + made.mlm.transform.bias)
        whole = nn.functional.layer_norm(transformed, (WIDTH,)) @ embeddings.T + made.mlm.bias
        found = made(**inputs).masked_logits
    for logits, row, column in zip(found, (0, 0, 1), (2, 7, 4), strict=True):
        torch.testing.assert_close(logits, whole[row, column], atol=1e-5, rtol=1e-5)


def test_token_types_are_read_where_they_are_given():
    made, inputs = student(parts=frozenset({"tlm", "word"})).eval(), batch()
    types = (torch.arange(9) > 4).long().expand(2, -1)
    plain = made(**inputs)
    typed = made(**inputs, tlm_types=types)
    assert not torch.allclose(typed.masked_logits, plain.masked_logits) and torch.equal(typed.words, plain.words)
    typed = made(**inputs, context_types=types)
    assert torch.equal(typed.masked_logits, plain.masked_logits) and not torch.allclose(typed.words, plain.words)


def weight_gradient(made, *, detached: bool = False) -> torch.Tensor:
    made.zero_grad()
    inputs, weight = batch(), made.mlm.weight
    if detached:
        del made.mlm.weight
        made.mlm.weight = weight.detach()
    (made(**inputs).masked_logits ** 2).sum().backward()
    return weight.grad.clone()


def test_the_vocabulary_matrix_is_the_one_of_the_inputs():
    made = student(parts=frozenset({"tlm"}))
    assert made.mlm.weight is made.get_input_embeddings().weight
    found = weight_gradient(made)
    read_alone = weight_gradient(made, detached=True)
    assert not torch.allclose(found, read_alone)


def test_plain_inputs_are_encoded_without_heads():
    made, inputs = student().eval(), batch()
    with torch.no_grad():
        found = made(input_ids=inputs["x_ids"], attention_mask=inputs["x_mask"], first=torch.ones(5, 2, dtype=int))
        expected = made.encoder.hidden(inputs["x_ids"], inputs["x_mask"])
    assert torch.equal(found.sentence, expected[:, 0])
    assert torch.equal(found.words, expected[:, 1:2].expand(-1, 2, -1))


# Heads of sentences -----------------------------------------------------------------------------------------------


def by_hand(rows: torch.Tensor, norm: str) -> torch.Tensor:
    """Mean 0 and variance 1 of each column, or of each row."""
    axis = 0 if norm == "batch" else 1
    centred = rows - rows.mean(axis, keepdim=True)
    return centred / (centred.pow(2).mean(axis, keepdim=True) + 1e-5).sqrt()


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_queries_and_keys_are_what_the_formulas_say(norm, mode):
    made, inputs = student(norm=norm, parts=SENTENCES), batch()
    getattr(made, mode)()
    with torch.no_grad():
        output = made(**inputs)
        vectors = made.encoder(input_ids=inputs["x_ids"], attention_mask=inputs["x_mask"]).sentence
    for part in ("sentence", "structure"):
        weights = made.get_submodule(f"{part}_heads").state_dict()
        query = vectors
        for name in ("projector", "predictor"):
            hidden = by_hand(query @ weights[f"{name}.hidden.weight"].T, norm)
            query = hidden.clamp(min=0) @ weights[f"{name}.out.weight"].T
            query = by_hand(query, norm) if name == "projector" else query
        hidden = by_hand(inputs["teacher_sentence"] @ weights["teacher_projector.hidden.weight"].T, norm)
        key = by_hand(hidden.clamp(min=0) @ weights["teacher_projector.out.weight"].T, norm)
        torch.testing.assert_close(output[f"{part}_query"], query, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(output[f"{part}_key"], key, atol=1e-4, rtol=1e-4)


def test_the_teachers_projector_is_random_and_fixed():
    made = student(parts=SENTENCES)
    fixed = {name for name in made.state_dict() if "teacher_projector" in name}
    assert len(fixed) == 4 and not fixed & {name for name, _ in made.named_parameters()}
    output = made(**batch() | {"teacher_sentence": batch()["teacher_sentence"].requires_grad_()})
    assert output.sentence_query.requires_grad and output.structure_query.requires_grad
    assert not output.sentence_key.requires_grad and not output.structure_key.requires_grad
    # Two levels that looked through the same glass would see the same.
    assert not torch.equal(output.sentence_key, output.structure_key)


def test_heads_are_drawn_from_the_seed_alone():
    before = torch.get_rng_state()
    encoder = bert()
    torch.set_rng_state(before)
    states = [student(encoder, seed=seed).state_dict() for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    drawn = [name for name in states[0] if name.endswith(("hidden.weight", "out.weight", "width.weight"))]
    assert len(drawn) == 13 and not any(torch.equal(states[0][name], states[2][name]) for name in drawn)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_row_alone_trains_all_weights_with_finite_numbers(norm):
    made = student(norm=norm, parts=SENTENCES).train()
    inputs = {name: batch()[name][:1] for name in ("x_ids", "x_mask", "teacher_sentence")}
    loss, gradients = loss_and_gradients(made, inputs | {"rows": 1})
    assert loss.isfinite() and all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("kept", ["rows", "counts"])
def test_rows_that_are_not_real_change_nothing(kept):
    made, inputs = student(parts=SENTENCES), batch()
    names = ("x_ids", "x_mask", "teacher_sentence")
    alone = made(**{name: inputs[name][:3] for name in names}, rows=3)
    padded = made(**inputs | {"rows": 3, "counts": [3] if kept == "counts" else None})
    assert padded.own == (0, 3)
    torch.testing.assert_close(padded.sentence_query, alone.sentence_query)
    torch.testing.assert_close(padded.structure_key, alone.structure_key)


@pytest.mark.parametrize("gather", [False, True])
def test_a_worker_without_rows_has_no_loss_and_all_gradients(gather):
    made, inputs = student(gather=gather).train(), batch()
    for name in ("x_ids", "x_mask", "teacher_sentence", "tlm_ids", "tlm_mask", "context_ids", "context_mask"):
        inputs[name] = inputs[name][:1]
    empty = torch.zeros(0, dtype=torch.long)
    output = made(
        **inputs
        | {"rows": 0, "counts": [0], "tlm_rows": empty, "tlm_columns": empty, "word_first": torch.tensor([[1, 2, 4]])}
    )
    start, stop = output.own
    assert (start, stop) == (0, 0)
    heads = sum(output[f"{part}_query"][start:stop].sum() for part in ("sentence", "structure"))
    loss = heads + output.masked_logits.sum() + output.words.sum() * 0
    loss.backward()
    assert loss == 0
    assert not any(parameter.grad.any() for parameter in made.parameters())


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_outputs_are_float32_under_bf16_autocast(norm):
    made = student(norm=norm).train()
    with torch.autocast("cpu", torch.bfloat16):
        output = made(**batch())
    tensors = [value for value in output.values() if torch.is_tensor(value)]
    assert len(tensors) == 6 and {value.dtype for value in tensors} == {torch.float32}
    plain = made(**batch())
    torch.testing.assert_close(output.masked_logits, plain.masked_logits, atol=0.2, rtol=0.1)
    torch.testing.assert_close(output.words, plain.words, atol=0.2, rtol=0.1)
    loss_of(output).backward()
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())


# Folders ----------------------------------------------------------------------------------------------------------


def test_the_folder_holds_the_encoder_alone(tmp_path):
    made, inputs = student(pooling="mean").eval(), batch()
    made.save_pretrained(tmp_path, state_dict=made.state_dict())
    read, info = AutoModel.from_pretrained(tmp_path, add_pooling_layer=False, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    with safetensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(read.state_dict()) == set(made.encoder.encoder.state_dict())
    assert json.loads((tmp_path / "sentence.json").read_text()) == {"pooling": "mean"}
    plain = {"input_ids": inputs["x_ids"], "attention_mask": inputs["x_mask"]}
    with torch.no_grad():
        before = made(**plain).sentence
        assert torch.equal(load_sentence_encoder(str(tmp_path)).eval()(**plain).sentence, before)


def test_a_distilled_student_of_another_kind_is_read_by_transformers(tmp_path):
    made = student(distilbert())
    made.save_pretrained(tmp_path, state_dict=made.state_dict())
    _, info = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]


# Several workers --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return run_as_ranks(multilevels.trained, 2, tmp_path_factory.mktemp("ranks"))


@pytest.mark.cluster
@pytest.mark.parametrize("counts", SPLITS, ids=str)
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_two_workers_train_as_one_that_has_all_rows(two_ranks, norm, counts):
    expected, gradients = loss_and_gradients(student(norm=norm, parts=SENTENCES).train(), batch())
    (loss_0, found_0), (loss_1, found_1) = (ranks[norm, counts] for ranks in two_ranks)
    torch.testing.assert_close(loss_0 + loss_1, expected, atol=1e-6, rtol=1e-6)
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(found_0[name] + found_1[name], gradient, atol=1e-6 * max(largest, 1), rtol=1e-6)


def test_without_gathering_batch_statistics_are_each_workers_own():
    made, inputs = student(parts=SENTENCES, gather=False), batch()
    halves = [slice(0, 3), slice(3, 5)]
    names = ("x_ids", "x_mask", "teacher_sentence")
    apart = [made(**{name: inputs[name][half] for name in names}, rows=len(inputs["x_ids"][half])) for half in halves]
    together = made(**inputs)
    assert not torch.allclose(torch.cat([each.sentence_key for each in apart]), together.sentence_key, atol=1e-2)
