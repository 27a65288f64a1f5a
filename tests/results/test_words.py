"""How times are said and files are called."""

import pytest

from raykd.results.words import duration, file_name


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0.0 s"),
        (4.25, "4.2 s"),
        (45, "45 s"),
        (119.4, "119 s"),
        (120, "2 min"),
        (7140, "119 min"),
        (12240, "3 h 24 min"),
    ],
)
def test_a_time_is_said_in_the_units_that_fit_it(seconds, said):
    assert duration(seconds) == said


def test_a_file_name_holds_nothing_that_a_system_minds():
    assert file_name("../a b: ü") == "..-a-b-"
    assert file_name("skd seed=1") == "skd-seed-1"
    assert file_name("skd seed=1", also="=") == "skd-seed=1"
