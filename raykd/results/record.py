"""What a record is: a frozen dataclass with a version, one reader and one writer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, ClassVar, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from raykd.errors import ArtifactError

VERSION = "version"
"""The key of a file that says which version of its record it holds. A file without it holds version 1."""


@dataclass(frozen=True)
class Record:
    """Base of every record: `class Name(Record, version=N)`, a frozen dataclass. N rises when its file changes.

    A record that lies inside another one is a plain dataclass: the version is that of the file.
    """

    version: ClassVar[int]
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def __init_subclass__(cls, *, version: int) -> None:
        cls.version = version

    def to_json(self) -> dict[str, Any]:
        """The content of its file."""
        return {VERSION: self.version, **asdict(self)}

    @classmethod
    def from_json(cls, content: Any, *, where: str) -> Self:
        """The record that a file holds.

        Args:
            where: the file, for the error.

        Raises:
            ArtifactError: if it is not such a record; the line names the file and the field.
        """
        version = content.get(VERSION, 1) if isinstance(content, Mapping) else 1
        if not isinstance(version, int) or version < 1:
            raise ArtifactError(f"{where}: {VERSION}: got {version!r}; it must be a number from 1")
        if version > cls.version:
            raise ArtifactError(
                f"{where}: written by a newer raykd (version {version} of this record, known up to {cls.version}); "
                "use that one"
            )
        try:
            current = cls.upgraded(content) if version < cls.version else content
            fields = {name: value for name, value in current.items() if name != VERSION}
        except (KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{where}: not a {cls.__name__} of version {version} ({error!r})") from error
        try:
            found = _adapter(cls).validate_python(fields)
        except ValidationError as error:
            raise ArtifactError(f"{where}: {first_problem(error)}") from error
        assert isinstance(found, cls)
        return found

    @classmethod
    def upgraded(cls, content: Any) -> Any:
        """The content of a file of an earlier version, as this version has it.

        Raises:
            KeyError, TypeError, AttributeError: if it is not such a content.
        """
        return content


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong with a record, in a line: which field, and what was found."""
    problems = error.errors(include_url=False)
    first = problems[0]
    field = ".".join(str(part) for part in first["loc"])
    found = "" if first["type"] == "missing" else f", got {repr(first['input'])[:80]}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    words = {"missing": "missing", "unexpected_keyword_argument": "unknown field"}
    return f"{field}: {words.get(first['type'], first['msg'])}{found}{more}"


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
