"""What a model card says."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from support.tiny_sweeps import pair_point, point, tag_point

from raykd.config.base import Schedule
from raykd.export.card import Subject, _is_hub_id, model_card
from raykd.export.folder import export_point
from raykd.export.method import knobs, method
from raykd.models.qa import load_qa_model
from raykd.results.artifacts import ArtifactRecord
from raykd.results.records import read_records
from raykd.results.sweep import SweepDescription


@pytest.fixture
def card(sweep, tmp_path):
    """Exports a sweep's point and reads the card, as the Hub does."""

    def read(task: str) -> ModelCard:
        return ModelCard.load(export_point(sweep(task), tmp_path / "home").folder / "README.md")

    return read


def test_the_front_matter_of_a_qa_model_is_what_the_hub_reads(card, sweep):
    data = card("qa").data
    (record,) = read_records(sweep("qa")).points
    assert data.language == ["en", "es", "zh"]
    assert (data.library_name, data.pipeline_tag, data.base_model) == ("transformers", "question-answering", None)
    assert data.license is None
    results = {result.metric_name: (result.metric_type, result.metric_value) for result in data.eval_results}
    scores = record.result.scores
    assert results["G-XLT F1"] == ("f1", round(scores.values["gxlt_f1"], 2))
    assert results["XLT EM"] == ("exact_match", round(scores.values["xlt_exact_match"], 2))


def test_a_card_tells_scores_of_every_cell_lineage_data_cost_and_limits(card, sweep):
    text = card("qa").text
    (record,) = read_records(sweep("qa")).points
    result = record.result
    for cell in result.scores.cells.values():
        assert f" {cell['f1']:.1f} " in text
    for generation in result.generations:
        assert f"`{generation.artifact}`" in text
    assert f"`{record.description.base}`" in text and result.data_sha256 in text
    assert "budget 8 parallel questions" in text and "It always answers" in text
    assert f"{result.train_seconds:.0f} s of training on 1 worker" in text
    assert "for trials only" in text


def test_a_card_of_a_tagger_names_zero_shot_languages_and_where_the_transitions_are(card):
    read = card("tagging")
    assert read.data.language == ["en", "es"] and read.data.pipeline_tag == "token-classification"
    assert "Zero-shot, never trained on: zh" in read.text and "tag_head.safetensors" in read.text


def test_a_card_of_an_encoder_counts_english_in_and_says_how_sentences_become_vectors(card):
    read = card("parallel")
    assert read.data.language == ["en", "es", "zh"] and read.data.pipeline_tag == "feature-extraction"
    assert "Its sentence vector is the hidden state of the first token" in read.text
    assert "effective_rank" not in str(read.data) and "effective rank" in read.text


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("google-bert/bert-base-cased", True),
        ("builtin:tiny", False),
        ("./models/mine", False),
        ("../mine", False),
        ("/models", False),
        ("runs/a/b", False),
        ("runs/first#best", False),
        ("package:some/model", False),
    ],
)
def test_only_a_base_model_of_the_hub_is_named_as_one(name, is_one):
    assert _is_hub_id(name) == is_one


def test_a_card_says_which_commits_of_the_hub_were_read(sweep):
    records = read_records(sweep("qa"))
    (record,) = records.points
    commits = {"commit of dataset google/xquad@main": "0123abc", "data xquad": "a hash of items"}
    described = replace(records, description=replace(records.description, data=commits))
    pinned = point(base={"model": "google-bert/bert-base-multilingual-cased@v1"}).config
    model = load_qa_model(str(records.root / "artifacts" / record.result.artifact))
    kind = ArtifactRecord(kind="generation")
    text = model_card(Subject(described, record, pinned, kind, record.result, model, "pass", has_onnx=False))
    assert "On the Hub, dataset google/xquad@main was commit `0123abc`" in text and "a hash of items" not in text
    assert "base_model: google-bert/bert-base-multilingual-cased\n" in text


def test_methods_in_words():
    fading = Schedule(start=1, end=0)
    skd = point(
        distillation={"coefficient": "map_at_k", "k": 5, "temperature": 4, "kd_weight": fading.model_dump()}
    ).config
    assert "over 2 generations of 1 epoch." in method(skd)
    assert list(knobs(skd))[:2] == [
        "label term: weight 1",
        "KD term: weight 1 to 0 (linear, until 1 of the lineage); forward KL of start and end at temperature 4, "
        "weighted for each example by the teacher's average precision at 5",
    ]
    baseline = point(distillation={"kd_weight": 0}).config
    assert method(baseline).startswith("A baseline of self-distillation")
    assert len(list(knobs(baseline))) == 3
    tagger = tag_point(distillation={"objective": "top_wk", "k": 3}, lineage={"min_delta": 0.5}).config
    assert "objective top_wk, 3 paths" in list(knobs(tagger))[1] and "rose by 0.5 points" in list(knobs(tagger))[2]
    assert "word 1, sentence 1, structure 10" in list(knobs(pair_point().config))[1]
    assert "Its teacher is `builtin:tiny`." in method(pair_point(lineage={"num_generations": 1}).config)


def test_a_card_without_scores_of_generation_0_or_versions_is_written_all_the_same(sweep):
    records = read_records(sweep("qa"))
    (record,) = records.points
    bare = type(records)(records.root, SweepDescription(name="bare"), records.points, ())
    model = load_qa_model(str(records.root / "artifacts" / record.result.artifact))
    text = model_card(
        Subject(
            bare,
            record,
            point().config,
            ArtifactRecord(kind="generation"),
            record.result,
            model,
            "pass",
            has_onnx=False,
        )
    )
    assert "| XLT F1 |" in text and "generation 0 |" not in text
