"""The task `tagging`: dev sets, scores, generation 0's scores, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.rescored import check_rebuilt
from support.tiny_sweeps import tag_point

from raykd.config.keys import merged
from raykd.data.examples import Sentence
from raykd.data.tags import label_set
from raykd.errors import ArtifactError, DataError
from raykd.models.qa import load_tokenizer
from raykd.models.tagging import TagHead, load_head, tiny_tag_model
from raykd.tasks import TASKS
from raykd.tasks.outcomes import Scored, Scores, record_outcomes
from raykd.tasks.tagging.data import TagItems
from raykd.tasks.tagging.sets import TagDevSet
from raykd.tasks.tagging.summary import score_predictions
from raykd.tasks.tagging.windows import build_tag_features
from raykd.tasks.task import Places

TASK = TASKS["tagging"]
LABELS = label_set(["LOC", "PER"], "iob2")
SELECTION = tag_point().config.selection


def sentence(name: str, words: str, tags: str) -> Sentence:
    return Sentence(name, name.partition("-")[0], tuple(words.split()), tuple(tags.split()))


SENTENCES = [
    sentence("en-0", "old city the river", "B-PER I-PER O B-LOC"),
    sentence("es-0", "river the", "B-LOC O"),
    sentence("en-1", "what the city", "O O B-LOC"),
    sentence("zh-0", "city old", "B-LOC O"),
    sentence("en-2", "where", "O"),
    sentence("es-1", "old river", "B-PER I-PER"),
]


def dev_set(tokenizer, sentences=SENTENCES, *, labels=LABELS, scheme="iob2", max_length=64, trained=("en", "es")):
    languages = tuple(dict.fromkeys(each.language for each in sentences))
    options = {"languages": languages, "labels": labels, "scheme": scheme, "max_length": max_length}
    features = build_tag_features(sentences, tokenizer, spare_chunks=False, **options)
    return TagDevSet(sentences, features, scheme, trained)


def predictions(dev: TagDevSet, **tags: str) -> list[tuple[int, list[int]]]:
    """Windows, last one first, with gold labels, or for the sentences named (`en_0`) with others."""
    wanted = {name.replace("_", "-"): words.split() for name, words in tags.items()}
    found = []
    for row in reversed(range(len(dev.features))):
        number, start = dev.features.sentence[row], dev.features.offset[row]
        words = wanted.get(dev.sentences[number].id, dev.sentences[number].tags)
        window = words[start : start + dev.features.word_counts[row]]
        found.append((row, [dev.features.labels.index(tag) for tag in window]))
    return found


def score(dev: TagDevSet, **tags: str) -> Scores:
    scored = TASK.learning.score(predictions(dev, **tags), dev, SELECTION)
    check_rebuilt(scored.outcomes, scored.scores)
    return scored.scores


# Scores -----------------------------------------------------------------------------------------------------------


def test_scores_worked_out_by_hand(wordpiece):
    # English: gold has 3 chunks; 2 are found, one of them too short: F1 = 2 * 1 / (3 + 2). Spanish: all. Chinese: none.
    found = score(dev_set(wordpiece), en_0="B-PER O O B-LOC", en_1="O O O", zh_0="O O")
    assert found.values["f1_en"] == pytest.approx(40) and found.values["f1_es"] == 100 and found.values["f1_zh"] == 0
    assert found.values["f1"] == pytest.approx((40 + 100) / 2)
    assert found.values["zero_shot_f1"] == 0
    assert (found.main, found.metric) == ("f1", "f1")
    assert found.cells["en"]["num_sentences"] == 3
    assert found.cells["en"]["accuracy"] == pytest.approx(100 * 6 / 8)
    assert found.columns == {
        "f1": "F1",
        "zero_shot_f1": "zero-shot F1",
        "f1_en": "en",
        "f1_es": "es",
        "f1_zh": "zh (zero-shot)",
    }


def test_every_language_weighs_the_same_whatever_its_size(wordpiece):
    dev = dev_set(wordpiece, trained=("en",))
    found = score(dev, es_0="O O", es_1="O O")
    assert (found.values["f1"], found.values["f1_es"], found.values["zero_shot_f1"]) == (100, 0, 50)


def test_without_a_language_of_training_the_zero_shot_mean_is_the_main_score(wordpiece):
    found = score(dev_set(wordpiece, trained=("de",)), en_1="O O O")
    assert found.values["f1"] is None and found.main == "zero_shot_f1"
    assert next(iter(found.columns)) == "zero_shot_f1" and "f1" not in found.columns
    assert found.values["zero_shot_f1"] == pytest.approx((80 + 100 + 100) / 3)


def test_parts_of_speech_are_scored_by_accuracy(wordpiece):
    sentences = [sentence("en-0", "the old city", "DET ADJ NOUN"), sentence("zh-0", "city old", "NOUN ADJ")]
    dev = dev_set(wordpiece, sentences, labels=("ADJ", "DET", "NOUN"), scheme="none", trained=("en",))
    found = score(dev, en_0="DET DET NOUN")
    assert (found.main, found.metric) == ("accuracy", "accuracy")
    assert found.values["accuracy"] == found.values["accuracy_en"] == pytest.approx(200 / 3)
    assert found.values["zero_shot_accuracy"] == 100
    assert list(found.columns.values())[:2] == ["accuracy", "zero-shot accuracy"]


@pytest.mark.parametrize("max_length", [3, 4, 5, 64])
def test_the_windows_of_a_split_sentence_are_scored_as_one(wordpiece, max_length):
    # Chunks that a border goes through are hit only if both windows are right.
    dev = dev_set(wordpiece, max_length=max_length)
    assert len(dev.features) == {3: 14, 4: 8, 5: 7, 64: 6}[max_length]
    found = score(dev, en_1="O B-PER I-PER")
    assert found.values["f1_en"] == pytest.approx(200 * 2 / 6)
    assert found.values["f1_es"] == found.values["f1_zh"] == 100
    assert found.cells["en"]["num_sentences"] == 3


def test_the_first_sentences_of_every_language_come_with_all_their_windows(wordpiece):
    whole = dev_set(wordpiece, max_length=3)
    for count, ids in ((1, ["en-0", "es-0", "zh-0"]), (2, ["en-0", "es-0", "en-1", "zh-0", "es-1"])):
        part = whole.first(count)
        kept = [part.sentences[number].id for number in dict.fromkeys(part.features.sentence)]
        assert kept == ids
        assert part.features.ids == tuple(name for name in whole.features.ids if name.split("#")[0] in ids)
        found = score(part, en_0="O O O O")
        assert [found.cells[each]["num_sentences"] for each in ("en", "es", "zh")] == [count, count, 1]
        assert found.values["f1_en"] == (0 if count == 1 else 50)


def test_more_first_sentences_than_there_are_is_all_of_them(wordpiece):
    whole = dev_set(wordpiece)
    assert whole.first(99).features.ids == whole.features.ids


# Generation 0 -----------------------------------------------------------------------------------------------------


def cells(metric: str = "f1", **scores: float) -> Scored:
    """Three sentences a language, the third of which has all of its 100 entities; students are trained on en and es."""
    found = {name: {"f1": score, "accuracy": score / 2, "num_sentences": 3} for name, score in scores.items()}
    values = {name: (["a", "b", "c"], [[0, 0, 0], [0, 0, 0], [score, 100, 100]]) for name, score in scores.items()}
    groups = {metric: [name for name in scores if name in ("en", "es")]}
    outcomes = record_outcomes(values, statistic="f1", unit="sentence", scores=groups)
    return Scored(Scores(main=metric, metric=metric, columns={}, values={}, cells=found), outcomes)


def test_generation_0_is_each_language_by_its_own_teacher_and_the_others_by_the_best():
    found = TASK.learning.combine({
        "en": cells(en=80, es=99, zh=10, de=30),
        "es": cells(en=90, es=60, zh=20, de=5),
    }).scores  # fmt: skip
    assert {name: cell["f1"] for name, cell in found.cells.items()} == {"en": 80, "es": 60, "zh": 20, "de": 30}
    assert (found.values["f1"], found.values["zero_shot_f1"], found.main) == (70, 25, "f1")


def test_generation_0_counts_the_languages_of_its_students_whoever_has_a_teacher():
    found = TASK.learning.combine({"en": cells(en=80, es=60, zh=10)}).scores
    assert (found.values["f1"], found.values["zero_shot_f1"]) == (70, 10)
    found = TASK.learning.combine({"en": cells(en=80, es=60, zh=10), "zh": cells(en=0, es=0, zh=90)}).scores
    assert (found.values["f1"], found.values["zero_shot_f1"]) == (70, 90)


def test_a_teacher_whose_language_is_not_scored_still_counts_for_the_others():
    found = TASK.learning.combine({"en": cells(en=80, zh=10), "es": cells(en=90, zh=20)}).scores
    assert (found.values["f1"], found.values["zero_shot_f1"]) == (80, 20)


def test_the_best_teacher_is_best_in_the_main_metric():
    teachers = {"en": cells("accuracy", en=80, zh=10), "es": cells("accuracy", en=80, zh=20)}
    found = TASK.learning.combine(teachers).scores
    assert (found.main, found.values["accuracy"], found.values["zero_shot_accuracy"]) == ("accuracy", 40, 10)


def test_one_teacher_of_all_languages_speaks_for_itself():
    scored = cells(en=1)
    assert TASK.learning.combine({None: scored}) is scored


def test_the_outcomes_of_generation_0_are_those_of_the_teachers_that_its_scores_come_from():
    found = TASK.learning.combine({"en": cells(en=80, es=99, zh=10), "es": cells(en=90, es=60, zh=20)})
    assert [found.outcomes.cells[name].values[2][0] for name in ("en", "es", "zh")] == [80, 60, 20]
    check_rebuilt(found.outcomes, found.scores)


# Models and data --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, small_world_tokenizer) -> Path:
    """A tagging model of the built-in world's labels."""
    labels = label_set(["LOC", "PER", "RIVER"], "bioes")
    made = tiny_tag_model(small_world_tokenizer, TagHead(labels), seed=0)
    made.save_pretrained(tmp_path, state_dict=made.state_dict())
    small_world_tokenizer.save_pretrained(tmp_path)
    return tmp_path


