"""Models over fewer pieces give the outputs that they gave."""

import functools
import json

import pytest
import torch
from support.small_tokenizers import KINDS, SENTENCES
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertModel,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    Gemma3TextConfig,
    Gemma3TextModel,
    ModernBertConfig,
    ModernBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from raykd.errors import DataError
from raykd.models.encoder import SentenceEncoder, load_sentence_encoder
from raykd.models.plain import plain_encoder, plain_qa, plain_tagger
from raykd.models.qa import SpanModel, load_qa_model, load_tokenizer
from raykd.models.tagging import TagHead, TagModel, load_tag_model
from raykd.models.trim import trim_model
from raykd.models.vocabulary import Kept, needed_pieces, trim_tokenizer

TEXTS = {"en": SENTENCES["en"], "de": SENTENCES["de"]}
LINES = [line for lines in TEXTS.values() for line in lines]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32, "num_attention_heads": 2}


class World:
    """A tokenizer and its trimmed one, with the same texts read by both."""

    def __init__(self, kind: str) -> None:
        self.full = KINDS[kind]()
        self.kept = needed_pieces(self.full, TEXTS, max_pieces=None)
        self.trimmed = trim_tokenizer(self.full, self.kept)
        self.before, self.after = (dict(each(LINES, padding=True, return_tensors="pt")) for each in self.both)

    @property
    def both(self):
        return self.full, self.trimmed

    @property
    def ids(self) -> list[int]:
        return list(self.kept.ids)


@pytest.fixture(scope="session")
def world():
    """The world of a kind of tokenizer, made once."""
    return functools.cache(World)


def built(kind, config, **options):
    torch.manual_seed(0)
    made = kind(config, **options).eval()
    for name, parameter in made.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    return made


