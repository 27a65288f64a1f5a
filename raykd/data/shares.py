"""Parts of a data set: the same item lies in the same part, whoever asks and whatever else there is."""

import hashlib
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
Part = tuple[float, float]
"""From one place, included, to another, in the random order of all items: numbers in [0, 1]."""

_BITS = 48
"""A number of them is exact in a float, and below 1."""


def place_of(item: str, seed: int) -> float:
    """An item's place in [0, 1): uniform over items, and independent of which others there are."""
    digest = hashlib.sha256(f"share:{seed}:{item}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[: _BITS // 8]) / 2**_BITS


def in_part(items: Iterable[T], part: Part | None, *, seed: int, key: Callable[[T], str]) -> list[T]:
    """The items of a part, in their order; all of them for None.

    Args:
        key: what names an item; the same in all its languages.
    """
    if part is None:
        return list(items)
    low, high = part
    return [item for item in items if low <= place_of(key(item), seed) < high]
