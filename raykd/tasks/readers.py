"""What reading the data of all tasks has in common."""

from collections.abc import Callable, Sequence
from typing import Any

from raykd.config.base import Source
from raykd.data.sources import SourceRef

PIECES_PER_WORD = 1.6
"""Assumed for an estimate: WikiAnn has 1.4 (English) to 3.1 (Tamil) of mBERT's pieces a word."""


def reference(source: Source) -> SourceRef:
    """The data set of a section that is not built in."""
    return SourceRef(
        path=source.path,
        hub=source.hub,
        hub_config=source.hub_config,
        hub_revision=source.hub_revision,
        hub_files=source.hub_files,
        hub_codes=source.hub_codes,
        split=source.split,
        share=source.share,
        share_seed=source.share_seed,
    )


def source_name(source: Source) -> str:
    """What tells a source from others, whichever part of it is read; built-in items have names of their own."""
    parts = (source.path, source.hub, source.hub_revision, source.hub_config, source.hub_files, source.split)
    return " ".join(filter(None, parts)) or str(source.builtin)


class PlainReader:
    """The usual parts of `TaskData`: models are checked when they are loaded."""

    def check_models(self, configs: Sequence[Any], *, locate: Callable[[str], str]) -> None:
        """Nothing."""