def test_the_tiny_model_has_the_head_that_is_asked_for(small_world_tokenizer):
    config = tag_point(head={"lstm_size": 4, "pooling": "mean", "freeze_encoder": True}).config
    items = TASK.data.items(config, folder=Path()).all
    made = [TASK.model.tiny(config, small_world_tokenizer, items=items, seed=seed) for seed in (1, 1, 2)]
    assert made[0].head == TagHead(items.labels(), "crf", "mean", 4, True)
    assert torch.equal(made[0].emissions.weight, made[1].emissions.weight)
    assert not torch.equal(made[0].emissions.weight, made[2].emissions.weight)


def test_the_train_set_of_a_point_holds_its_budget_in_each_language(folder, small_world_tokenizer):
    config = tag_point().config
    items = TASK.data.items(config, folder=folder).all
    train = TASK.data.train_set(config, small_world_tokenizer, items=items, places=Places(folder, folder, folder))
    assert TASK.learning.teacher_features(train, small_world_tokenizer, first=True) is train.features
    assert [len(train.features.of_language(each)) for each in ("en", "es")] == [12, 12]
    assert train.features.labels == load_head(str(folder)).labels
    assert set(train.description["budgets"]) == {"en", "es"}
    assert train.description["windows"]["sentences"] == 24


