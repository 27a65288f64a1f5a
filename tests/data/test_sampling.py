import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import raykd
from raykd.data.budgets import select
from raykd.data.examples import Answer, QAExample
from raykd.data.sampling import cross_lingual_pairs, pair_statistics, parallel_view
from raykd.data.sources import SourceRef
from raykd.data.squad import read_parallel
from raykd.errors import DataError

LANGUAGES = ["en", "es", "de", "ar", "vi", "hi", "zh"]
COUNTS = {0: 8_330, 1: 4_760, 2: 10_710, 3: 19_040, 4: 29_750, 5: 42_840, 6: 58_310}


def item(qid, languages):
    return {
        language: QAExample(
            qid, f"question {language}", f"context {language}", (Answer(language, 8),), language, language
        )
        for language in languages
    }


def items_of(count, languages=LANGUAGES):
    return {f"q{number}": item(f"q{number}", languages) for number in range(count)}


@pytest.fixture(scope="module")
def all_items():
    return items_of(1190)


@pytest.mark.parametrize(("num_target_languages", "count"), COUNTS.items())
def test_1190_items_in_7_languages_give_the_published_counts(all_items, num_target_languages, count):
    pairs = cross_lingual_pairs(all_items, num_target_languages=num_target_languages, languages=LANGUAGES, seed=3)
    assert len(pairs) == len({pair.id for pair in pairs}) == count


def test_the_real_xquad_gives_the_published_counts(real_data):
    xquad = read_parallel(SourceRef(path="xquad/xquad.{language}.json"), languages=LANGUAGES, folder=real_data)
    for num_target_languages, count in COUNTS.items():
        pairs = cross_lingual_pairs(xquad, num_target_languages=num_target_languages, languages=LANGUAGES, seed=3)
        assert len(pairs) == count
        assert all(p.context[a.start : a.start + len(a.text)] == a.text for p in pairs for a in p.answers)


def test_the_answer_comes_from_the_context_language_and_the_question_from_its_own():
    for pair in cross_lingual_pairs(items_of(3), num_target_languages=2, languages=LANGUAGES, seed=3):
        assert pair.question == f"question {pair.question_language}"
        assert pair.context == f"context {pair.context_language}"
        assert pair.answers == (Answer(pair.context_language, 8),)
        assert pair.id.endswith(f"_{pair.question_language}-{pair.context_language}")


def test_no_target_language_means_the_diagonal_of_all_languages():
    pairs = cross_lingual_pairs(items_of(1), num_target_languages=0, languages=["en", "es", "de"], seed=3)
    assert [pair.id for pair in pairs] == ["q0_de-de", "q0_en-en", "q0_es-es"]


def test_every_item_draws_its_own_languages_and_keeps_english(all_items):
    pairs = cross_lingual_pairs(all_items, num_target_languages=1, languages=LANGUAGES, seed=3)
    drawn = {pair.id.split("_")[0]: set() for pair in pairs}
    for pair in pairs:
        drawn[pair.id.split("_")[0]].add(pair.question_language)
    assert all("en" in languages and len(languages) == 2 for languages in drawn.values())
    assert {language for languages in drawn.values() for language in languages} == set(LANGUAGES)


def test_without_the_pivot_in_every_draw_english_is_drawn_like_the_others(all_items):
    pairs = cross_lingual_pairs(all_items, num_target_languages=1, languages=LANGUAGES, seed=3, english_centric=False)
    counts = pair_statistics(pairs)["pairs"]
    assert len(pairs) == 1190 and set(counts) == {f"{language}-{language}" for language in LANGUAGES}
    assert all(120 < count < 220 for count in counts.values())  # 170 expected, 4 standard deviations are 48


wild_ids = st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=6)


@given(wild_ids, st.integers(0, 8), st.integers(), st.booleans(), st.randoms(use_true_random=False))
def test_a_draw_depends_on_seed_and_id_alone(ids, num_target_languages, seed, english_centric, mixer):
    def draw(drawn_ids, languages):
        items = {qid: item(qid, languages) for qid in drawn_ids}
        return cross_lingual_pairs(
            items,
            num_target_languages=num_target_languages,
            languages=languages,
            seed=seed,
            english_centric=english_centric,
        )

    ids = sorted(ids)
    shuffled = mixer.sample(LANGUAGES, len(LANGUAGES))
    assert draw(ids, LANGUAGES) == [pair for qid in ids for pair in draw([qid], shuffled)]


@given(wild_ids, st.integers(1, 6), st.integers())
def test_more_languages_keep_the_languages_of_fewer(ids, num_target_languages, seed):
    items = {qid: item(qid, LANGUAGES) for qid in ids}
    few, more = (
        {pair.id for pair in cross_lingual_pairs(items, num_target_languages=n, languages=LANGUAGES, seed=seed)}
        for n in (num_target_languages, num_target_languages + 1)
    )
    assert few <= more


def test_nested_budgets_give_nested_examples(all_items):
    small, large = (
        cross_lingual_pairs(
            {qid: all_items[qid] for qid in select(all_items, budget, seed=1).ids},
            num_target_languages=3,
            languages=LANGUAGES,
            seed=3,
        )
        for budget in (64, 256)
    )
    assert small == large[: len(small)] and len(small) == 64 * 16


