"""The sections that only sequence labelling needs: how its files are read, and its head."""

from typing import Literal

from pydantic import Field

from raykd.config.base import Config


class ColumnsConfig(Config):
    """How files with a word and its tag in each line are read; task tagging."""

    word: int = 0
    """Column of the word, from 0; a negative one counts from the end."""
    tag: int = -1
    """Column of the tag."""
    scheme: Literal["iob1", "iob2", "bioes", "io", "none"] | None = None
    """How tags mark chunks; `none` is one tag a word, as in part-of-speech tagging. null: detected."""
    encode: Literal["bioes", "iob2"] = "bioes"
    """What chunks are turned into for training."""
    bad_sequences: Literal["refuse", "repair"] = "refuse"
    """What to do with a tag that cannot follow the one before it: an error, or a chunk that begins there, counted."""
    drop_types: bool = False
    """Forget the type of a chunk: the polarity of an aspect term, say."""


class HeadConfig(Config):
    """What stands on the encoder; task tagging."""

    kind: Literal["crf", "softmax"] = "crf"
    """A linear-chain CRF, or every word for itself."""
    pooling: Literal["first", "mean"] = "first"
    """A word is its first piece, or the mean of its pieces."""
    lstm_size: int | None = Field(None, ge=1)
    """Hidden size, per direction, of a BiLSTM between encoder and labels; null is none."""
    freeze_encoder: bool = False
    """Train the head alone."""