def test_the_dev_set_of_a_point_names_the_languages_of_training(folder, small_world_tokenizer):
    dev = TASK.data.scored_set(
        tag_point().config, SELECTION, small_world_tokenizer, places=Places(folder, folder, folder)
    )
    assert dev.trained == ("en", "es") and dev.features.languages == ("en", "es", "zh")
    assert len(dev.sentences) == 3 * 8


def test_a_tag_that_is_no_label_is_a_chunk_that_no_prediction_hits(folder, small_world_tokenizer):
    (folder / "new.txt").write_text("Ada B-PER\nwrote O\nACL B-CONF\n\nBo B-PER\n")
    source = {"path": "new.txt", "builtin": None, "num_items": None}
    config = tag_point(selection={"source": source, "languages": ["en"], "unknown_tags": "miss"}).config
    places = Places(folder, folder, folder)
    dev = TASK.data.scored_set(config, config.selection, small_world_tokenizer, places=places)
    labels = dev.features.labels
    numbers = [labels.index("S-PER"), labels.index("O"), labels.index("S-LOC")]
    scores = score_predictions([(0, numbers), (1, numbers[:1])], dev).scores
    # 3 chunks in gold, 3 predicted, 2 hit; 3 of 4 words.
    assert scores.cells["en"]["f1"] == pytest.approx(200 / 3) and scores.cells["en"]["accuracy"] == 75.0
    refusing = config.selection.model_copy(update={"unknown_tags": "refuse"})
    with pytest.raises(DataError, match=r"new.txt: line 3: tag 'S-CONF' is not one of"):
        TASK.data.scored_set(config, refusing, small_world_tokenizer, places=places)


def test_a_given_model_with_other_labels_than_those_that_are_named_is_refused(folder):
    point = given(labels=["LOC", "PER"])
    items = TagItems({}, "bioes", {}, point.head.labels)
    with pytest.raises(DataError, match=r"head.labels stand for O, B-LOC, .*, the model has O, B-LOC, .*B-RIVER"):
        TASK.model.given(point, str(folder), items=items)


