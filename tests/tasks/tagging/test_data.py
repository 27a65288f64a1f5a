from pathlib import Path

import pytest
from support.tiny_sweeps import tag_point

from raykd.config.keys import merged
from raykd.data.examples import Sentence
from raykd.data.tags import label_set
from raykd.errors import DataError
from raykd.tasks import TASKS
from raykd.tasks.tagging.data import TagItems, hash_sentences, load_dev, load_items, load_labelled, load_train

BLOCKS = {
    "en": ["Ada B-PER\nwrote O", "Rome B-LOC\nis O\nold O", "it O\nrained O", "Bo B-PER\nReed I-PER\nran O"],
    "es": ["Ana B-PER\ncorre O", "Lima B-LOC", "llueve O", "el O\nAmazonas B-RIV"],
    "no": ["Oslo B-LOC\ner O\nkald O", "ja O", "nei O", "Kari B-PER\nler O"],
}


def write(folder: Path, **blocks: list[str]) -> None:
    for name, sentences in blocks.items():
        (folder / f"{name}.txt").write_text("\n\n".join(sentences) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path) -> Path:
    write(tmp_path, **BLOCKS)
    return tmp_path


def config(*, languages=("en", "es"), rows=None, columns=None, **changes):
    """A point over the files of `folder`."""
    source = {"path": "{language}.txt", "rows": rows, "builtin": None, "num_items": None}
    data = {"train": source, "languages": languages, "budget": "all", "columns": columns or {}}
    evaluation = {"source": {**source, "rows": None}, "languages": (*languages, *({"no"} - {*languages}))}
    base = {"train": {"source": {**source, "rows": None}}}
    return tag_point(**merged({"data": data, "selection": evaluation, "base": base}, changes)).config


def drawn(point, items: TagItems, *, seed: int = 0) -> dict[str, list[str]]:
    """Language -> ids of its drawn sentences."""
    sentences, budgets = load_train(point.data, seed=seed, items=items)
    found = {language: [each.id for each in sentences if each.language == language] for language in budgets}
    assert {language: set(ids) for language, ids in found.items()} == {
        language: set(budget.ids) for language, budget in budgets.items()
    }
    return found


# What is read -----------------------------------------------------------------------------------------------------


def test_files_are_read_in_the_order_of_languages_and_encoded_as_bioes(folder):
    items = load_items(config().data, folder=folder)
    assert list(items.sentences) == ["en", "es"]
    assert items.sentences["en"][3] == Sentence("en-000003", "en", ("Bo", "Reed", "ran"), ("B-PER", "E-PER", "O"))
    assert [sentence.language for sentence in items.all()] == ["en"] * 4 + ["es"] * 4
    assert items.scheme == "bioes" and items.counts["es"]["sentences"] == 4


@pytest.mark.parametrize("languages", [("en", "es", "no"), ("no", "es", "en"), ("es", "no", "en")])
def test_labels_are_the_same_in_every_order_of_languages(folder, languages):
    items = load_items(config(languages=languages).data, folder=folder)
    # RIV is in Spanish alone. All tags that a type can have are labels, seen or not.
    assert items.labels() == label_set(["PER", "RIV", "LOC"], "bioes")
    assert items.labels()[:3] == ("O", "B-LOC", "I-LOC") and len(items.labels()) == 13


def test_types_can_be_dropped(folder):
    items = load_items(config(columns={"drop_types": True}).data, folder=folder)
    assert items.labels() == ("O", "B", "I", "E", "S")


def test_words_with_a_tag_each_stay_as_they_are(tmp_path):
    write(tmp_path, en=["a DET\ndog NOUN", "I PRON"], es=["un DET\nperro NOUN"])
    items = load_items(config().data, folder=tmp_path)
    assert (items.scheme, items.labels()) == ("none", ("DET", "NOUN", "PRON"))


def test_languages_of_chunks_and_of_words_do_not_mix(tmp_path):
    write(tmp_path, en=["a DET\ndog NOUN"], es=["Ana B-PER\ncorre O"])
    with pytest.raises(DataError, match=r"some languages have chunks and some have a tag for each word .*data.columns"):
        load_items(config().data, folder=tmp_path)


