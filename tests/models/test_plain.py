"""Models of ours as classes of transformers."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    ModernBertConfig,
    ModernBertModel,
    Qwen3Config,
    Qwen3Model,
)

from raykd.errors import DataError
from raykd.models.plain import plain_qa, plain_tagger
from raykd.models.qa import SpanModel
from raykd.models.tagging import TagHead, TagModel
from raykd.tasks.qa.form import QaForm
from raykd.tasks.tagging.form import TaggingForm

SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32}
IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 11, 12, 3, 0]])
MASK = (IDS > 0).long()
LABELS = ("O", "B-LOC", "I-LOC")


def bert():
    return BertModel(BertConfig(**SIZES, num_attention_heads=2))


def decoder():
    """A decoder that reads both ways."""
    options = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "use_bidirectional_attention": True}
    return Qwen3Model(Qwen3Config(**SIZES, **options))


def without_a_qa_class():
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    return Gemma3TextModel(Gemma3TextConfig(**SIZES, **heads))


def loaded(form, folder):
    """A plain model of a task from its folder, as an export loads it."""
    return form.auto_class.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)


@torch.no_grad()
def same(one, other, *names) -> bool:
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    sides = one.eval()(**inputs), other.eval()(**inputs)
    return all(torch.allclose(getattr(sides[0], name), getattr(sides[1], name), atol=1e-5) for name in names)


@pytest.mark.parametrize("backbone", [bert, decoder])
def test_a_span_head_on_a_backbone_becomes_the_class_that_transformers_has_for_it(backbone, tmp_path):
    model = SpanModel(backbone())
    torch.nn.init.normal_(model.span_head.bias)
    plain = plain_qa(model)
    plain.save_pretrained(tmp_path)
    again = loaded(QaForm, tmp_path)
    assert type(again).__name__.endswith("ForQuestionAnswering")
    assert same(model, again, "start_logits", "end_logits")


def test_a_backbone_without_such_a_class_is_refused():
    with pytest.raises(DataError, match=r"transformers has no question-answering class for gemma3_text"):
        plain_qa(SpanModel(without_a_qa_class()))


@pytest.mark.parametrize("encoder", [bert, decoder])
def test_a_linear_head_becomes_a_token_classifier_with_the_names_of_the_labels(encoder, tmp_path):
    model = TagModel(encoder(), TagHead(LABELS)).eval()
    plain_tagger(model).save_pretrained(tmp_path)
    again = loaded(TaggingForm, tmp_path)
    assert again.config.id2label == dict(enumerate(LABELS))
    words = {"first": torch.tensor([[1, 2]] * 2), "last": torch.tensor([[1, 2]] * 2), "word_mask": torch.ones(2, 2) > 0}
    with torch.no_grad():
        expected = model(input_ids=IDS, attention_mask=MASK, **words).emissions
        found = again(input_ids=IDS, attention_mask=MASK).logits[:, 1:3]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_class_with_more_layers_than_a_linear_one_is_refused():
    encoder = ModernBertModel(ModernBertConfig(**SIZES, num_attention_heads=2, pad_token_id=0))
    with pytest.raises(DataError, match="ModernBertForTokenClassification has more than a linear layer"):
        plain_tagger(TagModel(encoder, TagHead(LABELS)))
