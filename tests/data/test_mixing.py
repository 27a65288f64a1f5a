import hashlib
import os
import subprocess
import sys
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.data.budgets import select
from raykd.data.examples import SentencePair
from raykd.data.mixing import draw_pairs, mix
from raykd.errors import DataError


def made(**sizes):
    return {
        language: [SentencePair(f"{language}:{n}", language, f"{language} {n}", f"other {n}") for n in range(size)]
        for language, size in sizes.items()
    }


def mixed(pairs, *, mixing="sampled", exponent=1.0, identity=False, seed=0, epoch=0):
    return mix(pairs, mixing=mixing, exponent=exponent, identity=identity, seed=seed, epoch=epoch)


def ids(pairs):
    return [pair.id for pair in pairs]


def counts(pairs):
    return Counter(pair.language for pair in pairs)


SIZES = st.dictionaries(st.sampled_from(["de", "fr", "hi", "zh"]), st.integers(1, 12), min_size=1)
SAMPLED = {"sizes": SIZES, "exponent": st.floats(0, 3), "seed": st.integers(0, 5)}

# Budgets ------------------------------------------------------------------------------------------------------------


def test_a_budget_is_drawn_in_each_language_and_kept_in_order():
    pairs = made(de=9, fr=5)
    chosen, budgets = draw_pairs(pairs, budget=3, seed=1)
    for language, members in pairs.items():
        drawn = set(select(ids(members), 3, seed=1).ids)
        assert set(budgets[language].ids) == drawn and budgets[language].seed == 1
        assert chosen[language] == [pair for pair in members if pair.id in drawn]
    more, _ = draw_pairs(pairs, budget=4, seed=1)
    assert all(set(ids(chosen[language])) < set(ids(more[language])) for language in pairs)
    assert draw_pairs(pairs, budget="all", seed=1)[0] == pairs


def test_every_language_with_too_few_pairs_is_named():
    with pytest.raises(DataError) as caught:
        draw_pairs(made(de=2, fr=9, zh=3), budget=5, seed=0)
    assert caught.value.problems == (
        "de: budget 5: 2 items are available; give 1 to 2, or 'all'",
        "zh: budget 5: 3 items are available; give 1 to 3, or 'all'",
    )


# In turn ------------------------------------------------------------------------------------------------------------


def test_languages_come_in_turn_until_each_runs_out():
    found = mixed(made(fr=1, zh=4, de=2), mixing="round_robin")
    assert [pair.language for pair in found] == ["de", "fr", "zh", "de", "zh", "zh", "zh"]
    assert len(set(ids(found))) == 7


def test_after_each_turn_comes_an_english_sentence_with_itself():
    pairs = made(fr=1, zh=4, de=2)
    found = mixed(pairs, mixing="round_robin", identity=True)
    orders = {language: [pair for pair in found if pair.language == language] for language in pairs}
    assert " ".join(pair.language for pair in found) == "de fr zh en de zh en zh en zh en"
    own = [pair for pair in found if pair.language == "en"]
    # Turn j takes pair j mod its length of language j mod 3, in sorted order: de 0, fr 1 mod 1, zh 2, de 3 mod 2.
    sources = [orders["de"][0], orders["fr"][0], orders["zh"][2], orders["de"][1]]
    assert own == [SentencePair(f"en:{pair.id}", "en", pair.english, pair.english) for pair in sources]


@given(SIZES, st.integers(0, 5))
def test_in_turn_every_pair_comes_once_whatever_the_epoch(sizes, seed):
    pairs = made(**sizes)
    found = mixed(pairs, mixing="round_robin", seed=seed)
    assert sorted(ids(found)) == sorted(pair.id for members in pairs.values() for pair in members)
    assert found == mixed(pairs, mixing="round_robin", seed=seed, epoch=3, exponent=0.1)
    with_identity = mixed(pairs, mixing="round_robin", seed=seed, identity=True)
    assert [pair for pair in with_identity if pair.language != "en"] == found
    assert len(with_identity) - len(found) == max(sizes.values())


def test_another_seed_gives_another_order():
    pairs = made(de=30, fr=30)
    first = mixed(pairs, mixing="round_robin")
    second = mixed(pairs, mixing="round_robin", seed=1)
    assert ids(first) != ids(second) and sorted(ids(first)) == sorted(ids(second))
    de, fr = ([pair.id.partition(":")[2] for pair in first if pair.language == name] for name in ("de", "fr"))
    assert de != fr and de != sorted(de, key=int)


# Sampled ------------------------------------------------------------------------------------------------------------


def test_shares_worked_out_by_hand():
    pairs = made(de=9, fr=4, zh=1)
    assert counts(mixed(pairs, exponent=1)) == {"de": 9, "fr": 4, "zh": 1}
    # Roots 3, 2, 1 of 14: 7, 4.67, 2.33, and the one left goes to fr.
    assert counts(mixed(pairs, exponent=0.5)) == {"de": 7, "fr": 5, "zh": 2}
    # 4.67 each: the two left go to the first two, all remainders being alike.
    assert counts(mixed(pairs, exponent=0)) == {"de": 5, "fr": 5, "zh": 4}