def test_a_long_sentence_is_cut_and_counted(folder, small_world_tokenizer):
    config = tag_point(data={"max_length": 16}).config
    items = TASK.data.items(config, folder=folder).all
    train = TASK.data.train_set(config, small_world_tokenizer, items=items, places=Places(folder, folder, folder))
    assert train.features.lengths.max() <= 16
    assert train.description["windows"]["split_sentences"] > 0
    dev = TASK.data.scored_set(config, config.selection, small_world_tokenizer, places=Places(folder, folder, folder))
    perfect = TASK.learning.score(predictions(dev), dev, config.selection).scores
    assert perfect.values["f1"] == perfect.values["zero_shot_f1"] == 100


def test_teachers_read_their_language_or_all(folder, small_world_tokenizer):
    config, model = tag_point().config, TASK.model.load(str(folder))
    parts = {
        language: TASK.labelled.labelled(config, small_world_tokenizer, model, folder=folder, language=language)
        for language in ("en", "es", None)
    }
    assert [len(features) for features, _ in parts.values()] == [24, 24, 48]
    assert parts["es"][0].languages == ("es",) and parts[None][0].languages == ("en", "es")
    assert len({digest for _, digest in parts.values()}) == 3


def test_a_teacher_with_other_labels_is_refused_and_both_sides_are_named(
    folder, small_world_tokenizer, tmp_path_factory
):
    other = tmp_path_factory.mktemp("other")
    labels = load_head(str(folder)).labels
    for wrong in (labels[:-1], (labels[1], labels[0], *labels[2:])):
        made = tiny_tag_model(small_world_tokenizer, TagHead(wrong), seed=0)
        made.save_pretrained(other, state_dict=made.state_dict())
        with pytest.raises(ArtifactError) as caught:
            TASK.model.check_alike(other, folder)
        (line,) = caught.value.problems
        assert line.startswith(f"{other}: its labels are {', '.join(wrong)}; those of this lineage ({folder}) are ")
        assert f"({folder}) are {', '.join(labels)}: " in line
    TASK.model.check_alike(folder, folder)


def test_a_given_model_gets_a_new_head_where_teachers_are_trained_and_keeps_its_own_otherwise(folder):
    trained = tag_point(head={"kind": "softmax"}, distillation={"objective": "posterior"}).config
    items = TASK.data.items(trained, folder=folder).all
    assert TASK.model.given(trained, str(folder), items=items)[0].head == TagHead(items.labels(), "softmax")
    kept, _ = TASK.model.given(given(), str(folder), items=items)
    weights = TASK.model.load(str(folder)).emissions.weight
    assert torch.equal(kept.emissions.weight, weights)


def given(**head):
    """A point that takes a model as it is."""
    raw = merged(tag_point().config.model_dump(mode="json"), {"base": {"train": None}, "head": head})
    return type(tag_point().config).model_validate(raw)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ({"kind": "softmax"}, "head.kind is 'softmax' in the sweep file and 'crf' in the model"),
        ({"pooling": "mean"}, "head.pooling is 'mean' in the sweep file and 'first' in the model"),
        ({"lstm_size": 8}, "head.lstm_size is 8 in the sweep file and null in the model"),
    ],
)
def test_a_given_model_whose_head_is_not_the_files_is_refused(folder, head, said):
    # Objectives are checked against the head in the file.
    with pytest.raises(DataError, match=said):
        TASK.model.given(given(**head), str(folder), items=None)


def test_a_given_model_is_frozen_as_the_file_says(folder):
    frozen, _ = TASK.model.given(given(freeze_encoder=True), str(folder), items=None)
    assert frozen.head.frozen_encoder
    assert not any(parameter.requires_grad for parameter in frozen.encoder.parameters())
    assert torch.equal(frozen.emissions.weight, TASK.model.load(str(folder)).emissions.weight)


@torch.no_grad()
def test_what_is_stored_of_a_teacher_is_what_its_crf_needs(folder, small_world_tokenizer):
    model = TASK.model.load(str(folder)).eval()
    dev = TASK.data.scored_set(
        tag_point().config, SELECTION, load_tokenizer(str(folder)), places=Places(folder, folder, folder)
    )
    batch = dev.features.collate(np.array([0, 5]))
    outputs = model(**TASK.model.inputs(batch))
    assert list(TASK.learning.signals(outputs)) == list(TASK.learning.outputs)
    assert TASK.learning.signals(outputs)["emissions"].dtype == torch.float32
    shapes = {name: list(values.shape) for name, values in TASK.learning.constants(outputs).items()}
    assert shapes == {"between": [13, 13], "start": [13], "end": [13]}
    softmax = tiny_tag_model(small_world_tokenizer, TagHead(("A", "B"), "softmax"), seed=0)
    assert TASK.learning.constants(softmax(**TASK.model.inputs(batch))) == {}
