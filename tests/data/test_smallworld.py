"""The small world is parallel, repeatable and readable by its own tokenizer."""

import os
import re
import subprocess
import sys
from itertools import product

import pytest
from transformers import AutoTokenizer

from raykd.data import smallworld, smallworld_names
from raykd.data.smallworld_phrases import CODAS, HAN_CODAS, HAN_SYLLABLES, PHRASES, RELATIONS, SCRIPTS
from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.errors import DataError


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    build_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def in_another_process(hash_seed: str, script: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_every_answer_is_the_named_span_of_its_context():
    for translations in smallworld.parallel_items("train", 100).values():
        for language, example in translations.items():
            (answer,) = example.answers
            assert example.context[answer.start : answer.start + len(answer.text)] == answer.text
            assert answer.text not in example.question
            assert (example.question_language, example.context_language) == (language, language)
            assert not re.search(r"[{}<>|\[\]]", example.question + example.context)


def test_an_item_states_the_same_facts_in_every_language():
    items = smallworld.parallel_items("train", 100)
    assert list(items)[:2] == ["sw-train-00000", "sw-train-00001"]
    for item_id, translations in items.items():
        assert tuple(translations) == smallworld.LANGUAGES
        assert {example.id for example in translations.values()} == {item_id}
        years = {tuple(sorted(re.findall(r"\d+", example.context))) for example in translations.values()}
        sentences = {len(re.findall("[.。।]", example.context)) for example in translations.values()}
        assert len(years) == len(sentences) == 1
        assert 3 <= sentences.pop() <= 6


def test_an_answer_is_not_told_by_the_place_of_its_sentence():
    sentences_before = [
        example.context[: example.answers[0].start].count(". ") for example in smallworld.monolingual("base", 300)
    ]
    assert all(sentences_before.count(place) > 30 for place in range(4))


def test_some_contexts_hold_the_asked_fact_of_two_subjects():
    questions_and_births = [
        (example.question, len(re.findall("birth|born", example.context)))
        for example in smallworld.monolingual("base", 300)
    ]
    assert any(question.startswith("When was") and births > 1 for question, births in questions_and_births)


def test_a_name_is_spelled_in_the_script_of_its_language():
    name = smallworld_names.Name(("ka", "lo", "n"))
    spelled = {language: name.spelled(language) for language in smallworld.LANGUAGES}
    assert spelled == {
        "en": "Kalon", "es": "Kalon", "de": "Kalon", "ar": "كالون", "hi": "कालोन", "zh": "卡洛恩", "ru": "Калон",
    }  # fmt: skip


def test_a_pattern_agrees_with_subject_and_answer():
    # The vowel before a closing consonant tells the gender too.
    assert smallworld_names.Name(("ka", "la", "s")).is_feminine
    woman, man = smallworld_names.Name(("ka", "la")), smallworld_names.Name(("ka", "lo"))
    of_a_woman = smallworld_names.Fact("teacher", woman, man)
    assert smallworld_names.agree("уш[ёл|ла] {s} был<|а> {a}", of_a_woman) == "ушла {s} был {a}"
    of_a_man = smallworld_names.Fact("teacher", man, woman)
    assert smallworld_names.agree("уш[ёл|ла] {s} был<|а> {a}", of_a_man) == "ушёл {s} была {a}"


def test_every_language_says_and_asks_every_relation():
    assert set(PHRASES) == set(SCRIPTS)
    for phrases_of in PHRASES.values():
        assert set(phrases_of) == set(RELATIONS)
        for phrases in phrases_of.values():
            assert len(phrases.statements) >= 2
            assert len(phrases.questions) >= 2
            assert all((text.count("{s}"), text.count("{a}")) == (1, 1) for text in phrases.statements)
            assert all((text.count("{s}"), text.count("{a}")) == (1, 0) for text in phrases.questions)


def test_chinese_patterns_hold_no_character_of_a_name():
    patterns = "".join(text for phrases in PHRASES["zh"].values() for text in (*phrases.statements, *phrases.questions))
    assert not set(patterns) & {*HAN_SYLLABLES, *HAN_CODAS}


def test_every_split_has_enough_names_for_any_context():
    # A context draws 12 names, each with a first syllable of its own, so a kind that starts 12 ways never runs out.
    for split, kind in product(smallworld_names.SPLITS, ("person", *CODAS)):
        first_syllables = {
            first
            for first, last in product(smallworld_names.SYLLABLES, repeat=2)
            if first != last
            and (kind in ("town", "island", "river") or last[-1] in "ao")
            and smallworld_names.split_of(first + last + CODAS.get(kind, "")) == split
        }
        assert len(first_syllables) > 12


def test_no_name_occurs_in_two_splits():
    names = {
        split: {
            word
            for example in smallworld.monolingual(split, 200)
            for word in re.findall(r"\b(?:[BDFHKLMNRST][aio]){2}[lnrsm]?\b", example.context, flags=re.IGNORECASE)
        }
        for split in smallworld_names.SPLITS
    }
    assert all(len(found) > 50 for found in names.values())
    assert not names["base"] & names["train"]
    assert not names["base"] & names["dev"]
    assert not names["train"] & names["dev"]


def test_more_items_or_fewer_languages_never_change_an_item():
    few = smallworld.parallel_items("dev", 5, languages=("zh", "en"))
    many = smallworld.parallel_items("dev", 20)
    for item_id, translations in few.items():
        assert translations == {language: many[item_id][language] for language in ("zh", "en")}
    assert smallworld.monolingual("dev", 5, language="zh") == [translations["zh"] for translations in few.values()]


def test_another_seed_is_another_world():
    assert smallworld.monolingual("base", 3, seed=1) != smallworld.monolingual("base", 3)


def test_the_hash_seed_of_the_process_changes_nothing(tmp_path):
    script = (
        "import hashlib, pathlib; from raykd.data import smallworld;"
        "from raykd.data.smallworld_tokenizer import build_tokenizer;"
        "folder = pathlib.Path({folder!r}); build_tokenizer(folder);"
        "texts = repr(smallworld.parallel_items('dev', 20)) + repr(list(smallworld.corpus(num_items=20)));"
        "print(hashlib.sha256(texts.encode()).hexdigest());"
        "print(*(hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())))"
    )
    runs = [in_another_process(seed, script.format(folder=str(tmp_path / seed))) for seed in ("1", "2")]
    assert runs[0] == runs[1]


def test_the_first_item_stays_what_it_is():
    example = smallworld.monolingual("dev", 1)[0]
    assert example.question == "Who was the founder of the town of Sikol?"
    assert example.context == (
        "In 1846 Tako died. Matas taught Tako. Morom founded the town of Sikol. Tako was born in the town of Sikol."
    )
    assert (example.answers[0].text, example.answers[0].start) == ("Morom", 38)


def test_each_run_of_eight_items_asks_each_relation_once():
    relations = [smallworld._asked_relation("train", index, seed=0) for index in range(16)]
    assert set(relations[:8]) == set(relations[8:]) == set(RELATIONS)


def test_an_unknown_split_and_language_are_reported_at_once():
    with pytest.raises(DataError) as caught:
        smallworld.parallel_items("test", 1, languages=("en", "xx"))
    assert caught.value.problems == (
        "small world: split: got 'test'; allowed: base, train, dev",
        "small world: language: got 'xx'; allowed: en, es, de, ar, hi, zh, ru",
    )


@pytest.mark.parametrize("arguments", [{"num_items": -1}, {"num_items": 1, "languages": ("en", "en")}])
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(DataError):
        smallworld.parallel_items("dev", **arguments)


def test_the_tokens_of_an_answer_cover_exactly_its_characters(tokenizer):
    for translations in smallworld.parallel_items("dev", 30).values():
        for example in translations.values():
            encoded = tokenizer(example.question, example.context, return_offsets_mapping=True)
            (answer,) = example.answers
            context = [
                offsets
                for offsets, sequence in zip(encoded["offset_mapping"], encoded.sequence_ids(), strict=True)
                if sequence == 1
            ]
            assert answer.start in {start for start, _ in context}
            assert answer.start + len(answer.text) in {end for _, end in context}


def test_every_text_is_covered_without_an_unknown_token(tokenizer):
    lines = list(smallworld.corpus(num_items=50, seed=3))
    assert tokenizer.unk_token_id not in {token for line in lines for token in tokenizer(line)["input_ids"]}


def test_a_pair_has_the_layout_of_bert(tokenizer):
    encoded = tokenizer("Kalo?", "1874.")
    assert tokenizer.convert_ids_to_tokens(encoded["input_ids"]) == [
        "[CLS]", "Ka", "##lo", "?", "[SEP]", "18", "##74", ".", "[SEP]",
    ]  # fmt: skip
    assert encoded["token_type_ids"] == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert tokenizer.pad_token_id == 0
    assert tokenizer.mask_token == "[MASK]"


def test_names_are_spelled_by_syllables_and_not_known_whole(tokenizer):
    words = {word for line in smallworld.corpus(languages=("en",)) for word in re.findall(r"[A-Z][a-z]+[lr]\b", line)}
    names = {word for word in words if re.fullmatch(r"([bdfhklmnrst][aio]){2}[lr]", word.lower())}
    assert len(names) > 100
    assert all(len(tokenizer.tokenize(name)) == 3 for name in names)


def test_a_vocabulary_without_room_for_its_pieces_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"vocab_size: got 100; allowed: [0-9]+ or more"):
        build_tokenizer(tmp_path, vocab_size=100)
