import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.errors import DataError
from raykd.tasks.qa.answers import scores_of
from raykd.tasks.qa.scoring import (
    STYLES,
    CellScore,
    QuestionScore,
    exact_match,
    f1,
    score_cell,
    score_questions,
    summarize,
)

LANGUAGES = ("en", "es", "de", "ar", "vi", "hi", "zh")


@pytest.mark.parametrize(
    ("language", "prediction", "gold"),
    [
        ("en", "The Broncos!", "broncos"),
        ("en", "an  apple — «pie»", "apple pie"),
        ("es", "La Unión Europea", "unión europea"),
        ("es", "¿los años?", "unas años"),
        ("de", "Der Große Kurfürst", "den große kurfürst"),
        ("de", "einer „Stadt“", "Stadt"),
        ("vi", "những con mèo của tôi", "con mèo tôi"),
        ("ar", "القاهرة", "قاهرة"),
        ("ar", "نهر النيل؟", "نهر نيل"),
        ("hi", "दिल्ली।", "दिल्ली"),
        ("zh", "《红楼梦》", "红楼梦"),
        ("zh", "2008年北京", "2008 年 北京"),
        ("sw", "Nairobi, Kenya", "nairobi kenya"),
    ],
)
def test_mlqa_takes_these_for_the_same_answer(language, prediction, gold):
    assert exact_match(prediction, gold, language=language, style="mlqa") == 1
    assert f1(prediction, gold, language=language, style="mlqa") == 1


@pytest.mark.parametrize(
    ("language", "prediction", "gold"),
    [
        ("de", "the Berlin", "Berlin"),
        ("de", "eins", ""),
        ("es", "uns", ""),
        ("en", "theatre", "atre"),
        ("hi", "the दिल्ली", "दिल्ली"),
        ("en", "la casa", "casa"),
    ],
)
def test_mlqa_removes_no_article_of_another_language_and_no_part_of_a_word(language, prediction, gold):
    assert exact_match(prediction, gold, language=language, style="mlqa") == 0


def test_the_arabic_article_also_splits_words_as_in_the_published_evaluation():
    assert exact_match("طالب", "ط ب", language="ar", style="mlqa") == 1


def test_chinese_characters_are_tokens_and_other_runs_are_words():
    # 北 京 2008 against 北 京 市: two of three shared on both sides.
    assert f1("北京2008", "北京市", language="zh", style="mlqa") == pytest.approx(2 / 3)
    assert f1("北京 nba star", "北京nba", language="zh", style="mlqa") == pytest.approx(2 * 3 / (4 + 3))
    # Without mixed segmentation the whole string is one token.
    assert f1("北京2008", "北京市", language="hi", style="mlqa") == 0


def test_f1_counts_repeated_tokens_as_a_bag():
    # Shared: new once, york once. Precision 2/3, recall 2/2.
    assert f1("new new york", "York, new", language="en", style="squad") == pytest.approx(0.8)
    assert f1("cat", "dog", language="en", style="squad") == 0


def test_two_empty_answers_match_exactly_but_have_no_f1():
    assert exact_match("the", "", language="en", style="squad") == 1
    assert f1("the", "", language="en", style="squad") == 0


def test_squad_normalises_as_english_in_every_language():
    for language in LANGUAGES:
        assert exact_match("The  Berlin.", "berlin", language=language, style="squad") == 1
        assert exact_match("der Berlin", "Berlin", language=language, style="squad") == 0
        assert exact_match("«Berlin»", "Berlin", language=language, style="squad") == 0
    assert exact_match("$5|", "5", language="en", style="squad") == 1


def test_characters_are_the_tokens_where_words_are_not_spaced():
    assert f1("กรุงเทพ", "กรุงไทย", language="th", style="squad") == 0
    assert exact_match("กรุง เทพ!", "กรุงเทพ", language="th", style="char") == 1
    # Seven characters each; the four of กรุง and ท are shared.
    assert f1("กรุงเทพ", "กรุงไทย", language="th", style="char") == pytest.approx(5 / 7)


