"""Answers and labels of a model for texts of one's own."""

import json
import math
import re
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raykd.data import smallworld, smallworld_tags
from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.errors import DataError
from raykd.models.qa import SpanModel, load_tokenizer, tiny_qa_model
from raykd.models.tagging import TagHead, tiny_tag_model
from raykd.predict import Predictor
from raykd.tasks.predictor import Reading
from raykd.tasks.qa.predictor import CANDIDATES, QaPredictor
from raykd.tasks.tagging.predictor import TaggingPredictor

LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(folder)
    return load_tokenizer(str(folder))


@pytest.fixture(scope="module")
def qa_folder(tokenizer, tmp_path_factory):
    """A random QA model: its answers are strange, but they are always the same."""
    folder = tmp_path_factory.mktemp("qa")
    tiny_qa_model(tokenizer, seed=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def qa(qa_folder) -> QaPredictor:
    return Predictor.load(qa_folder)


@pytest.fixture(scope="module")
def tagger_folder(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    model = tiny_tag_model(tokenizer, TagHead(LABELS), seed=1)
    torch.manual_seed(1)
    for part in model.transitions.parameters():
        torch.nn.init.normal_(part)
    model.save_pretrained(folder, state_dict=model.state_dict())
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tagger(tagger_folder) -> TaggingPredictor:
    return Predictor.load(tagger_folder)


ITEMS = [item["en"] for item in smallworld.parallel_items("dev", 6, languages=("en",)).values()]
LONG = "\n\n".join(item.context for item in ITEMS * 4)


def test_answers_lie_where_they_say_and_their_probabilities_are_shares_of_the_best_spans(qa):
    answers = qa.answer(ITEMS[0].question, LONG, n_best=CANDIDATES)
    assert len(answers) == CANDIDATES == len({(each.start, each.end) for each in answers})
    for each in answers:
        assert LONG[each.start : each.end] == each.text == each.text.strip()
    scores = [each.score for each in answers]
    assert scores == sorted(scores, reverse=True)
    weights = [math.exp(score - scores[0]) for score in scores]
    assert [each.probability for each in answers] == pytest.approx([weight / sum(weights) for weight in weights])
    assert qa.answer(ITEMS[0].question, LONG) == answers[:1]


def test_the_answer_to_a_long_context_is_the_best_of_its_windows(qa, tokenizer):
    """Against a search by hand: every window, every span."""
    reading = qa.reading
    encoded = tokenizer(
        [ITEMS[0].question], [LONG], truncation="only_second", max_length=reading.max_length, stride=reading.stride,
        return_overflowing_tokens=True, return_offsets_mapping=True, padding=True, return_tensors="pt",
    )  # fmt: skip
    assert len(encoded["input_ids"]) > 3
    with torch.no_grad():
        outputs = qa._model(**{name: encoded[name] for name in tokenizer.model_input_names})
    best = (-math.inf, 0, 0)
    for row, offsets in enumerate(encoded["offset_mapping"].tolist()):
        inside = [at for at, sequence in enumerate(encoded.sequence_ids(row)) if sequence == 1]
        for first in inside:
            for last in range(first, min(first + reading.max_answer_tokens, inside[-1] + 1)):
                score = float(outputs.start_logits[row, first] + outputs.end_logits[row, last])
                best = max(best, (score, offsets[first][0], offsets[last][1]))
    (answer,) = qa.answer(ITEMS[0].question, LONG)
    assert (answer.start, answer.end) == best[1:]
    assert answer.score == pytest.approx(best[0], abs=1e-4)


def test_questions_are_answered_together_as_they_are_alone(qa):
    pairs = [(item.question, item.context) for item in ITEMS] + [(ITEMS[0].question, LONG)]
    together = qa.answers(pairs, n_best=3)
    for (question, context), answers in zip(pairs, together, strict=True):
        alone = qa.answer(question, context, n_best=3)
        assert [(each.start, each.end) for each in alone] == [(each.start, each.end) for each in answers]
    assert qa.answers([]) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(question=st.text(max_size=30), context=st.text(min_size=1, max_size=200))
def test_whatever_is_asked_an_answer_is_a_part_of_the_context(qa, question, context):
    try:
        answers = qa.answer(question, context, n_best=2)
    except DataError:
        assert not context.strip()
        return
    assert all(context[each.start : each.end] == each.text for each in answers)


def test_words_are_labelled_and_labels_make_entities(tagger):
    sentences = [each.words for each in smallworld_tags.sentences("dev", 4, languages=("en",))["en"]]
    found = tagger.labels(sentences)
    assert [each.words for each in found] == sentences
    assert found == [tagger.label(words) for words in sentences]
    for each in found:
        assert len(each.labels) == len(each.words) and set(each.labels) <= set(LABELS)
        for entity in each.entities:
            assert each.labels[entity.first].endswith(entity.type)
            assert entity.text == " ".join(each.words[entity.first : entity.last + 1])
    assert any(each.entities for each in found)
    assert tagger.labels([]) == []


def test_a_sentence_of_many_windows_gets_a_label_for_every_word(tagger):
    words = ["London", "was", "old"] * 300
    assert len(tagger.label(words).labels) == 900


@pytest.mark.parametrize("sentence", [[], ["Ada", ""]])
def test_a_sentence_without_words_is_refused(tagger, sentence):
    with pytest.raises(DataError, match="sentence 1: it has no word, or an empty one"):
        tagger.label(sentence)


def test_a_model_is_only_asked_for_what_it_does(qa, tagger):
    with pytest.raises(DataError, match=r"answers questions \(task qa\); a model that labels words"):
        qa.label(["Ada"])
    with pytest.raises(DataError, match=r"labels words \(task tagging\); a model that answers"):
        tagger.answer("Who?", "Ada.")


def test_an_empty_context_is_refused_by_its_number(qa):
    with pytest.raises(DataError, match=r"question 2 \('Where\?'\): its context is empty"):
        qa.answers([("Who?", "Ada."), ("Where?", " \n")])


def test_texts_are_cut_as_in_the_sweep_where_the_folder_tells_how(qa_folder, tmp_path):
    folder = shutil.copytree(qa_folder, tmp_path / "model")
    # Its tokenizer allows 512 tokens, its positions end at 256.
    assert Predictor.load(folder).reading == Reading(256, 85, 64, 30)
    data = {"max_length": 64, "stride": 8, "max_question_length": 20}
    origin = {"point": {"data": data, "selection": {"max_answer_tokens": 9}}}
    (folder / "raykd.json").write_text(json.dumps(origin))
    assert Predictor.load(folder).reading == Reading(64, 8, 20, 9)
    (folder / "raykd.json").write_text("{")
    with pytest.raises(DataError, match=r"raykd.json: not JSON"):
        Predictor.load(folder)


def test_answers_are_whole_words_where_they_were_in_the_sweep(qa_folder, qa, tmp_path):
    folder = shutil.copytree(qa_folder, tmp_path / "model")
    reading = qa.reading
    data = {name: getattr(reading, name) for name in ("max_length", "stride", "max_question_length")}
    origin = {"point": {"data": data, "selection": {"max_answer_tokens": 3, "whole_words": True}}}
    (folder / "raykd.json").write_text(json.dumps(origin))
    context = "Undoubtedly Bartholomew was reinstated in Scarborough."
    breaks = {edge for found in re.finditer(r"\w+|\W", context) for edge in found.span()}
    whole, free = (each.answer("Who?", context, n_best=200) for each in (Predictor.load(folder), qa))
    assert whole and all({each.start, each.end} <= breaks for each in whole)
    assert not all({each.start, each.end} <= breaks for each in free)


def test_what_a_folder_is_for_is_told_by_its_files(qa_folder, tagger_folder, tokenizer, tmp_path):
    kinds = [type(Predictor.load(folder)) for folder in (qa_folder, tagger_folder)]
    assert kinds == [QaPredictor, TaggingPredictor]
    spans = SpanModel(tiny_qa_model(tokenizer, seed=1).bert)
    spans.save_pretrained(tmp_path, state_dict=spans.state_dict())
    tokenizer.save_pretrained(tmp_path)
    assert type(Predictor.load(tmp_path)) is QaPredictor


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ('{"architectures": ["BertForTokenClassification"]}', "a token classifier without tag_head.json"),
        ('{"architectures": ["BertModel"]}', "an encoder, which turns sentences into vectors"),
        ("[", "not a model's configuration"),
        ("[]", "not a model's configuration"),
        (None, "not a model's configuration"),
    ],
)
def test_a_model_that_neither_answers_nor_labels_is_refused(tmp_path, config, said):
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(DataError, match=said):
        Predictor.load(tmp_path)


def test_a_model_that_is_nowhere_says_where_it_was_looked_for(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"model \./none: no such folder"):
        Predictor.load("./none")
    with pytest.raises(DataError, match="the Hub does not give it"):
        Predictor.load("nobody/nothing-of-this-name")
