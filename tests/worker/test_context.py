"""What a warm worker may hand from one point of task parallel to the next."""

import pytest
from support.tiny_sweeps import pair_point

from raykd.data.smallworld_tokenizer import build_tokenizer
from raykd.results.artifacts import Store
from raykd.worker.context import WorkerContext

PLAIN = pair_point()


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> WorkerContext:
    """A worker with the tokenizers of a student and of its teacher; no model is needed to read sentences."""
    folder = tmp_path_factory.mktemp("worker")
    store = Store(folder)
    for name in (PLAIN.base, *PLAIN.first_teachers):
        build_tokenizer(store.artifact(name))
    return WorkerContext(store, folder)


@pytest.mark.parametrize("first", ["without", "with"])
def test_points_with_and_without_a_label_term_read_what_their_terms_need(context, first):
    points = {"without": pair_point(distillation={"label_weight": 0}), "with": PLAIN}
    order = [first, *(points.keys() - {first})]
    context.cache.clear()
    parts = {name: context.train_set(points[name]).features.parts for name in order}
    assert parts == {"without": {"word", "sentence"}, "with": {"tlm", "word", "sentence"}}


def test_points_that_differ_in_knobs_alone_share_their_pairs(context):
    other = pair_point(distillation={"multilevel": {"structure_temperature": 0.1}}, training={"learning_rate": 1})
    assert context.train_set(PLAIN) is context.train_set(other)


def test_what_is_zero_shot_depends_on_the_languages_of_the_point(context):
    one = pair_point(data={"languages": ["es"]})
    base = PLAIN.base
    assert one.base == base
    for most in (6, None):
        trained = [
            context.scored_set(point, point.config.selection, reader=base, most=most).trained for point in (PLAIN, one)
        ]
        assert trained == [("es", "zh"), ("es",)]
    assert PLAIN.scores != one.scores
    assert PLAIN.scores == pair_point(seed=9).scores
