import numpy as np
import pytest
import torch
from support.rescored import check_rebuilt

from raykd.data.examples import LabelledPair, SentencePair
from raykd.objectives.multilevel import sentence_health
from raykd.report.examples import read_examples
from raykd.tasks.outcomes import Scores
from raykd.tasks.parallel.data import PairItems, ZeroShotItems
from raykd.tasks.parallel.scoring import SentenceDevSet, score_sentences, sentence_dev_set

PAIRS = {
    "es": [("old city", "ciudad vieja"), ("the river", "el rio"), ("where", "donde"), ("question", "pregunta")],
    "zh": [("the river", "河"), ("old city", "北京"), ("what", "什么"), ("answer", "answer")],
    "th": [("old city", "กรุงเทพ"), ("where", "ไหน")],
}
WIDTH = 8


def items(pairs=PAIRS) -> PairItems:
    return PairItems(
        {
            language: [SentencePair(f"{language}{row}", language, *texts) for row, texts in enumerate(members)]
            for language, members in pairs.items()
        },
        {},
    )


def labelled(language: str, *rows: str) -> list[LabelledPair]:
    return [LabelledPair(f"{language}{number}", language, *row.split("|")) for number, row in enumerate(rows)]


def probe() -> ZeroShotItems:
    """Of pairs of equal and of unequal words: `same` or `other`."""
    train = [f"{a}|{b}|{'same' if a == b else 'other'}" for a in "abcd" for b in "abcd"]
    return ZeroShotItems(
        labelled("en", *train, *(f"{a}|{a}|same" for a in "abcd" * 3)),
        {
            "zh": labelled("zh", "a|a|same", "b|c|other", "c|c|other", "d|a|same"),
            "en": labelled("en", "a|a|same", "b|d|other"),
            "es": labelled("es", "b|b|same", "c|a|other"),
        },
    )


def dev_set(tokenizer, *, pairs=PAIRS, probes=None, trained=("es", "zh")) -> SentenceDevSet:
    return sentence_dev_set(items(pairs), probes or {}, tokenizer, max_length=32, pivot="en", trained=trained)


def vectors_of(dev: SentenceDevSet, **placed: str) -> dict[str, np.ndarray]:
    """Sentence -> a vector of its own for each English one, its English one's for each translation.

    Args:
        placed: translation -> the sentence that it is taken for.
    """
    generator = np.random.default_rng(0)
    found = {text: generator.normal(size=WIDTH).astype(np.float32) for text in dev.texts}
    for english, other in (texts for members in PAIRS.values() for texts in members):
        found[other] = found[placed.get(other, english)]
    return found


def score(dev: SentenceDevSet, vectors: dict[str, np.ndarray]) -> Scores:
    """Sentences as they may come in: the last one first."""
    texts = [dev.texts[row] for row in dev.rows]
    scored = score_sentences([(row, vectors[texts[row]]) for row in reversed(range(len(texts)))], dev)
    check_rebuilt(scored.outcomes, scored.scores)
    return scored.scores


# Dev sets ---------------------------------------------------------------------------------------------------------


def test_every_sentence_is_read_once_whatever_asks_for_it(tokenizer):
    dev = dev_set(tokenizer, probes={"same": probe()})
    pairs = {text for members in PAIRS.values() for texts in members for text in texts}
    assert sorted(dev.texts) == sorted(pairs | set("abcd")) and len(dev.features) == len(dev.texts)
    for language, members in PAIRS.items():
        english, other = dev.pairs[language]
        assert [(dev.texts[a], dev.texts[b]) for a, b in zip(english, other, strict=True)] == members
    train, tests = dev.probes["same"]
    for rows, expected in ((train, probe().train), *((tests[name], each) for name, each in probe().tests.items())):
        read = [(dev.texts[a], dev.texts[b], label) for a, b, label in zip(*rows, strict=True)]
        assert read == [(pair.first, pair.second, pair.label) for pair in expected]