@pytest.mark.parametrize("rows", [(0, 2), (1, 3), (3, 9)])
def test_rows_are_a_slice_of_every_language_with_their_own_ids(folder, rows):
    whole = load_items(config().data, folder=folder).sentences
    cut = load_items(config(rows=rows).data, folder=folder).sentences
    assert cut == {language: members[rows[0] : rows[1]] for language, members in whole.items()}


def test_rows_beyond_the_end_are_refused_with_what_is_there(folder):
    write(folder, es=BLOCKS["es"][:1])
    with pytest.raises(DataError, match=r"\{language\}.txt: rows 2 to 9 have no sentence of es \(1 there\)"):
        load_items(config(rows=(2, 9)).data, folder=folder)


def test_an_empty_language_is_refused_by_the_name_of_its_file(folder):
    (folder / "es.txt").write_text("\n\n")
    with pytest.raises(DataError) as caught:
        load_items(config().data, folder=folder)
    assert caught.value.problems == (f"{folder / 'es.txt'}: no sentences",)


def test_all_that_is_wrong_in_all_languages_is_said_at_once(folder):
    (folder / "en.txt").unlink()
    (folder / "es.txt").write_text("Ana B-PER\ncorre\n")
    with pytest.raises(DataError) as caught:
        load_items(config().data, folder=folder)
    missing, cut = sorted(caught.value.problems, key=lambda line: "es.txt" in line)
    assert "en.txt: not found" in missing
    assert "es.txt: line 2: 1 space-separated columns" in cut and "need 2" in cut


@pytest.mark.parametrize("load", ["dev", "labelled"])
def test_a_tag_that_students_do_not_know_is_refused_with_file_and_line(folder, load):
    point, labels = config(), label_set(["PER", "LOC"], "bioes")
    with pytest.raises(DataError) as caught:
        if load == "dev":
            load_dev(point.selection, point.data.columns, folder=folder, labels=labels)
        else:
            load_labelled(point.base.train, point.data, languages=("en", "es"), folder=folder, labels=labels)
    (line,) = caught.value.problems
    assert line.startswith(f"{folder / 'es.txt'}: line 9: tag 'S-RIV' is not one of B-LOC, ")


def test_labels_can_be_named_whether_training_has_them_or_not(folder):
    head = {"labels": ["PER", "LOC", "RIV", "ORG"]}
    items = TASKS["tagging"].data.items(config(head=head), folder=folder).all
    assert items.labels() == label_set(["PER", "LOC", "RIV", "ORG"], "bioes")
    point = config(head={"labels": ["PER", "LOC"]})
    with pytest.raises(DataError) as caught:
        TASKS["tagging"].data.items(point, folder=folder)
    (line,) = caught.value.problems
    allowed = "B-LOC, B-PER, E-LOC, E-PER, I-LOC, I-PER, O, S-LOC, S-PER"
    assert line == f"{folder / 'es.txt'}: line 9: tag 'S-RIV' is not one of {allowed}"


def test_rows_are_taken_before_tags_are_looked_at(folder):
    write(folder, es=[*BLOCKS["es"][:3], "el O\nAmazonas Z-RIV"])
    with pytest.raises(DataError, match="line 9: tag 'Z-RIV'"):
        load_items(config().data, folder=folder)
    assert load_items(config(rows=(0, 3)).data, folder=folder).labels() == label_set(["PER", "LOC"], "bioes")


def test_a_tag_that_is_no_label_is_read_where_it_counts_as_missed(folder):
    point, labels = config(selection={"unknown_tags": "miss"}), label_set(["PER", "LOC"], "bioes")
    found = load_dev(point.selection, point.data.columns, folder=folder, labels=labels)
    assert found.sentences["es"][3].tags == ("O", "S-RIV")


def test_the_builtin_world_has_splits_of_its_own():
    point = tag_point().config
    items = load_items(point.data, folder=Path())
    dev = load_dev(point.selection, point.data.columns, folder=Path())
    base = load_labelled(point.base.train, point.data, languages=("en",), folder=Path())
    assert [sentence.id.split("-")[1] for sentence in (items.all()[0], dev.all()[0], base.all()[0])] == [
        "train", "dev", "base"
    ]  # fmt: skip
    assert list(dev.sentences) == ["en", "es", "zh"] and list(base.sentences) == ["en"]
    assert {len(members) for members in items.sentences.values()} == {24}


