"""The probe against its own optimality conditions in plain loops, and against rules planted in the data."""

from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.errors import DataError
from raykd.tasks.parallel.zero_shot import choose_l2, classification_scores, classify, fit_probe, pair_vector


def softmax_row(logits: list[float]) -> list[float]:
    powers = [exp(value - max(logits)) for value in logits]
    return [power / sum(powers) for power in powers]


def planted(rng: np.random.Generator, number: int, width: int, *, classes: int = 3):
    """Features, and labels that are the largest of `classes` linear scores, the same for every call of one width."""
    rule = np.random.default_rng(width).normal(size=(width, classes))
    features = rng.normal(size=(number, width))
    return features, (features @ rule).argmax(axis=1)


def sentence_pairs(rng: np.random.Generator, number: int, *, shift: float = 0.0, noise: float = 0.2):
    """Vectors of pairs whose label is whether the two sentences point the same way."""
    u = rng.normal(size=(number, 6)) + shift
    same = rng.integers(0, 2, size=number).astype(bool)
    v = np.where(same[:, None], u, -u) + noise * rng.normal(size=u.shape)
    return u, v, ["same" if is_same else "other" for is_same in same]


def test_pair_vector_of_known_rows():
    u, v = np.array([[3.0, -4.0], [0.0, 2.0]]), np.array([[0.0, 5.0], [0.0, 0.0]])
    expected = [[0.6, -0.8, 0, 1, 0.6, 1.8, 0, -0.8], [0, 1, 0, 0, 0, 1, 0, 0]]
    assert pair_vector(u, v) == pytest.approx(np.array(expected))
    assert pair_vector(u.astype(np.float16), v.astype(np.float16)).dtype == np.float32
    with pytest.raises(ValueError, match=r"\[2, 2\] and \[1, 2\]; both must be \[N, H\]"):
        pair_vector(u, v[:1])
    with pytest.raises(ValueError, match="not finite"):
        pair_vector(u, np.full((2, 2), np.inf))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1e-3, 1e-2, 1.0]))
def test_the_gradient_at_the_fitted_probe_is_zero(seed, l2):
    rng = np.random.default_rng(seed)
    number, width, classes = 15, 4, 3
    features, labels = 5 + 3 * rng.normal(size=(number, width)), rng.integers(0, classes, size=number)
    probe = fit_probe(features, labels, classes, l2=l2)
    gradient = l2 * probe.weight
    gradient_of_bias = np.zeros(classes)
    for row, label in zip(features, labels, strict=True):
        scaled = [(row[d] - features[:, d].mean()) / features[:, d].std() for d in range(width)]
        logits = [sum(scaled[d] * probe.weight[d, c] for d in range(width)) + probe.bias[c] for c in range(classes)]
        assert probe.logits(row[None])[0] == pytest.approx(logits)
        for c, share in enumerate(softmax_row(logits)):
            gradient_of_bias[c] += (share - (c == label)) / number
            for d in range(width):
                gradient[d, c] += scaled[d] * (share - (c == label)) / number
    # The objective is convex: where the gradient is zero, there is the minimum.
    assert np.abs(gradient).max() < 1e-5
    assert np.abs(gradient_of_bias).max() < 1e-5


def test_a_probe_without_any_evidence_knows_the_shares_of_the_classes():
    labels = np.array([0] * 6 + [1] * 3 + [2])
    probe = fit_probe(np.full((10, 2), 0.3, dtype=np.float32), labels, 3)
    assert softmax_row(list(probe.logits(np.zeros((1, 2)))[0])) == pytest.approx([0.6, 0.3, 0.1], abs=1e-5)
    assert probe.bias[0] - probe.bias[1] == pytest.approx(log(2), abs=1e-4)


