"""Retrieval of translations by sentence vectors, as Tatoeba is scored (Artetxe and Schwenk 2019, arXiv:1812.10464)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from raykd.errors import DataError

_ROUNDING = 1e-6
"""Cosines this close are a tie: in float32, those of equal vectors can differ by where in the block they stand."""


def top1(queries: np.ndarray, keys: np.ndarray, *, same: np.ndarray | None = None, block: int = 1024) -> np.ndarray:
    """Whether the nearest key of each query by cosine is the right one, that of the same index; [N] bool.

    The right key must be strictly nearest: a tie with a wrong one is a miss, so that an encoder that gives one vector
    to all sentences has no hit. A key of the same text as the right one is right too. Computed in float32; a vector of
    zeros has cosine 0 with all.

    Args:
        queries: [N, H], any float dtype, of any length but finite.
        keys: [N, H], likewise.
        same: [N], the same number for keys of the same text. Without it all texts count as different.
        block: queries at a time; memory is that of a few arrays [block, N].

    Raises:
        DataError: if there is no query.
        ValueError: if the shapes do not fit or a vector is not finite.
    """
    if queries.ndim != 2 or queries.shape != keys.shape:
        raise ValueError(f"queries and keys: got {list(queries.shape)} and {list(keys.shape)}; both must be [N, H]")
    if same is not None and same.shape != keys.shape[:1]:
        raise ValueError(f"same: got {list(same.shape)}; it must be [{len(keys)}], a number for each key")
    if not len(queries):
        raise DataError("no pairs to retrieve; a language needs at least one")
    if not (np.isfinite(queries).all() and np.isfinite(keys).all()):
        raise ValueError("queries and keys: a vector is not finite; has the encoder diverged?")
    q, k = (F.normalize(torch.tensor(vectors, dtype=torch.float32), dim=1) for vectors in (queries, keys))
    text = torch.arange(len(k)) if same is None else torch.tensor(same)
    hits = []
    for rows, wanted in zip(q.split(block), text.split(block), strict=True):
        cosines = rows @ k.T
        is_right = wanted[:, None] == text
        right = cosines.masked_fill(~is_right, -torch.inf).amax(dim=1)
        wrong = cosines.masked_fill(is_right, -torch.inf).amax(dim=1)
        hits.append(right > wrong + _ROUNDING)
    return torch.cat(hits).numpy()


def retrieve(
    vectors: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    texts: Mapping[str, tuple[Sequence[str], Sequence[str]]] | None = None,
    block: int = 1024,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Retrieval in both directions, in each language.

    Args:
        vectors: language -> (English, other), [N, H] each; rows of the same index translate each other.
        texts: language -> (English, other), the N sentences behind the rows. A row whose text is that of the right one
            is right too, see `top1`. Without them all rows count as different.
        block: queries at a time, see `top1`.

    Returns:
        language -> hits [N] bool to English (queries in the language, keys in English) and from English.

    Raises:
        DataError: if a language has no pairs or, where `texts` are given, no texts; names every such language.
        ValueError: if shapes or numbers of texts do not fit, or a vector is not finite.
    """
    problems = [f"{language}: no pairs to retrieve; a language needs at least one" for language in _empty(vectors)]
    if texts is not None:
        problems += [f"{language}: vectors, but no texts" for language in vectors if language not in texts]
    if problems:
        raise DataError(problems)
    hits = {}
    for language, (english, other) in vectors.items():
        same_english, same_other = map(_numbered, texts[language]) if texts is not None else (None, None)
        to_english = top1(other, english, same=same_english, block=block)
        hits[language] = to_english, top1(english, other, same=same_other, block=block)
    return hits


def retrieval_scores(hits: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, dict[str, float]]:
    """What `retrieve` found, one cell for each language.

    Returns:
        language -> "to_english", "from_english" and "retrieval", the mean of the two, in percent; "num_pairs", N.
    """
    cells = {}
    for language, both in hits.items():
        to_english, from_english = (100 * float(way.mean()) for way in both)
        cells[language] = {
            "to_english": to_english,
            "from_english": from_english,
            "retrieval": (to_english + from_english) / 2,
            "num_pairs": len(both[0]),
        }
    return cells


def _empty(vectors: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> list[str]:
    return [language for language, (english, other) in vectors.items() if not (len(english) and len(other))]


def _numbered(texts: Sequence[str]) -> np.ndarray:
    """[N], the same number for the same text."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts])
