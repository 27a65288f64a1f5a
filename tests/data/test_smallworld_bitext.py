"""The sentence pairs of the small world are translations, differ, are repeatable and need their names."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from raykd.data import smallworld_bitext
from raykd.data.smallworld_bitext import labelled, pairs
from raykd.data.smallworld_names import LANGUAGES, SPLITS
from raykd.data.smallworld_phrases import PHRASES, RELATIONS
from raykd.errors import DataError

OTHERS = tuple(language for language in LANGUAGES if language != "en")


def parsed(text, language):
    """Relation and the names or years in a sentence, found by trying every pattern of the language."""
    found = set()
    for relation, phrases in PHRASES[language].items():
        for statement in phrases.statements:
            pattern = re.escape(re.sub(r"\[.*?\]|<.*?>", "@", statement)).replace("@", r"\S*")
            sides = re.fullmatch(pattern.replace(r"\{s\}", r"(?P<s>\S+)").replace(r"\{a\}", r"(?P<a>\S+)"), text)
            if sides:
                found.add((relation, sides["s"], sides["a"]))
    return found


def names_in(sentences):
    return {word for text in sentences for word in re.findall(r"\b[A-Z]\w+", text)} - {"The", "In"}


def test_a_pair_states_one_fact_in_every_language():
    found = pairs("train", 300, languages=OTHERS)
    assert tuple(found) == OTHERS
    relations = set()
    for number, parallel in enumerate(zip(*found.values(), strict=True)):
        assert len({pair.english for pair in parallel}) == 1
        ((relation, subject, answer),) = parsed(parallel[0].english, "en")
        relations.add(relation)
        for pair in parallel:
            assert pair.id == f"sw-train-{pair.language}-{number:05d}"
            assert relation in {name for name, _, _ in parsed(pair.other, pair.language)}
            if pair.language in ("es", "de"):
                assert (relation, subject, answer) in parsed(pair.other, pair.language)
            if answer.isdigit():
                assert answer in pair.other
    assert relations == set(PHRASES["en"])


def test_the_first_pairs_stay_what_they_are():
    found = pairs("train", 2, languages=("de", "zh"))
    assert [(pair.english, pair.other) for pair in found["zh"]] == [
        ("The birth of Sila was in 1719.", "西拉出生于1719年。"),
        ("In 1952 Baha died.", "巴哈是在1952年去世的。"),
    ]
    assert found["de"][0].other == "Im Jahr 1719 kam Sila zur Welt."


@pytest.mark.parametrize("split", SPLITS)
def test_no_sentence_comes_twice(split):
    found = pairs(split, 3000, languages=OTHERS)
    assert len({pair.english for pair in found["de"]}) == 3000
    assert all(len({pair.other for pair in members}) == 3000 for members in found.values())
    assert not any(set(pair.other) & set("{}<>[]|") for members in found.values() for pair in members)


def test_no_name_occurs_in_two_splits():
    said = [[pair.english for pair in pairs(split, 500, languages=("de",))["de"]] for split in SPLITS]
    both = [
        texts + [text for pair in labelled(split, 500, languages=("en",))["en"] for text in (pair.first, pair.second)]
        for texts, split in zip(said, SPLITS, strict=True)
    ]
    base, train, dev = map(names_in, both)
    assert min(map(len, (base, train, dev))) > 50
    assert not base & train and not base & dev and not train & dev


@pytest.mark.parametrize("make", [pairs, labelled])
def test_more_pairs_or_fewer_languages_never_change_one(make):
    few, many = make("dev", 5, languages=("zh", "de")), make("dev", 400, languages=OTHERS)
    assert few == {language: many[language][:5] for language in ("zh", "de")}
    assert make("dev", 5, languages=("de",), seed=1) != make("dev", 5, languages=("de",))
    assert make("dev", 0, languages=("de",)) == {"de": type(few["de"])()}


def test_the_hash_seed_of_the_process_changes_nothing():
    said = "repr((pairs('dev', 30, languages=('de', 'zh')), labelled('dev', 30, languages=('en',))))"
    code = (
        "import hashlib; from raykd.data.smallworld_bitext import labelled, pairs;"
        f"print(hashlib.sha256({said}.encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    here = repr((pairs("dev", 30, languages=("de", "zh")), labelled("dev", 30, languages=("en",))))
    assert done.stdout.strip() == hashlib.sha256(here.encode()).hexdigest()


def test_impossible_arguments_are_refused(monkeypatch):
    for make in (pairs, labelled):
        with pytest.raises(DataError, match="split: got 'test'"):
            make("test", 1, languages=("de",))
        with pytest.raises(DataError, match="language: got 'xx'"):
            make("dev", 1, languages=("xx",))
    with pytest.raises(DataError, match="got en, de; en is in every pair, name the others"):
        pairs("dev", 1, languages=("en", "de"))
    monkeypatch.setattr(smallworld_bitext, "_MAX_DRAWS", 1)
    with pytest.raises(DataError, match="num_pairs: got 5000; split dev has facts for about"):
        pairs("dev", 5000, languages=("de",))


# Labelled pairs -----------------------------------------------------------------------------------------------------


def test_labels_are_balanced_and_tell_whether_the_subject_is_the_same():
    found = labelled("train", 400, languages=LANGUAGES)
    for numbered in zip(*found.values(), strict=True):
        assert len({pair.label for pair in numbered}) == 1
    english = found["en"]
    assert [pair.id for pair in english[:2]] == ["sw-train-en-00000", "sw-train-en-00001"]
    for two in zip(english[::2], english[1::2], strict=True):
        assert {pair.label for pair in two} == {"yes", "no"}
    assert 60 < sum(pair.label == "yes" for pair in english[::2]) < 140
    cases = Counter()
    for pair in english:
        ((one, subject, answer),), ((two, other_subject, other_answer),) = (
            parsed(text, "en") for text in (pair.first, pair.second)
        )
        assert pair.label == ("yes" if subject == other_subject else "no")
        assert pair.first != pair.second
        is_town = RELATIONS[one][0] == "town"
        assert subject.endswith("l") == other_subject.endswith("l") == is_town
        assert one != two or answer == other_answer
        assert one == two or answer != other_answer
        cases[pair.label, one == two] += 1
    assert all(70 < count < 130 for count in cases.values()) and len(cases) == 4


def test_a_labelled_pair_of_another_language_states_the_same_relations():
    english, chinese = labelled("dev", 100, languages=("en", "zh")).values()
    for one, other in zip(english, chinese, strict=True):
        for text, translation in ((one.first, other.first), (one.second, other.second)):
            ((relation, _, _),) = parsed(text, "en")
            assert relation in {name for name, _, _ in parsed(translation, "zh")}