def test_features_that_never_vary_get_no_weight_whatever_they_are_later():
    rng = np.random.default_rng(0)
    informative, labels = planted(rng, 60, 3)
    # Rounding in float32 is all that the third of these varies by.
    constant = np.stack([np.zeros(60), np.full(60, 0.1), 0.1 + 1e-8 * rng.normal(size=60)], axis=1)
    probe = fit_probe(np.hstack([informative, constant]).astype(np.float32), labels, 3)
    assert np.abs(probe.weight[3:]).max() < 1e-6
    later = np.hstack([informative, constant + 5])
    assert np.array_equal(probe.predict(later), fit_probe(informative, labels, 3).predict(informative))
    assert np.isfinite(probe.logits(later)).all()


def test_a_linear_rule_is_found_again():
    rng = np.random.default_rng(0)
    probe = fit_probe(*planted(rng, 600, 8), 3, l2=1e-4)
    features, labels = planted(rng, 500, 8)
    assert (probe.predict(features) == labels).mean() > 0.95


def test_units_and_offsets_of_the_features_do_not_matter():
    rng = np.random.default_rng(3)
    features, labels = rng.normal(size=(50, 5)), rng.integers(0, 3, size=50)
    units, offsets = np.array([1e-4, 0.1, 1, 10, 1e4]), np.array([0, -0.1, 5, 100, 1e3])
    plain = fit_probe(features, labels, 3).logits(features)
    assert fit_probe(features * units + offsets, labels, 3).logits(features * units + offsets) == pytest.approx(plain)


def test_a_class_without_rows_is_never_predicted():
    features, labels = planted(np.random.default_rng(0), 40, 4, classes=2)
    probe = fit_probe(features, labels * 2, 3)
    assert np.isfinite(probe.bias).all()
    assert set(probe.predict(features)) == {0, 2}


def test_a_row_is_classified_alike_alone_and_among_others_and_twice_the_same():
    rng = np.random.default_rng(5)
    features, labels = planted(rng, 80, 6)
    probe, again = fit_probe(features, labels, 3), fit_probe(features, labels, 3)
    assert np.array_equal(probe.weight, again.weight)
    others = 4 + 7 * rng.normal(size=(30, 6))
    alone = [probe.predict(row[None])[0] for row in others]
    assert probe.predict(others).tolist() == alone


def test_a_probe_is_fitted_where_gradients_are_off():
    features, labels = planted(np.random.default_rng(0), 40, 4)
    with torch.no_grad():
        probe = fit_probe(features, labels, 3)
    assert np.array_equal(probe.weight, fit_probe(features, labels, 3).weight)


def test_what_cannot_be_fitted_says_why():
    features, labels = planted(np.random.default_rng(0), 10, 4)
    with pytest.raises(ValueError, match=r"\[10, 4\] and \[9\]"):
        fit_probe(features, labels[1:], 3)
    with pytest.raises(ValueError, match="got 0 to 2; they must be 0 to 1"):
        fit_probe(features, np.arange(10) % 3, 2)
    with pytest.raises(ValueError, match="l2: got 0; it must be above 0"):
        fit_probe(features, labels, 3, l2=0)


def test_noise_asks_for_more_regularisation_than_a_rule():
    rng = np.random.default_rng(0)
    candidates = (100.0, 1.0, 1e-4)
    # More features than rows: a weak penalty learns any labels by heart, and only rows held out tell.
    noise = rng.normal(size=(60, 80))
    assert choose_l2(noise, rng.integers(0, 2, size=60), 2, candidates=candidates) == 100
    assert choose_l2(*planted(rng, 400, 3), 3, candidates=candidates) == 1e-4


def test_the_seed_decides_which_rows_choose():
    rng = np.random.default_rng(1)
    features, labels = rng.normal(size=(30, 10)), rng.integers(0, 2, size=30)
    labels[features[:, 0] > 0.5] = 1
    candidates = (1.0, 0.1, 0.01)
    chosen = [choose_l2(features, labels, 2, candidates=candidates, seed=seed) for seed in range(5)]
    assert len(set(chosen)) > 1
    assert chosen == [choose_l2(features, labels, 2, candidates=candidates, seed=seed) for seed in range(5)]


