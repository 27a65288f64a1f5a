"""Short trainings of every task give the losses that are stored, step by step.

Losses that change on purpose are stored anew: `PYTHONPATH=tests python -m golden record tests/golden/losses.json`.
"""

import pytest

from golden import recorder

STORED = recorder.read(recorder.STORED)
TOLERANCE = 1e-5
"""Of a step's largest loss: its KD term may be near 0, as the difference of numbers of that size. Instruction sets of
one architecture differ by less than a third of it."""


@pytest.mark.parametrize("sweep", recorder.SWEEPS, ids=lambda path: path.stem)
def test_losses_are_those_that_are_stored(sweep):
    found = recorder.record(sweep)
    assert found.keys() == {name for name in STORED if name.startswith(f"{sweep.stem}/")}
    for name, rows in found.items():
        for step, (row, expected) in enumerate(zip(rows, STORED[name], strict=True), start=1):
            close = pytest.approx(expected, rel=TOLERANCE, abs=TOLERANCE * max(map(abs, expected)))
            assert row == close, f"{name}, step {step}"


def test_a_golden_is_50_steps_of_a_point_of_a_file():
    assert {name.split("/")[0] for name in STORED} == {path.stem for path in recorder.SWEEPS}
    assert {len(rows) for rows in STORED.values()} == {50}
