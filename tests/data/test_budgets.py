import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.data.budgets import select
from raykd.errors import DataError

IDS = [f"q{number}" for number in range(1190)]


@given(st.sets(st.text(), min_size=1), st.integers(), st.data())
def test_a_smaller_budget_is_a_prefix_of_a_larger_one(ids, seed, data):
    large = data.draw(st.integers(1, len(ids)))
    small = data.draw(st.integers(1, large))
    larger = select(ids, large, seed=seed)
    assert larger.ids[:small] == select(ids, small, seed=seed).ids
    assert len(set(larger.ids)) == larger.size == large and set(larger.ids) <= ids


def test_the_order_of_the_input_and_repeated_ids_do_not_matter():
    mixed = random.Random(1).sample(IDS, len(IDS)) + IDS[:5]
    assert select(mixed, 64, seed=3) == select(IDS, 64, seed=3)


def test_another_seed_draws_other_ids():
    assert set(select(IDS, 64, seed=3).ids) != set(select(IDS, 64, seed=4).ids)


def test_the_draw_is_the_same_on_every_machine():
    assert select(IDS, 4, seed=3).ids == ("q866", "q1029", "q1085", "q857")


def test_all_draws_every_id():
    everything = select(IDS, "all", seed=3)
    assert everything.size == 1190 and set(everything.ids) == set(IDS)


@pytest.mark.parametrize("budget", [0, -1, 1191])
def test_a_budget_that_cannot_be_had_says_how_many_there_are(budget):
    with pytest.raises(DataError, match=f"budget {budget}: 1190 items are available"):
        select(IDS, budget, seed=3)


def test_all_of_nothing_is_refused():
    with pytest.raises(DataError, match="0 items are available"):
        select([], "all", seed=3)


def test_the_hash_tells_ids_and_their_order_apart():
    hashes = {select(ids, "all", seed=0).sha256 for ids in (["a", "b"], ["a,b"], ["a\nb"], ["a"])}
    assert len(hashes) == 4
    assert select(["a", "b"], "all", seed=0).sha256 == select(["b", "a"], "all", seed=0).sha256


def test_the_json_of_a_budget_holds_everything_that_identifies_it():
    budget = select(IDS, 3, seed=7)
    read = json.loads(json.dumps(budget.to_json()))
    assert read == {"size": 3, "seed": 7, "sha256": budget.sha256, "ids": list(budget.ids)}
