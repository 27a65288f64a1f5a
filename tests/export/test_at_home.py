"""An exported model without raykd: it loads with plain transformers and answers as it did inside its sweep."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.plain_python import elsewhere, usage_of
from support.tiny_sweeps import pair_point, point, tag_point

from raykd.config.point import PointBase
from raykd.data.batching import batches_for_inference
from raykd.export.folder import export_point
from raykd.models.qa import load_tokenizer
from raykd.predict import Predictor
from raykd.results.artifacts import Store
from raykd.results.records import read_records
from raykd.tasks import TASKS, task_of
from raykd.tasks.qa.answers import best_answers
from raykd.tasks.tagging.features import rejoin
from raykd.tasks.task import Places


def inside(root: Path, config: PointBase):
    """What the sweep scores: its dev set, and what the delivered model predicts, which gives the recorded scores."""
    (record,) = read_records(root).points
    folder = Store(root).artifact(record.result.artifact)
    task = task_of(config)
    model, places = task.model.load(str(folder)).eval(), Places(folder=root, base=folder, teacher=folder)
    dev = task.data.scored_set(config, config.selection, load_tokenizer(str(folder)), places=places)
    predictions = []
    with torch.no_grad():
        for micro in batches_for_inference(dev.features.lengths, tokens=4096, rank=0, world_size=1):
            batch = dev.features.collate(micro.indices)
            outputs = model(**task.model.inputs(batch))
            predictions += task.learning.predict(outputs, batch, micro.indices, config.selection)
    scored = task.learning.score(predictions, dev, config.selection)
    assert (scored.scores, scored.outcomes) == (record.result.scores, record.outcomes)
    return dev, predictions


@torch.no_grad()
def logits_inside(root: Path, asked: dict[str, str]) -> np.ndarray:
    """Start and end logits of the delivered model over a question and its whole context."""
    (record,) = read_records(root).points
    folder = str(Store(root).artifact(record.result.artifact))
    encoded = load_tokenizer(folder)(asked["question"], asked["context"], return_tensors="pt")
    outputs = TASKS["qa"].model.load(folder).eval()(**encoded)
    return np.stack([outputs.start_logits, outputs.end_logits])


@pytest.mark.parametrize("max_length", [128, 44], ids=["one window", "several windows"])
def test_an_exported_model_answers_the_same_questions_with_the_same_spans_as_inside_the_sweep(
    sweep, tmp_path, max_length
):
    data = {"max_length": max_length, "stride": 8, "max_question_length": 20}
    config, root = point(data=data).config, sweep("qa", data=data)
    dev, predictions = inside(root, config)
    assert (len(dev.features) > len(dev.examples)) == (max_length == 44)
    expected = best_answers(dev.features, dev.examples, predictions)
    out = export_point(root, tmp_path / "home").folder

    found = Predictor.load(out).answers([(each.question, each.context) for each in dev.examples])
    assert [answers[0].text for answers in found] == [expected[number] for number in range(len(dev.examples))]

    asked = [{"question": each.question, "context": each.context} for each in dev.examples]
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    code = """
import json
asked = json.load(open("asked.json"))
with torch.no_grad():
    logits = model(**tokenizer(asked[0]["question"], asked[0]["context"], return_tensors="pt"))
logits = [logits.start_logits.tolist(), logits.end_logits.tolist()]
print(json.dumps([type(model).__name__, logits, [answer(**each) for each in asked]]))
"""
    kind, logits, answers = json.loads(elsewhere(usage_of(out) + code, folder=tmp_path))
    assert kind == "BertForQuestionAnswering"
    assert answers == [expected[number] for number in range(len(dev.examples))]
    np.testing.assert_allclose(logits, logits_inside(root, asked[0]), atol=1e-5)


@pytest.mark.parametrize("head", [{"kind": "crf", "pooling": "first"}, {"kind": "softmax", "pooling": "mean"}], ids=str)
def test_an_exported_tagger_gives_the_labels_of_the_sweep(sweep, tmp_path, head):
    # Enough for labels other than O.
    base = {"train": {"source": {"num_items": 96}, "epochs": 4}}
    changes = {"head": head, "base": base, "lineage": {"num_generations": 1, "epochs_per_generation": 10}}
    config, root = tag_point(**changes).config, sweep("tagging", **changes)
    dev, predictions = inside(root, config)
    expected = rejoin(dev.features, [tags for _, tags in sorted(predictions)])
    labels = [list(expected[number]) for number in range(len(dev.sentences))]
    out = export_point(root, tmp_path / "home").folder

    found = Predictor.load(out).labels([each.words for each in dev.sentences])
    assert [list(each.labels) for each in found] == labels
    assert len({label for each in labels for label in each}) > 1

    (tmp_path / "words.json").write_text(json.dumps([each.words for each in dev.sentences]))
    code = usage_of(out) + "import json\nprint(json.dumps([label(words) for words in json.load(open('words.json'))]))"
    assert json.loads(elsewhere(code, folder=tmp_path)) == labels


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_an_exported_encoder_gives_the_sentence_vectors_of_the_sweep(sweep, tmp_path, pooling):
    changes = {"distillation": {"multilevel": {"pooling": pooling}}}
    root = sweep("parallel", **changes)
    out = export_point(root, tmp_path / "home").folder
    (record,) = read_records(root).points
    artifact = Store(root).artifact(record.result.artifact)
    printed = elsewhere(
        usage_of(out) + "import json\nprint(json.dumps([sentences, vectors.tolist()]))", folder=tmp_path
    )
    sentences, vectors = json.loads(printed)
    tokenizer, model = load_tokenizer(str(artifact)), TASKS["parallel"].model.load(str(artifact)).eval()
    with torch.no_grad():
        expected = model(**tokenizer(sentences, padding=True, return_tensors="pt")).sentence
    assert pair_point(**changes).config.distillation.multilevel.pooling == model.pooling == pooling
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
