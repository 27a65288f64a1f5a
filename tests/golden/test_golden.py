"""Short trainings of every task give the losses that are stored, step by step.

Losses that change on purpose are stored anew: `PYTHONPATH=tests python -m golden record tests/golden/losses.json`.
"""

import numpy as np
import pytest

from golden import recorder

STORED = {name: np.array(rows) for name, rows in recorder.read(recorder.STORED).items()}
RELATIVE = 1e-5
OF_LARGEST = 2e-5
"""Of the largest value that a term has in any step: a KD term near 0 is a difference of larger numbers. Processors with
other instructions differ by half of it."""


def differing(found: np.ndarray, stored: np.ndarray) -> list[int]:
    """The steps (from 0) that are not the stored ones."""
    close = np.abs(found - stored) <= RELATIVE * np.abs(stored) + OF_LARGEST * np.abs(stored).max(axis=0)
    return np.flatnonzero(~close.all(axis=1)).tolist()


@pytest.mark.parametrize("sweep", recorder.SWEEPS, ids=lambda path: path.stem)
def test_losses_are_those_that_are_stored(sweep):
    found = {name: np.array(rows) for name, rows in recorder.record(sweep).items()}
    assert found.keys() == {name for name in STORED if name.startswith(f"{sweep.stem}/")}
    assert {name: rows.shape for name, rows in found.items()} == {name: STORED[name].shape for name in found}
    for name, rows in found.items():
        for step in differing(rows, STORED[name])[:1]:
            pytest.fail(f"{name}, step {step + 1}: {rows[step]}, not {STORED[name][step]}")


@pytest.mark.parametrize("name", STORED)
def test_a_ten_thousandth_of_any_term_is_noticed(name):
    stored = STORED[name]
    assert len(stored) == 50 and differing(stored, stored) == []
    for term in np.flatnonzero(stored.any(axis=0)):
        changed = stored.copy()
        changed[:, term] *= 1 + 1e-4
        assert differing(changed, stored)
