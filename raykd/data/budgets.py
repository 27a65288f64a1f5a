"""How many parallel items a point may train on. Budgets are nested: the 64 are among the 256."""

import hashlib
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from raykd.errors import DataError


@dataclass(frozen=True)
class Budget:
    """The drawn ids, in draw order: a smaller budget of the same ids and seed is a prefix of this one."""

    ids: tuple[str, ...]
    seed: int

    @property
    def size(self) -> int:
        """Number of ids."""
        return len(self.ids)

    @property
    def sha256(self) -> str:
        """Hex digest of the ids in draw order; equal only for the same ids in the same order."""
        return hashlib.sha256(json.dumps(self.ids).encode()).hexdigest()

    def to_json(self) -> dict[str, object]:
        """The budget as JSON values, for a record."""
        return {"size": self.size, "seed": self.seed, "sha256": self.sha256, "ids": list(self.ids)}


def select(ids: Iterable[str], budget: int | Literal["all"], *, seed: int) -> Budget:
    """Draws `budget` of the distinct `ids` without replacement, whatever order they come in.

    Args:
        ids: the ids to draw from.
        budget: how many, at least 1, or "all".
        seed: of the draw; the same seed gives nested budgets.

    Raises:
        DataError: if the budget is below 1 or above the number of ids.
    """
    drawn = sorted(set(ids))
    size = len(drawn) if budget == "all" else budget
    if not 1 <= size <= len(drawn):
        raise DataError(f"budget {budget}: {len(drawn)} items are available; give 1 to {len(drawn)}, or 'all'")
    # The whole list is shuffled whatever the size: that is what makes budgets nested.
    random.Random(f"budget:{seed}").shuffle(drawn)
    return Budget(ids=tuple(drawn[:size]), seed=seed)