def test_a_row_of_features_is_the_sentence_of_its_row(wordpiece):
    dev = dev_set(wordpiece)
    for row, text in enumerate(dev.texts):
        batch = dev.features.collate(np.array([row]))
        assert batch["input_ids"][0].tolist() == wordpiece(text)["input_ids"]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_the_first_pairs_come_with_their_sentences_alone_and_without_probes(wordpiece, count):
    whole = dev_set(wordpiece, probes={"same": probe()})
    part = whole.first(count)
    assert part.probes == {} and (part.pivot, part.trained) == (whole.pivot, whole.trained)
    for language, members in PAIRS.items():
        english, other = part.pairs[language]
        assert [(part.texts[a], part.texts[b]) for a, b in zip(english, other, strict=True)] == members[:count]
    needed = {text for members in PAIRS.values() for texts in members[:count] for text in texts}
    assert {part.texts[row] for row in part.rows} == needed and len(part.features) == len(part.rows) == len(needed)
    for place, row in enumerate(part.rows):
        batch = part.features.collate(np.array([place]))
        assert batch["input_ids"][0].tolist() == wordpiece(whole.texts[row])["input_ids"]


def test_the_first_of_the_first_pairs_are_the_first_pairs(wordpiece):
    whole = dev_set(wordpiece)
    once, twice = whole.first(1), whole.first(3).first(1)
    assert once.rows.tolist() == twice.rows.tolist() and once.features.sha256 == twice.features.sha256


# Scores -----------------------------------------------------------------------------------------------------------


def test_scores_worked_out_by_hand(wordpiece):
    # Spanish: `donde` is where `the river` is, so that one way is wrong to English. From English two are: `the river`
    # has `el rio` and `donde` at the same distance, a tie, and `where` has its own nowhere near.
    dev = dev_set(wordpiece)
    found = score(dev, vectors_of(dev, donde="the river", ไหน="old city"))
    assert found.cells["es"] == {"to_english": 75, "from_english": 50, "retrieval": 62.5, "num_pairs": 4}
    assert found.cells["zh"]["retrieval"] == 100
    assert found.cells["th"] == {"to_english": 50, "from_english": 0, "retrieval": 25, "num_pairs": 2}
    assert found.values["retrieval"] == pytest.approx((62.5 + 100) / 2)
    assert found.values["zero_shot_retrieval"] == found.values["retrieval_th"] == 25
    assert (found.main, found.metric) == ("retrieval", "retrieval")
    assert found.columns == {
        "retrieval": "retrieval",
        "zero_shot_retrieval": "zero-shot retrieval",
        "retrieval_es": "es",
        "retrieval_zh": "zh",
        "retrieval_th": "th (zero-shot)",
        "effective_rank": "effective rank",
    }
    assert found.values.keys() >= found.columns.keys() and found.probes == {}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_pairs_are_scored_among_themselves(wordpiece, count):
    whole = dev_set(wordpiece)
    vectors = vectors_of(whole, donde="the river", 北京="the river", ไหน="old city")
    part = {language: members[:count] for language, members in PAIRS.items()}
    found, alone = (score(dev, vectors) for dev in (whole.first(count), dev_set(wordpiece, pairs=part)))
    assert found.cells == alone.cells and found.watched == pytest.approx(alone.watched, rel=1e-4)
    assert found.cells["es"]["num_pairs"] == count


def test_every_language_weighs_the_same_whatever_its_size(wordpiece):
    dev = dev_set(wordpiece, trained=("th", "es"))
    found = score(dev, vectors_of(dev, ไหน="old city"))
    assert found.values["retrieval"] == pytest.approx((25 + 100) / 2) and found.values["zero_shot_retrieval"] == 100


def test_without_a_language_of_training_the_zero_shot_mean_is_the_main_score(wordpiece):
    dev = dev_set(wordpiece, trained=("de",))
    found = score(dev, vectors_of(dev))
    assert found.values["retrieval"] is None and found.main == "zero_shot_retrieval"
    assert next(iter(found.columns)) == "zero_shot_retrieval" and "retrieval" not in found.columns