@given(st.text(), st.text(), st.sampled_from([*LANGUAGES, "th"]), st.sampled_from(list(STYLES)))
def test_scores_of_any_text_are_symmetric_and_in_range(first, second, language, style):
    score = f1(first, second, language=language, style=style)
    assert 0 <= score <= 1
    assert score == f1(second, first, language=language, style=style)
    assert exact_match(first, first, language=language, style=style) == 1


def test_a_cell_takes_the_best_gold_and_is_in_percent():
    predictions = {"q1": "red car", "q2": "dog", "unasked": "x"}
    golds = {"q1": ["blue", "red"], "q2": ["cat", "The Dog"]}
    score = score_cell(score_questions(predictions, golds, language="en", style="mlqa").values())
    # q1: F1 2/3, EM 0; q2: 1 and 1.
    assert score.num_questions == 2
    assert score.exact_match == pytest.approx(50)
    assert score.f1 == pytest.approx(100 * (2 / 3 + 1) / 2)


def test_missing_predictions_and_golds_are_named():
    with pytest.raises(DataError) as error:
        score_questions({"q1": "a"}, {"q1": [], "q2": ["b"], "q3": ["c"]}, language="en", style="squad")
    assert [line.split(":")[0] for line in error.value.problems] == ["q2", "q3", "q1"]
    with pytest.raises(DataError, match="at least one"):
        score_questions({}, {}, language="en", style="squad")


def test_an_unknown_style_names_the_known_ones():
    with pytest.raises(ValueError, match="'squat'; it must be one of squad, mlqa, char"):
        f1("a", "a", language="en", style="squat")


def test_gxlt_is_the_mean_of_all_49_cells():
    cells = {
        (question, context): CellScore(exact_match=float(row), f1=float(7 * row + column), num_questions=10 + column)
        for row, question in enumerate(LANGUAGES)
        for column, context in enumerate(LANGUAGES)
    }
    summary = summarize(cells)
    assert summary["gxlt_f1"] == pytest.approx(24)  # mean of 0 .. 48
    assert summary["xlt_f1"] == pytest.approx(24)  # mean of 0, 8, .., 48
    assert summary["gxlt_exact_match"] == pytest.approx(3)
    diagonal_up = {key: CellScore(100.0, 70.0, 1) if key[0] == key[1] else CellScore(0.0, 21.0, 1) for key in cells}
    summary = summarize(diagonal_up)
    assert summary["xlt_f1"] == pytest.approx(70)
    assert summary["gxlt_f1"] == pytest.approx((7 * 70 + 42 * 21) / 49)
    assert summary["gxlt_off_diagonal_f1"] == pytest.approx(21)
    assert summary["gxlt_off_diagonal_exact_match"] == pytest.approx(0)


def test_a_mean_over_no_cells_is_none():
    only_diagonal = summarize({("th", "th"): CellScore(40.0, 50.0, 3)})
    assert only_diagonal == {
        "xlt_f1": 50,
        "xlt_exact_match": 40,
        "gxlt_f1": None,
        "gxlt_exact_match": None,
        "gxlt_off_diagonal_f1": None,
        "gxlt_off_diagonal_exact_match": None,
    }
    assert set(summarize({}).values()) == {None}


def test_scoring_needs_no_torch():
    code = "import sys, raykd.tasks.qa.scoring; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cells_of_one_language_only_are_called_xlt_and_never_g_xlt():
    scored = {"q": QuestionScore(100.0, 80.0)}
    only = scores_of({("sw", "sw"): scored, ("te", "te"): {"q": QuestionScore(0.0, 40.0)}})
    assert (only.main, only.main_value, only.columns) == (
        "xlt_f1",
        60.0,
        {"xlt_f1": "XLT F1", "xlt_exact_match": "XLT EM"},
    )
    assert "G-XLT" not in only.in_words
    whole = scores_of({("sw", "sw"): scored, ("te", "sw"): {"q": QuestionScore(0.0, 40.0)}})
    assert (whole.main, whole.main_value) == ("gxlt_f1", 60.0)