# What is drawn ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_budgets_are_nested_in_every_language(seed):
    items = load_items(tag_point().config.data, folder=Path())
    found = [drawn(tag_point(data={"budget": size}).config, items, seed=seed) for size in (3, 8, 24, "all")]
    assert [len(each["es"]) for each in found] == [3, 8, 24, 24]
    for language in ("en", "es"):
        sets = [set(each[language]) for each in found]
        assert sets[0] < sets[1] < sets[2] == sets[3]


def test_the_draw_follows_the_seed_and_not_the_order_of_languages():
    point = tag_point(data={"budget": 5}).config
    items = load_items(point.data, folder=Path())
    turned = TagItems(dict(reversed(items.sentences.items())), items.scheme, items.counts)
    assert drawn(point, items, seed=1) == drawn(point, turned, seed=1)
    assert drawn(point, items, seed=1) != drawn(point, items, seed=2)


def test_drawn_sentences_keep_the_order_of_their_file():
    ids = drawn(tag_point(data={"budget": 8}).config, load_items(tag_point().config.data, folder=Path()))["en"]
    assert ids == sorted(ids)


def test_a_budget_that_two_languages_cannot_give_is_refused_for_both(folder):
    write(folder, es=BLOCKS["es"][:3])
    point = config(languages=("en", "es", "no"))
    items = load_items(point.data, folder=folder)
    with pytest.raises(DataError) as caught:
        load_train(point.data.model_copy(update={"budget": 4}), seed=0, items=items)
    assert [line.split(":")[0] for line in caught.value.problems] == ["es"]
    with pytest.raises(DataError) as caught:
        load_train(point.data.model_copy(update={"budget": 9}), seed=0, items=items)
    assert [line.split(":")[0] for line in caught.value.problems] == ["en", "es", "no"]


def test_dev_samples_are_fixed_and_nested_and_the_same_for_all_points():
    def ids(**changes) -> dict[str, list[str]]:
        point = tag_point(**changes).config
        dev = load_dev(point.selection, point.data.columns, folder=Path())
        return {language: [each.id for each in members] for language, members in dev.sentences.items()}

    three, five = ids(selection={"max_items": 3}), ids(selection={"max_items": 5}, seed=9)
    assert {language: members[:3] for language, members in five.items()} == three
    assert {len(members) for members in ids(selection={"max_items": 100}).values()} == {8}
    assert ids(selection={"max_items": 3, "seed": 1}) != three


# What a sweep's check reads ---------------------------------------------------------------------------------------


def test_the_reader_counts_the_smallest_language_and_its_hashes_tell_data_apart(folder):
    write(folder, es=BLOCKS["es"][:2])
    reader, point = TASKS["tagging"].data, config()
    items = reader.items(point, folder=folder)
    assert items.count == 2
    with pytest.raises(DataError, match="es: budget 3: 2 items are available"):
        reader.draw(point.model_copy(update={"data": point.data.model_copy(update={"budget": 3})}), items.all)
    write(folder, es=[*BLOCKS["es"][:1], "Lima O"])
    assert reader.items(point, folder=folder).sha256 != items.sha256


def test_the_reader_checks_every_set_that_is_scored(folder):
    (folder / "test").mkdir()
    write(folder / "test", en=["Ada B-ORG"], es=BLOCKS["es"], no=BLOCKS["no"])
    point = config(tests={"other": {"source": {"path": "test/{language}.txt"}, "languages": ["en", "es"]}})
    reader = TASKS["tagging"].data
    items = reader.items(point, folder=folder).all
    assert reader.content(point, point.selection, items, folder=folder).count == 12
    with pytest.raises(DataError, match=r"test/en.txt: line 1: tag 'S-ORG' is not one of"):
        reader.content(point, point.tests["other"], items, folder=folder)


def test_hashes_see_words_tags_ids_and_languages():
    plain = Sentence("en-0", "en", ("a", "b"), ("O", "O"))
    others = [
        Sentence("en-1", "en", ("a", "b"), ("O", "O")),
        Sentence("en-0", "es", ("a", "b"), ("O", "O")),
        Sentence("en-0", "en", ("ab",), ("O",)),
        Sentence("en-0", "en", ("a", "b"), ("O", "B-X")),
    ]
    assert len({hash_sentences([each]) for each in (plain, *others)}) == 5
    assert hash_sentences([plain, *others]) != hash_sentences([*others, plain])
