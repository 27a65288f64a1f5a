"""Tables as rows: parquet, JSON, JSON lines, and CSV or TSV whose first line names the columns."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raykd.errors import DataError

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """Rows of one table.

    Attributes:
        begin: begins to go through them.
        count: how many there are.
        features: column -> what `datasets` knows of it, such as the names of numbered classes.
    """

    begin: Callable[[], Iterator[Row]]
    count: int
    features: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Row]:
        return self.begin()

    def __len__(self) -> int:
        return self.count


def read_rows(paths: Sequence[Path]) -> Rows:
    """The rows of files with the same columns, one file after another.

    Raises:
        DataError: naming the file, and the line where there are lines, if one cannot be read.
    """
    if paths[0].suffix == ".parquet":
        return _parquet(paths)
    read = _READERS[paths[0].suffix]
    rows: list[Row] = []
    for path in paths:
        try:
            rows += read(path)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}: line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
        except (OSError, ValueError, RecursionError, csv.Error) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
    return Rows(rows.__iter__, len(rows))


def _parquet(paths: Sequence[Path]) -> Rows:
    # These imports take a second; a run on plain files never pays for them.
    import datasets
    import pyarrow
    from pyarrow import parquet

    tables = []
    for path in paths:
        try:
            tables.append(parquet.read_table(path))
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(f"{path}: cannot be read as parquet: {error}") from error
    try:
        table = pyarrow.concat_tables(tables)
    except pyarrow.ArrowException as error:
        raise DataError(f"{paths[0]}: the files of this set have different columns: {error}") from error
    features = datasets.Features.from_arrow_schema(table.schema)

    def each() -> Iterator[Row]:
        for batch in table.to_batches():
            yield from batch.to_pylist()

    return Rows(each, table.num_rows, features)


def _json(path: Path) -> list[Row]:
    found = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError("not a list of objects")
    return found


def _json_lines(path: Path) -> list[Row]:
    rows: list[Row] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"line {number}: not JSON: {error.msg}") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number}: not an object")
            rows.append(row)
    return rows


def _comma_separated(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return _whole(csv.DictReader(lines, strict=True))


def _tab_separated(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        return _whole(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def _whole(reader: "csv.DictReader[str]") -> list[Row]:
    rows: list[Row] = []
    for row in reader:
        if None in row or None in row.values():
            columns = ", ".join(reader.fieldnames or ())
            raise ValueError(f"line {reader.line_num}: other columns than the first line has ({columns})")
        rows.append(row)
    return rows


_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".json": _json,
    ".jsonl": _json_lines,
    ".csv": _comma_separated,
    ".tsv": _tab_separated,
}
ROW_FILES = (".parquet", *_READERS)
"""Endings of files that hold rows."""