def test_rows_of_a_group_are_held_out_together():
    rng = np.random.default_rng(0)
    # Each of 40 first sentences is there once with every label, as in XNLI. The label is in the last three features.
    sentences, labels = np.repeat(rng.normal(size=(40, 60)), 3, axis=0), np.tile(np.arange(3), 40)
    features = np.hstack([sentences, np.eye(3)[labels] + rng.normal(size=(120, 3))])
    groups = [f"sentence {row // 3}" for row in range(120)]
    candidates = (100.0, 10.0, 1.0, 0.1, 0.01)
    order = np.random.default_rng(3).permutation(120)
    shuffled = [groups[row] for row in order]
    together = choose_l2(features, labels, 3, groups=groups, candidates=candidates)
    assert together < choose_l2(features, labels, 3, candidates=candidates)
    # Groups are told apart by their names, wherever their rows are.
    assert choose_l2(features[order], labels[order], 3, groups=shuffled, candidates=candidates) == together
    with pytest.raises(ValueError, match="got 1 in 120 rows of 120"):
        choose_l2(features, labels, 3, groups=["one"] * 120)
    with pytest.raises(ValueError, match="got 40 in 119 rows of 120"):
        choose_l2(features, labels, 3, groups=groups[1:])


def scores(*args, **options) -> dict:
    return classification_scores(classify(*args, **options))


def test_what_english_teaches_is_scored_in_every_language():
    rng = np.random.default_rng(0)
    u, v, labels = sentence_pairs(rng, 40)
    swapped = ["same" if label == "other" else "other" for label in labels]
    cells = scores(sentence_pairs(rng, 300), {"fr": (u, v, labels), "zh": (u, v, swapped)})
    assert list(cells) == ["fr", "zh"]
    assert cells["fr"]["accuracy"] > 90
    assert cells["zh"]["accuracy"] == pytest.approx(100 - cells["fr"]["accuracy"])
    assert cells["fr"]["num_pairs"] == 40


def test_the_languages_tested_do_not_change_the_probe():
    rng = np.random.default_rng(0)
    train, german = sentence_pairs(rng, 100, noise=2.0), sentence_pairs(rng, 50, shift=1.0, noise=2.0)
    strange = sentence_pairs(rng, 200, shift=-30.0)
    alone = scores(train, {"de": german})["de"]
    assert 50 < alone["accuracy"] < 100
    assert scores(train, {"hi": strange, "de": german, "ar": strange})["de"] == alone
    # Rows of its own language do not help either: two halves score what the whole does.
    halves = {
        name: tuple(part[where] for part in german)
        for name, where in (("first", slice(25)), ("second", slice(25, None)))
    }
    cells = scores(train, halves)
    assert (cells["first"]["accuracy"] + cells["second"]["accuracy"]) / 2 == pytest.approx(alone["accuracy"])


def test_the_groups_of_the_training_pairs_are_those_of_the_choice():
    train = sentence_pairs(np.random.default_rng(0), 30)
    grouped = scores(train, {"en": train}, groups=[str(row // 3) for row in range(30)])
    assert grouped["en"]["accuracy"] > 90
    with pytest.raises(ValueError, match="groups: got 1 in 30 rows of 30"):
        classify(train, {"en": train}, groups=["one"] * 30)


def test_labels_that_training_does_not_know_are_all_named():
    rng = np.random.default_rng(0)
    u, v, labels = sentence_pairs(rng, 3)
    tests = {
        "de": (u, v, ["same", "neutral", "0"]),
        "en": (u, v, ["same", "same", "other"]),
        "fr": (u, v, ["Same"] * 3),
        "hi": (u[:0], v[:0], []),
    }
    with pytest.raises(DataError) as error:
        classify(sentence_pairs(rng, 20), tests)
    assert error.value.problems == (
        "hi: no pairs to classify",
        "de: label '0' is not in training; known are other, same",
        "de: label 'neutral' is not in training; known are other, same",
        "fr: label 'Same' is not in training; known are other, same",
    )
    with pytest.raises(DataError, match="needs at least two"):
        classify((u, v, ["same"] * 3), {"en": (u, v, labels)})
