"""Where words begin and end in a text, so that an answer need not begin or end inside one. Needs no torch."""

import re
import unicodedata

import numpy as np

# Thai, Lao, Tibetan, Myanmar, Khmer, Chinese, Japanese: words are not parted by spaces.
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def word_breaks(text: str) -> np.ndarray:
    """Whether a word may begin or end between two characters, [len(text) + 1] bool; both ends of the text are breaks.

    There is none between two characters that are letters, digits or marks, unless one of them is of a script that
    writes no spaces: there a span may begin and end anywhere.
    """
    inside = np.array(
        [unicodedata.category(char)[0] in "LNM" and not _WITHOUT_SPACES.match(char) for char in text], dtype=bool
    )
    breaks = np.ones(len(text) + 1, dtype=bool)
    breaks[1:-1] = ~(inside[:-1] & inside[1:])
    return breaks
