"""Points by name: the same rules for every command."""

import pytest

from raykd.errors import DataError
from raykd.results.find import Named, best_point, find_point

POINTS = [
    Named("ab1", "skd seed=1", "skd", "finished", is_finished=True, score=60.0),
    Named("ab2", "skd seed=2", "skd", "failed", "out of memory"),
    Named("cd3", "ce seed=1", "ce", "finished", is_finished=True, score=64.0),
    Named("cd4", "ce seed=2", "ce", "finished", is_finished=True, score=None),
    Named("ce5", "mix seed=1", "mix", "pending"),
]


def refused(wanted: str, **options: bool) -> str:
    with pytest.raises(DataError) as caught:
        find_point(POINTS, wanted, where="runs/tiny", **options)
    (line,) = caught.value.problems
    return line


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        *[("skd seed=1", "ab1"), ("ab1", "ab1"), ("cd3", "cd3")],
        *[("skd", "ab1"), ("best", "cd3")],
    ],
)
def test_a_point_goes_by_label_id_method_or_best(wanted, found, finished):
    assert find_point(POINTS, wanted, where="runs/tiny", finished=finished).id == found


@pytest.mark.parametrize(("wanted", "found"), [("ce5", "ce5"), ("mix", "ce5"), ("ab2", "ab2"), ("cd4", "cd4")])
def test_an_unfinished_point_is_found_where_it_will_do(wanted, found):
    assert find_point(POINTS, wanted, where="runs/tiny").id == found


def test_the_beginning_of_an_id_will_do_where_one_point_has_it():
    points = [POINTS[0], POINTS[2]]
    assert find_point(points, "a", where="runs/tiny").id == "ab1"
    assert refused("cd").startswith("2 points in runs/tiny match 'cd': 'ce seed=1' (cd3), 'ce seed=2' (cd4); choose")
    # A beginning is no method: that one of these points is finished does not tell them apart.
    assert refused("ab").startswith("2 points in runs/tiny match 'ab': ")
    assert find_point(POINTS, "ab", where="runs/tiny", finished=True).id == "ab1"


def test_a_method_goes_before_the_beginning_of_an_id():
    assert refused("ce", finished=True).startswith("2 finished points in runs/tiny match 'ce': 'ce seed=1' (cd3), ")


def test_what_is_not_finished_says_where_it_stands():
    assert refused("ab2", finished=True) == (
        "no point 'ab2' in runs/tiny is finished ('skd seed=2' (ab2) is failed: out of memory); finish that sweep"
    )


def test_an_unknown_name_is_answered_with_those_that_are_near():
    line = refused("skd sed=1")
    assert line.startswith("runs/tiny has no point 'skd sed=1'; nearest are 'skd seed=1', ")
    assert "or 'best'" in line
    assert "runs/tiny has no point ''" in refused("")


def test_the_best_point_has_the_highest_score_and_the_first_of_equal_ones_wins():
    scores = {"a": 1.0, "b": None, "c": 2.0, "d": 2.0}
    points = [Named(name, name, name, "finished", score=score, configuration=name) for name, score in scores.items()]
    assert best_point(points, lambda point: point).id == "c"
    assert best_point(points[1:2], lambda point: point) is None


def test_the_best_configuration_is_the_one_with_the_best_mean_over_as_many_seeds():
    def points(**scores: list[float | None]) -> list[Named]:
        return [
            Named(
                f"{name}{seed}",
                "",
                "",
                "finished" if score is not None else "stopped",
                None,
                score is not None,
                score,
                name,
            )
            for name, each in scores.items()
            for seed, score in enumerate(each)
        ]

    def best(**scores: list[float | None]) -> str:
        return best_point(points(**scores), lambda point: point).id

    assert best(lucky=[9.0, 1.0], steady=[6.0, 7.0]) == "steady1"
    # What was given up after its first seed does not win by it; what has one seed at all may.
    assert best(lucky=[9.0, None], steady=[6.0, 7.0]) == "steady1"
    assert best(alone=[9.0], steady=[6.0, 7.0]) == "alone0"


def test_each_budget_may_end_with_a_number_of_seeds_of_its_own():
    """As its race does."""
    few = [Named(f"few{seed}", "few", "", "finished", None, True, 5.0, "few", 64) for seed in range(5)]
    many = [
        Named(f"many{seed}", "many", "", "finished" if seed < 2 else "stopped", None, seed < 2, score, "many", 1024)
        for seed, score in enumerate([8.0, 9.0, None, None, None])
    ]
    assert best_point([*few, *many], lambda point: point).id == "many1"
    with pytest.raises(DataError, match="no point in runs/tiny has a main score"):
        find_point([POINTS[1]], "best", where="runs/tiny")