def named(tokenizer) -> dict[str, int | None]:
    """The special tokens that configurations name."""
    return {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos")}


def bert(world, kind=BertModel, **options):
    return built(kind, BertConfig(vocab_size=len(world.full), **SIZES, **named(world.full)), **options)


def xlm_roberta(world, kind=XLMRobertaModel, **options):
    config = XLMRobertaConfig(vocab_size=len(world.full), **SIZES, **named(world.full))
    return built(kind, config, **options)


@torch.no_grad()
def outputs(model, inputs) -> list[torch.Tensor]:
    return [value.clone() for value in model(**inputs).values() if value is not None]


def close(one, other) -> None:
    assert len(one) == len(other) > 0
    for left, right in zip(one, other, strict=True):
        torch.testing.assert_close(left, right, atol=1e-6, rtol=0)


def check(world, model, *, words: dict | None = None) -> None:
    """Trim a model in place, and compare what it gives for the same texts and in its rows."""
    vectors = model.get_input_embeddings().weight.detach().clone()
    expected = outputs(model, world.before | (words or {}))
    trim_model(model, world.kept)
    close(outputs(model, world.after | (words or {})), expected)
    weight = model.get_input_embeddings().weight
    assert torch.equal(weight, vectors[world.ids]) and model.config.get_text_config().vocab_size == len(world.ids)
    assert model.get_input_embeddings().num_embeddings == len(world.ids)


# Models of ours ---------------------------------------------------------------------------------------------------


def saved(model, tokenizer, folder) -> str:
    model.save_pretrained(folder, state_dict=model.state_dict())
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_qa_model_answers_as_before_and_from_its_folder_too(world, tmp_path):
    world = world("wordpiece")
    model = bert(world, BertForQuestionAnswering)
    check(world, model)
    folder = saved(model, world.trimmed, tmp_path)
    inputs = load_tokenizer(folder)(LINES, padding=True, return_tensors="pt")
    close(outputs(load_qa_model(folder, needs_head=True).eval(), inputs), outputs(model, world.after))


def words_of(world) -> dict[str, torch.Tensor]:
    first = torch.tensor([[1, 3]] * len(LINES))
    return {"first": first, "last": first + 1, "word_mask": torch.ones(len(LINES), 2, dtype=torch.bool)}


def test_a_tagging_model_labels_as_before_and_from_its_folder_too(world, tmp_path):
    world = world("unigram")
    model = TagModel(xlm_roberta(world, add_pooling_layer=False), TagHead(("O", "B-X", "I-X"))).eval()
    words = words_of(world)
    check(world, model, words=words)
    folder = saved(model, world.trimmed, tmp_path)
    inputs = dict(load_tokenizer(folder)(LINES, padding=True, return_tensors="pt")) | words
    close(outputs(load_tag_model(folder).eval(), inputs), outputs(model, world.after | words))


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_sentence_encoder_gives_the_vectors_that_it_gave(world, pooling, tmp_path):
    world = world("wordpiece")
    model = SentenceEncoder(bert(world, add_pooling_layer=False), pooling).eval()
    check(world, model)
    again = load_sentence_encoder(saved(model, world.trimmed, tmp_path)).eval()
    close(outputs(again, world.after), outputs(model, world.after))


def gemma(world):
    heads = {"num_key_value_heads": 1, "head_dim": 8}
    return built(Gemma3TextModel, Gemma3TextConfig(vocab_size=len(world.full), **SIZES, **heads, **named(world.full)))


def test_a_span_model_over_a_decoder_with_scaled_embeddings_answers_as_before(world):
    world = world("byte_fallback")
    model = SpanModel(gemma(world)).eval()
    check(world, model)
    backbone, tokenizer = model.backbone, world.trimmed
    assert backbone.padding_idx == backbone.embed_tokens.padding_idx == tokenizer.pad_token_id
    assert backbone.vocab_size == len(tokenizer)


def test_a_frozen_encoder_stays_frozen_and_the_padding_has_no_gradient(world):
    world = world("wordpiece")
    model = TagModel(bert(world, add_pooling_layer=False), TagHead(("O", "X"), frozen_encoder=True))
    trim_model(model, world.kept)
    assert not model.get_input_embeddings().weight.requires_grad
    model = bert(world)
    trim_model(model, world.kept)
    model(**world.after).last_hidden_state.sum().backward()
    gradient = model.get_input_embeddings().weight.grad
    assert world.trimmed.pad_token_id == 0 and not gradient[0].any() and gradient[1:].any()


# Masked-token heads -----------------------------------------------------------------------------------------------


def masked_head(world, kind, config_kind, **options):
    settings = SIZES | {"max_position_embeddings": 66} | named(world.full) | options
    return built(kind, config_kind(vocab_size=len(world.full), **settings))


HEADS = {
    "tied": ("wordpiece", BertForMaskedLM, BertConfig, {}),
    "untied": ("wordpiece", BertForMaskedLM, BertConfig, {"tie_word_embeddings": False}),
    "roberta": ("byte_level", RobertaForMaskedLM, RobertaConfig, {}),
    "bias of its own": ("byte_level", ModernBertForMaskedLM, ModernBertConfig, {"cls_token_id": 0, "sep_token_id": 2}),
    "no output layer": ("unigram", DebertaV2ForMaskedLM, DebertaV2Config, {"legacy": False, "type_vocab_size": 0}),
}


@pytest.mark.parametrize("head", HEADS)
def test_scores_of_the_kept_pieces_are_what_they_were_and_from_the_folder_too(world, head, tmp_path):
    kind, *made, options = HEADS[head]
    world = world(kind)
    model = masked_head(world, *made, **options)
    with torch.no_grad():
        expected = model(**world.before).logits[..., world.ids]
        trim_model(model, world.kept)
        close([model(**world.after).logits], [expected])
        is_tied = options.get("tie_word_embeddings", True)
        output = model.get_output_embeddings().weight
        if head != "no output layer":
            assert (output is model.get_input_embeddings().weight) == is_tied
        folder = saved(model, world.trimmed, tmp_path)
        again, info = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
        assert not any(info[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        close([again.eval()(**world.after).logits], [expected])


def test_configurations_name_the_new_ids_and_nothing_that_is_not_kept(world):
    world = world("wordpiece")
    config = ModernBertConfig(vocab_size=len(world.full), **SIZES, **named(world.full) | {"eos_token_id": [4, 3]})
    config.cls_token_id, config.sep_token_id = 3, 10**6
    model = built(ModernBertForMaskedLM, config)
    trim_model(model, world.kept)
    # [unused1] had the id 1.
    assert world.kept.new_ids[3] == 2 == world.trimmed.cls_token_id
    assert (config.cls_token_id, config.sep_token_id, config.eos_token_id) == (2, None, [3, 2])
    assert (config.bos_token_id, config.pad_token_id) == (None, 0)


# Refusals ---------------------------------------------------------------------------------------------------------


def problem(model, kept) -> str:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(DataError) as caught:
        trim_model(model, kept)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    (line,) = caught.value.problems
    return line


def test_a_model_whose_positions_count_from_a_padding_that_would_change_is_refused(world):
    world = world("unigram")
    kept = Kept(ids=world.kept.ids[:1] + world.kept.ids[2:], total=world.kept.total)
    line = problem(xlm_roberta(world), kept)
    assert "XLMRobertaModel counts its positions from the id of the padding, which is 1 and would change" in line


def test_a_padding_that_changes_is_no_matter_where_positions_count_from_0(world):
    world = world("byte_level")
    config = BertConfig(vocab_size=len(world.full), **SIZES, pad_token_id=world.full.mask_token_id)
    model = built(BertModel, config)
    trim_model(model, world.kept)
    assert config.pad_token_id == world.trimmed.mask_token_id == model.embeddings.word_embeddings.padding_idx


def test_a_model_of_another_tokenizer_is_refused(world):
    model = BertModel(BertConfig(vocab_size=20, **SIZES))
    line = problem(model, world("wordpiece").kept)
    assert "BertModel has vectors for 20 pieces" in line and "do not belong together" in line


def test_more_rows_than_pieces_are_no_matter(world):
    world = world("wordpiece")
    config = BertConfig(vocab_size=len(world.full) + 7, **SIZES, **named(world.full))
    check(world, built(BertModel, config))


def test_other_vectors_by_piece_are_refused(world):
    world = world("wordpiece")
    model = bert(world)
    model.per_layer = torch.nn.Embedding(len(world.full), 4)
    assert "BertModel has other vectors by piece (per_layer)" in problem(model, world.kept)


# Exports ----------------------------------------------------------------------------------------------------------


def test_trimmed_models_of_ours_become_classes_of_transformers(world, tmp_path):
    world = world("wordpiece")
    for make, plain in (
        (lambda: SpanModel(bert(world)), plain_qa),
        (lambda: TagModel(bert(world, add_pooling_layer=False), TagHead(("O", "X"))), plain_tagger),
        (lambda: SentenceEncoder(bert(world, add_pooling_layer=False), "cls"), plain_encoder),
    ):
        whole, trimmed = make().eval(), make().eval()
        trimmed.load_state_dict(whole.state_dict())
        trim_model(trimmed, world.kept)
        close(outputs(plain(trimmed).eval(), world.after), outputs(plain(whole).eval(), world.before))
        plain(trimmed).save_pretrained(tmp_path)
        assert json.loads((tmp_path / "config.json").read_text())["vocab_size"] == len(world.ids)


def test_a_trimmed_model_runs_as_onnx(world, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    from raykd.export.onnx import FILE, OPSET, _Positional

    world = world("wordpiece")
    model = bert(world, BertForQuestionAnswering)
    trim_model(model, world.kept)
    names, found = list(world.after), ("start_logits", "end_logits")
    torch.onnx.export(
        _Positional(model, names, found).eval(),
        tuple(world.after.values()),
        f=tmp_path / FILE,
        input_names=names,
        output_names=list(found),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / FILE, providers=["CPUExecutionProvider"])
    read = {each.name: world.after[each.name].numpy() for each in session.get_inputs()}
    scores = [torch.from_numpy(each) for each in session.run(list(found), read)]
    for one, other in zip(scores, outputs(model, world.after), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


# A real model -----------------------------------------------------------------------------------------------------


def xquad(path, most: int):
    """Questions and contexts of the first paragraphs."""
    for article in json.loads(path.read_text(encoding="utf-8"))["data"][:most]:
        for paragraph in article["paragraphs"]:
            yield from ((item["question"], paragraph["context"]) for item in paragraph["qas"])


@torch.no_grad()
def test_a_published_model_answers_xquad_as_before(real_data, tmp_path):
    folder = real_data.parent / "models/xmini-qa-en"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), load_qa_model(str(folder)).eval()
    pairs = {language: [*xquad(real_data / f"xquad/xquad.{language}.json", 2)] for language in ("en", "ar")}
    texts = {language: [text for pair in some for text in pair] for language, some in pairs.items()}
    kept = needed_pieces(tokenizer, texts, max_pieces=None)
    trimmed = trim_tokenizer(tokenizer, kept)
    asked = [pair for some in pairs.values() for pair in some[:2]]

    def answers(reads) -> list[torch.Tensor]:
        inputs = [reads(*pair, return_tensors="pt") for pair in asked]
        return [scores for each in inputs for scores in outputs(model, each)]

    size = sum(parameter.numel() for parameter in model.parameters())
    expected = answers(tokenizer)
    trim_model(model, kept)
    close(answers(trimmed), expected)
    assert len(kept.ids) < 5000 and kept.total == 84569
    assert sum(parameter.numel() for parameter in model.parameters()) == size - 384 * (kept.total - len(kept.ids))
    again = load_tokenizer(saved(model, trimmed, tmp_path))
    assert again.get_vocab() == trimmed.get_vocab() and again.model_max_length == 512
