"""What a trimmed vocabulary covers, before anything starts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raykd.config.base import Source
from raykd.config.point import PointBase
from raykd.data.texts import read_texts
from raykd.results.models import locate_model
from raykd.tasks.readers import reference


def check_vocabulary(
    config: PointBase, texts: Mapping[str, Sequence[str]], scored: Mapping[str, Sequence[str]], *, folder: Path
) -> Any:
    """Trim a student's vocabulary, where its tokenizer is on this machine, and look how the data is read with it.

    Args:
        texts: of the training data, by language.
        scored: of the selection set.

    Returns:
        A `raykd.models.vocabulary.Coverage` over both; None where the tokenizer is not here.

    Raises:
        DataError: if a language is not covered, or the vocabulary cannot be trimmed.
    """
    section, name = config.student.vocabulary, config.student.model or config.base.model
    assert section is not None, "asked for where a vocabulary is trimmed"
    if name.startswith("builtin:") or not Path(located := locate_model(name, folder=folder)).is_dir():
        return None
    # Only this needs transformers; other plans do not wait for it.
    from raykd.models.qa import load_tokenizer
    from raykd.models.vocabulary import check_coverage, coverage, needed_pieces, trim_tokenizer

    tokenizer = load_tokenizer(located)
    kept_for = texts
    if isinstance(section.texts, Source):
        kept_for = read_texts(reference(section.texts), languages=config.vocabulary_languages, folder=folder)
    trimmed = trim_tokenizer(tokenizer, needed_pieces(tokenizer, kept_for, max_pieces=section.max_pieces))
    both = {name: [*texts.get(name, ()), *scored.get(name, ())] for name in {**texts, **scored}}
    found = coverage(tokenizer, trimmed, both)
    check_coverage(found)
    return found