def test_without_a_zero_shot_language_there_is_no_such_column(wordpiece):
    dev = dev_set(wordpiece, trained=("es", "zh", "th"))
    found = score(dev, vectors_of(dev))
    assert found.values["zero_shot_retrieval"] is None and "zero_shot_retrieval" not in found.columns


def test_a_sentence_that_comes_twice_in_a_language_is_right_both_times(wordpiece):
    pairs = {"es": [("where", "donde"), ("where", "en que lugar"), ("old city", "donde")]}
    dev = dev_set(wordpiece, pairs=pairs, trained=("es",))
    vectors = dict(zip(dev.texts, np.eye(len(dev.texts), WIDTH, dtype=np.float32), strict=True))
    vectors["donde"] = vectors["en que lugar"] = vectors["where"]
    # To English: `where` is there twice and right for both; the last `donde` finds it too and is wrong. From English
    # `donde` and `en que lugar` tie, but the first row's text is that of the third as well.
    assert score(dev, vectors).cells["es"]["to_english"] == pytest.approx(200 / 3)


def test_a_collapsed_encoder_finds_nothing_and_is_told(wordpiece):
    dev = dev_set(wordpiece)
    found = score(dev, dict.fromkeys(dev.texts, np.ones(WIDTH, dtype=np.float32)))
    assert found.values["retrieval"] == found.values["zero_shot_retrieval"] == 0
    assert found.watched == {"mean_cosine": pytest.approx(1), "std": pytest.approx(0, abs=1e-6), "effective_rank": 0}


def test_what_is_watched_is_of_the_different_sentences_of_pairs_alone(wordpiece):
    dev = dev_set(wordpiece, probes={"same": probe()})
    vectors = vectors_of(dev)
    sentences = dict.fromkeys(text for members in PAIRS.values() for texts in members for text in texts)
    expected = sentence_health(torch.from_numpy(np.stack([vectors[text] for text in sentences])))
    for each in (dev, dev.first(9)):
        found = score(each, vectors)
        assert found.watched == pytest.approx(expected, rel=1e-4)
        assert found.values["effective_rank"] == found.watched["effective_rank"]


def test_a_probe_is_scored_by_the_mean_over_the_languages_that_it_was_not_fitted_in(wordpiece):
    # Equal words have |u - v| = 0, which tells the labels apart; two of the Chinese labels are wrong.
    dev = dev_set(wordpiece, probes={"same-word": probe()})
    found = score(dev, vectors_of(dev))
    assert {language: cell["accuracy"] for language, cell in found.probes["same-word"].items()} == {
        "zh": 50,
        "en": 100,
        "es": 100,
    }
    assert found.values["same-word"] == 75 and found.values["same-word_en"] == 100
    columns = found.columns
    assert (columns["same-word"], columns["same-word_en"]) == ("same-word (zero-shot)", "same-word en")
    assert found.main == "retrieval"


def test_a_probe_that_is_scored_in_english_alone_has_no_zero_shot_score(wordpiece):
    whole = probe()
    dev = dev_set(wordpiece, probes={"same": ZeroShotItems(whole.train, {"en": whole.tests["en"]})})
    found = score(dev, vectors_of(dev))
    assert found.values["same"] is None and found.values["same_en"] == 100


def test_pairs_that_share_their_english_sentence_are_one_item_in_all_languages(wordpiece):
    dev = dev_set(wordpiece)
    vectors = vectors_of(dev, donde="the river")
    scored = score_sentences([(row, vectors[dev.texts[row]]) for row in dev.rows], dev)
    examples = read_examples(scored.outcomes, "retrieval")
    # Six English sentences; `the river` and `old city` have a Spanish and a Chinese translation.
    assert sorted(examples.counts.sum(axis=1).tolist()) == [1, 1, 1, 1, 2, 2]
    # `donde` is where `the river` is: that one is found to English alone, `where` neither way.
    assert scored.outcomes.cells["es"].values == [100, 50, 0, 100]
