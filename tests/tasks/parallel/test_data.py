from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support.tiny_sweeps import pair_point

from raykd.config.keys import merged
from raykd.data.examples import LabelledPair, SentencePair
from raykd.errors import DataError
from raykd.tasks.parallel.config import MixingConfig, PairSource, ParallelPoint, ZeroShotConfig
from raykd.tasks.parallel.data import draw_epochs, hash_pairs, load_dev, load_items, load_train, load_zero_shot, rows_of

LINES = {
    "es": ["the city\tla ciudad", "a river\tun rio", "old\tvieja", "where ?\tdonde ?"],
    "no": ["the city\tbyen", "a river\ten elv", "cold\tkald"],
}
LABELLED = {
    "en": ["a\tb\tyes", "c\td\tno", "e\tf\tmaybe", "g\th\tyes"],
    "es": ["i\tj\tno", "k\tl\tyes", "m\tn\tyes"],
    "no": ["o\tp\tyes", "q\tr\tmaybe"],
}


def write(folder: Path, name: str, **lines: list[str]) -> None:
    for language, rows in lines.items():
        (folder / f"{name}.{language}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path) -> Path:
    write(tmp_path, "pairs", **LINES)
    write(tmp_path, "labelled", **LABELLED)
    return tmp_path


def config(**changes) -> ParallelPoint:
    """A point over the files of `folder`."""
    source = {"path": "pairs.{language}.tsv", "builtin": None, "num_items": None}
    data = {"train": source, "languages": ["es", "no"], "budget": "all"}
    files = {"data": data, "selection": {"source": source, "languages": ["no", "es"]}}
    return pair_point(**merged(files, changes)).config


def probe(**changes) -> ZeroShotConfig:
    sides = {name: PairSource(path="labelled.{language}.tsv") for name in ("train", "source")}
    return ZeroShotConfig(**{**sides, "languages": ("es", "en", "no"), **changes})


def zero_shot(folder: Path, *, seed: int = 0, **changes):
    return load_zero_shot(probe(**changes), pivot="en", seed=seed, folder=folder)


def ids(pairs) -> list[str]:
    return [pair.id for pair in pairs]


# What is read -----------------------------------------------------------------------------------------------------


def test_pairs_are_read_in_the_order_of_languages_with_what_was_left_out(folder):
    write(folder, "pairs", no=[*LINES["no"], "", "cold\tkald"])
    items = load_items(config().data, folder=folder)
    assert list(items.pairs) == ["es", "no"]
    assert items.pairs["no"][2] == SentencePair("no:000002", "no", "cold", "kald")
    assert ids(items.all()) == [f"es:{row:06d}" for row in range(4)] + [f"no:{row:06d}" for row in range(3)]
    assert items.counts["no"] == {"pairs": 3, "blank_lines": 1, "repeated_pairs": 1}


def test_a_file_may_name_a_language_by_another_code(folder):
    (folder / "pairs.no.tsv").rename(folder / "pairs.nob.tsv")
    items = load_items(config(data={"train": {"codes": {"no": "nob"}}}).data, folder=folder)
    assert items.pairs["no"][0].language == "no" and len(items.pairs["no"]) == 3


def test_all_that_is_wrong_in_all_languages_is_said_at_once(folder):
    (folder / "pairs.es.tsv").unlink()
    write(folder, "pairs", no=["one side"])
    with pytest.raises(DataError) as caught:
        load_items(config().data, folder=folder)
    assert sorted("pairs.no.tsv" in line for line in caught.value.problems) == [False, True]


def test_the_builtin_world_has_splits_of_its_own():
    point = pair_point().config
    read = load_items(point.data, folder=Path()), load_dev(point.selection, pivot="en", folder=Path())
    assert [items.all()[0].id for items in read] == ["sw-train-es-00000", "sw-dev-es-00000"]
    assert not {pair.english for pair in read[0].all()} & {pair.english for pair in read[1].all()}
    assert all(items.counts == {} for items in read)


# Budgets ----------------------------------------------------------------------------------------------------------


def test_a_budget_is_of_each_language_and_within_larger_ones():
    point = pair_point().config
    items = load_items(point.data, folder=Path())
    drawn = []
    for budget in (3, 12, 24):
        data = pair_point(data={"budget": budget}).config.data
        pairs, budgets = load_train(data, seed=5, items=items)
        assert {language: len(members) for language, members in pairs.items()} == {"es": budget, "zh": budget}
        assert all(set(budgets[language].ids) == set(ids(members)) for language, members in pairs.items())
        drawn.append({pair.id for members in pairs.values() for pair in members})
    assert drawn[0] < drawn[1] < drawn[2]
    other, _ = load_train(pair_point(data={"budget": 12}).config.data, seed=6, items=items)
    assert {pair.id for members in other.values() for pair in members} != drawn[1]


def test_a_budget_beyond_what_is_there_is_refused_for_all_languages_at_once(folder):
    items = load_items(config().data, folder=folder)
    with pytest.raises(DataError) as caught:
        load_train(config(data={"budget": 5}).data, seed=0, items=items)
    assert [line.partition(":")[0] for line in caught.value.problems] == ["es", "no"]


# Epochs -----------------------------------------------------------------------------------------------------------


def epochs(folder: Path, number: int = 3, *, seed: int = 0, **mixing):
    items = load_items(config().data, folder=folder)
    return draw_epochs(items.pairs, MixingConfig(**mixing), seed=seed, num_epochs=number)


def test_every_epoch_of_a_round_robin_has_every_pair_once_and_identities_as_asked(folder):
    pairs, drawn = epochs(folder)
    assert len(drawn) == 3 and all(epoch == drawn[0] for epoch in drawn)
    assert sorted(ids(pairs)) == sorted(drawn[0]) and len(set(drawn[0])) == len(drawn[0])
    same = [pair for pair in pairs if pair.language == "en"]
    assert len(same) == 4 and all(pair.english == pair.other for pair in same)
    assert sorted(ids(pair for pair in pairs if pair.language != "en")) == sorted(
        [f"es:{row:06d}" for row in range(4)] + [f"no:{row:06d}" for row in range(3)]
    )
    plain, _ = epochs(folder, identity=False)
    assert len(plain) == 7 and not any(pair.language == "en" for pair in plain)


def test_a_pair_that_comes_again_in_an_epoch_is_another_pair_of_the_same_texts(folder):
    # Equal shares of 7: Norwegian has 3 pairs, and 3 or 4 places.
    write(folder, "pairs", es=[f"word {row}\tpalabra {row}" for row in range(9)])
    pairs, drawn = epochs(folder, 4, kind="sampled", exponent=0, identity=False)
    known = {pair.id: pair for pair in pairs}
    assert len(known) == len(pairs) and all(len(set(epoch)) == len(epoch) == 12 for epoch in drawn)
    repeated = [name for epoch in drawn for name in epoch if "#" in name]
    assert repeated and {name.partition("#")[2] for name in repeated} == {"2"}
    for name in repeated:
        first, again = known[name.removesuffix("#2")], known[name]
        assert (again.language, again.english, again.other) == (first.language, first.english, first.other)
    for epoch in drawn:
        assert sum(name.startswith("no:") for name in epoch) == 6
        # The second time comes after the first one.
        assert all(epoch.index(name.removesuffix("#2")) < epoch.index(name) for name in epoch if "#" in name)


def test_a_pair_that_comes_in_several_epochs_is_one(folder):
    pairs, drawn = epochs(folder, 5, kind="sampled", exponent=1)
    assert set(ids(pairs)) == {name for epoch in drawn for name in epoch} and len(set(ids(pairs))) == len(pairs)
    assert sum(map(len, drawn)) > len(pairs)


@pytest.mark.parametrize("kind", ["round_robin", "sampled"])
def test_fewer_epochs_are_the_first_of_more_and_another_seed_has_others(folder, kind):
    few, many = (epochs(folder, number, kind=kind)[1] for number in (2, 4))
    assert few == many[:2]
    assert epochs(folder, 2, kind=kind, seed=1)[1] != few


# Evaluation -------------------------------------------------------------------------------------------------------


def test_evaluation_takes_a_fixed_sample_in_an_order_whose_beginning_is_a_smaller_one(folder):
    whole = load_dev(config().selection, pivot="en", folder=folder)
    assert {language: len(pairs) for language, pairs in whole.pairs.items()} == {"no": 3, "es": 4}
    samples = [
        load_dev(config(selection={"max_items": count}).selection, pivot="en", folder=folder).pairs
        for count in (1, 2, 3, 9)
    ]
    for smaller, larger in pairwise(samples):
        assert all(list(larger[language])[: len(pairs)] == list(pairs) for language, pairs in smaller.items())
    assert {language: len(pairs) for language, pairs in samples[-1].items()} == {"no": 3, "es": 4}
    other = config(selection={"max_items": 3, "seed": 4}).selection
    assert load_dev(other, pivot="en", folder=folder).pairs["es"] != samples[2]["es"]


def test_a_probe_is_fitted_on_english_and_scored_on_each_language(folder):
    items = zero_shot(folder)
    assert [pair.language for pair in items.train] == ["en"] * 4
    assert items.train[2] == LabelledPair("en:000002", "en", "e", "f", "maybe")
    assert {language: ids(pairs) for language, pairs in items.tests.items()} == {
        "es": ["es:000000", "es:000001", "es:000002"],
        "en": [f"en:{row:06d}" for row in range(4)],
        "no": ["no:000000", "no:000001"],
    }


def test_samples_of_labelled_pairs_are_fixed(folder):
    # Three of each label: whichever two are left out, a sample of seven has all labels.
    write(folder, "labelled", en=[f"{row}\tx\t{('yes', 'no', 'maybe')[row % 3]}" for row in range(9)])
    items = zero_shot(folder, max_train=7, max_items=2)
    assert len(items.train) == 7 and {len(pairs) for pairs in items.tests.values()} == {2}
    assert items == zero_shot(folder, max_train=7, max_items=2)
    drawn = {tuple(ids(zero_shot(folder, seed=seed, max_train=7).train)) for seed in range(8)}
    assert len(drawn) > 1


def test_labels_that_english_does_not_have_are_refused_for_all_languages_at_once(folder):
    write(folder, "labelled", en=["a\tb\tyes", "c\td\tno"], es=["a\tb\tsi", "c\td\talso"])
    with pytest.raises(DataError) as caught:
        zero_shot(folder)
    allowed = "the probe knows only no, yes; correct the label, or add training pairs with it"
    assert caught.value.problems == (
        f"labelled.es.tsv: line 1: label 'si': {allowed}",
        f"labelled.es.tsv: line 2: label 'also': {allowed}",
        f"labelled.no.tsv: line 2: label 'maybe': {allowed}",
    )


def test_probes_of_the_builtin_world_are_fitted_and_scored_on_other_names():
    source = PairSource(builtin="small-world", num_items=20)
    items = load_zero_shot(
        ZeroShotConfig(train=source, source=source, languages=("en", "zh")), pivot="en", seed=0, folder=Path()
    )
    assert (items.train[0].id, items.tests["zh"][0].id) == ("sw-base-en-00000", "sw-dev-zh-00000")
    assert len(items.train) == len(items.tests["en"]) == 20
    assert {pair.label for pair in items.train} == {pair.label for pair in items.tests["zh"]} == {"yes", "no"}


# Hashes and rows --------------------------------------------------------------------------------------------------


def test_a_hash_changes_with_every_field_and_with_the_order():
    pair = SentencePair("a", "es", "old", "vieja")
    others = [
        SentencePair(*(f"{value}x" if place == field else value for place, value in enumerate(fields)))
        for field in range(4)
        for fields in [("a", "es", "old", "vieja")]
    ]
    lists = [[pair], [pair, pair], [], [pair, others[0]], [others[0], pair], *([each] for each in others)]
    assert len({hash_pairs(pairs) for pairs in lists}) == len(lists)
    assert hash_pairs([pair]) == hash_pairs((SentencePair("a", "es", "old", "vieja"),))
    # Fields that run into each other are not the same fields.
    assert hash_pairs([SentencePair("a", "es", "ol", "dvieja")]) != hash_pairs([pair])


def test_rows_of_ids_leave_out_what_is_not_known():
    found = rows_of(["c", "x", "a", "c"], ["a", "b", "c"])
    assert found.tolist() == [2, 0, 2] and found.dtype == np.int64
    assert rows_of([], ["a"]).tolist() == []