@given(**SAMPLED)
def test_no_other_rounding_is_closer_to_the_shares(sizes, exponent, seed):
    found = counts(mixed(made(**sizes), exponent=exponent, seed=seed))
    weights = {language: Fraction(size**exponent) for language, size in sizes.items()}
    total = sum(sizes.values())
    off = {name: found[name] - total * weight / sum(weights.values()) for name, weight in weights.items()}
    assert sum(found.values()) == total
    assert all(abs(difference) < 1 for difference in off.values())
    # What moving one pair from one language to another would give is never nearer.
    assert all(off[one] - off[other] <= 1 for one in off for other in off)


@given(epochs=st.integers(1, 6), **SAMPLED)
def test_a_language_goes_through_all_its_pairs_before_one_comes_again(sizes, exponent, seed, epochs):
    pairs = made(**sizes)
    options = {"exponent": exponent, "seed": seed}
    found = [pair for epoch in range(epochs) for pair in mixed(pairs, epoch=epoch, **options)]
    for language, members in pairs.items():
        drawn = [pair.id for pair in found if pair.language == language]
        for start in range(0, len(drawn), len(members)):
            whole = drawn[start : start + len(members)]
            assert len(set(whole)) == len(whole) and set(whole) <= set(ids(members))


def test_rounds_and_epochs_differ_in_order():
    pairs = made(de=40, fr=40)
    first, second = (mixed(pairs, epoch=epoch) for epoch in (0, 1))
    order = [[pair.id for pair in epoch if pair.language == "de"] for epoch in (first, second)]
    assert order[0] != order[1] and sorted(order[0]) == sorted(order[1])
    assert [pair.language for pair in first] != [pair.language for pair in second]


@given(epoch=st.integers(0, 3), **SAMPLED)
def test_one_identity_pair_follows_as_many_pairs_as_there_are_languages(sizes, exponent, seed, epoch):
    pairs = made(**sizes)
    options = {"exponent": exponent, "seed": seed, "epoch": epoch}
    plain, found = mixed(pairs, **options), mixed(pairs, identity=True, **options)
    size, names = len(sizes), sorted(sizes)
    assert [pair for pair in found if pair.language != "en"] == plain
    places = [at for at, pair in enumerate(found) if pair.language == "en"]
    assert places == [size + turn * (size + 1) for turn in range(len(plain) // size)]
    for turn, at in enumerate(places, epoch * len(places)):
        pair = found[at]
        assert pair.english == pair.other and pair.id.startswith(f"en:{names[turn % size]}:")


def test_identity_pairs_go_on_from_epoch_to_epoch():
    pairs = made(de=6)
    own = [pair.id for epoch in (0, 1) for pair in mixed(pairs, identity=True, epoch=epoch) if pair.language == "en"]
    assert own[:6] == own[6:] and len(set(own)) == 6
    pairs = made(de=11, fr=11, zh=4)  # 26 pairs, so 8 turns an epoch: the second begins with the language of turn 8
    own = [pair.id for pair in mixed(pairs, identity=True, epoch=1) if pair.language == "en"]
    assert [name.split(":")[1] for name in own] == ["zh", "de", "fr", "zh", "de", "fr", "zh", "de"]


# Both ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixing", ["round_robin", "sampled"])
def test_the_order_of_the_languages_does_not_matter(mixing):
    pairs = made(zh=7, de=5, fr=2)
    backwards = dict(reversed(pairs.items()))
    for identity in (False, True):
        options = {"mixing": mixing, "identity": identity, "exponent": 0.5, "epoch": 2}
        assert mixed(pairs, **options) == mixed(backwards, **options)


DIGEST = """
import hashlib
from raykd.data.examples import SentencePair
from raykd.data.mixing import mix
pairs = {name: [SentencePair(f"{name}:{n}", name, "a", "b") for n in range(9)] for name in {"de", "fr", "zh", "hi"}}
for mixing in ("round_robin", "sampled"):
    found = mix(pairs, mixing=mixing, exponent=0.3, identity=True, seed=4, epoch=1)
    print(hashlib.sha256(repr([pair.id for pair in found]).encode()).hexdigest()[:16])
"""


def test_the_mix_is_the_same_in_every_process():
    said = [
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "7")
    ]
    here = [
        hashlib.sha256(repr(ids(mixed(made(de=9, fr=9, zh=9, hi=9), mixing=mixing, **options))).encode()).hexdigest()
        for mixing in ("round_robin", "sampled")
        for options in [{"exponent": 0.3, "identity": True, "seed": 4, "epoch": 1}]
    ]
    assert said[0] == said[1] == [digest[:16] for digest in here]


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(ValueError, match=r"each language needs a pair, got \{'de': 1, 'fr': 0\}"):
        mixed(made(fr=0, de=1))
    with pytest.raises(ValueError, match="each language needs a pair"):
        mixed({})
    with pytest.raises(ValueError, match="unknown mixing 'robin'; allowed: round_robin, sampled"):
        mixed(made(de=1), mixing="robin")