def test_an_item_without_some_languages_uses_those_it_has():
    pairs = cross_lingual_pairs({"q": item("q", ["en", "de"])}, num_target_languages=6, languages=LANGUAGES, seed=3)
    assert [pair.id for pair in pairs] == ["q_de-de", "q_de-en", "q_en-de", "q_en-en"]


def test_a_lost_pivot_is_named():
    with pytest.raises(DataError, match="pivot language en is not among the languages de, es"):
        cross_lingual_pairs(items_of(1), num_target_languages=1, languages=["de", "es"], seed=3)
    with pytest.raises(DataError, match="id q: lacks the pivot language en"):
        cross_lingual_pairs({"q": item("q", ["de"])}, num_target_languages=1, languages=LANGUAGES, seed=3)


def test_a_negative_number_of_languages_is_refused():
    with pytest.raises(ValueError, match="at least 0"):
        cross_lingual_pairs(items_of(1), num_target_languages=-1, languages=LANGUAGES, seed=3)


def test_statistics_of_known_pairs():
    # 2 items x {en-en, en-de, de-en, de-de}, plus one more en-en: counts 3, 2, 2, 2, so 9 / 4 and sqrt(0.75 / 3).
    pairs = cross_lingual_pairs(items_of(2, ["en", "de"]), num_target_languages=1, languages=["en", "de"], seed=3)
    statistics = pair_statistics([*pairs, pairs[-1]])
    assert statistics["examples"] == 9
    assert statistics["pairs"] == {"de-de": 2, "de-en": 2, "en-de": 2, "en-en": 3}
    assert (statistics["mean"], statistics["stdev"]) == (2.25, 0.5)
    assert pair_statistics([]) == {"examples": 0, "pairs": {}, "mean": 0.0, "stdev": 0.0}


@pytest.mark.parametrize("mode", ["q-random", "q-en-diag"])
def test_a_view_keeps_context_and_answers(mode):
    items = items_of(20)
    pairs = cross_lingual_pairs(items, num_target_languages=3, languages=LANGUAGES, seed=3)
    views = parallel_view(pairs, items, mode=mode, seed=3)
    assert list(views) == [pair.id for pair in pairs]
    for pair in pairs:
        view = views[pair.id]
        assert (view.context, view.answers, view.context_language) == (
            pair.context,
            pair.answers,
            pair.context_language,
        )
        assert view.id == f"{pair.id.split('_')[0]}_{view.question_language}-{view.context_language}"
        assert view.question == f"question {view.question_language}"


def test_a_random_view_asks_in_another_language_that_the_item_drew():
    items = items_of(20)
    pairs = cross_lingual_pairs(items, num_target_languages=2, languages=LANGUAGES, seed=3)
    views = parallel_view(pairs, items, mode="q-random", seed=3)
    drawn = {pair.id for pair in pairs}
    assert all(view.id in drawn and view.id != pair_id for pair_id, view in views.items())
    last = [pair for pair in pairs if pair.id.startswith("q19_")]
    assert parallel_view(last, items, mode="q-random", seed=3) == {pair.id: views[pair.id] for pair in last}


def test_an_english_view_asks_in_english_and_an_english_question_gets_the_diagonal():
    items = items_of(1, ["en", "de", "es"])
    pairs = cross_lingual_pairs(items, num_target_languages=2, languages=["en", "de", "es"], seed=3)
    views = parallel_view(pairs, items, mode="q-en-diag", seed=3)
    assert {pair_id.removeprefix("q0_"): view.id.removeprefix("q0_") for pair_id, view in views.items()} == {
        "de-de": "en-de",
        "de-en": "en-en",
        "de-es": "en-es",
        "en-de": "de-de",
        "en-en": "en-en",
        "en-es": "es-es",
        "es-de": "en-de",
        "es-en": "en-en",
        "es-es": "en-es",
    }


def test_an_item_with_one_language_is_its_own_view():
    items = items_of(1, ["en"])
    pairs = cross_lingual_pairs(items, num_target_languages=1, languages=["en"], seed=3)
    assert parallel_view(pairs, items, mode="q-random", seed=3) == {"q0_en-en": pairs[0]}


def test_a_view_that_cannot_be_made_is_named():
    items = items_of(1, ["de", "es"])
    pairs = cross_lingual_pairs(items, num_target_languages=0, languages=["de"], seed=3, english_centric=False)
    with pytest.raises(DataError, match="id q0: lacks the language en"):
        parallel_view(pairs, items, mode="q-en-diag", seed=3)
    with pytest.raises(ValueError, match="allowed: q-random, q-en-diag"):
        parallel_view(pairs, items, mode="diag", seed=3)


def test_the_hash_seed_of_the_process_changes_nothing():
    code = """
import hashlib
from raykd.data.budgets import select
from raykd.data.examples import QAExample
from raykd.data.sampling import cross_lingual_pairs, parallel_view
languages = {"en", "es", "de", "ar", "vi", "hi", "zh"}
ids = {f"q{number}" for number in range(50)}
items = {qid: {lang: QAExample(qid, "?", "c", (), lang, lang) for lang in languages}
         for qid in select(ids, 20, seed=1).ids}
pairs = cross_lingual_pairs(items, num_target_languages=3, languages=languages, seed=3)
views = parallel_view(pairs, items, mode="q-random", seed=3)
print(hashlib.sha256(repr((pairs, views)).encode()).hexdigest())
"""
    root = str(Path(raykd.__file__).parents[1])
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "4711")
    }
    assert len(hashes) == 1 and len(hashes.pop().strip()) == 64
