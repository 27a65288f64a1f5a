"""Checks that hang, die, or go wrong: each is told, and the others with it."""

import os
import time

import pytest

from raykd.doctor.bounded import Check, run_checks
from raykd.doctor.finding import Finding, Step
from raykd.errors import DataError

FINE = Finding("ok", "fine", "all of it")


def fine():
    yield FINE


def hangs():
    yield FINE
    yield Step("waiting for nobody", 0.5)
    time.sleep(60)


def dies():
    os.write(2, b"one\nlast words\n")
    os._exit(3)
    yield FINE


def breaks():
    yield FINE
    raise DataError(["one is wrong", "two are wrong"])


def blunders():
    yield FINE
    raise ValueError("not expected")


def tells():
    yield Step("waiting in vain", 50)
    os.write(2, b"one\nlast words\n")
    time.sleep(60)


def explained(said):
    return (f"heard {said.split()}", "listen") if "last" in said else None


def test_findings_come_in_the_order_of_the_checks_whatever_becomes_of_them():
    started = time.monotonic()
    found = list(run_checks([Check("hangs", hangs), Check("dies", dies), Check("breaks", breaks), Check("fine", fine)]))
    assert time.monotonic() - started < 50
    assert [(each.level, each.what) for each in found] == [
        ("ok", "fine"), ("error", "hangs"), ("error", "dies"), ("ok", "fine"),
        ("error", "breaks"), ("error", "breaks"), ("ok", "fine"),
    ]  # fmt: skip
    assert found[1].found == "no answer within 0.5 s while waiting for nobody"
    assert "last words" in found[2].found
    assert [each.found for each in found[4:6]] == ["one is wrong", "two are wrong"]


def test_what_a_check_did_not_expect_is_told_by_the_last_line_of_its_traceback():
    *_, last = run_checks([Check("blunders", blunders)])
    assert (last.level, "ValueError: not expected" in last.found) == ("error", True)


@pytest.mark.parametrize("look", [dies, tells])
def test_what_a_library_printed_explains_a_check_that_died_or_will_not_answer(look):
    started = time.monotonic()
    (finding,) = run_checks([Check("told", look, explain=explained, level="warning")])
    assert finding == Finding("warning", "told", "heard ['one', 'last', 'words']", "listen")
    assert time.monotonic() - started < 40
