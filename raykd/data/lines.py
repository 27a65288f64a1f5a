"""The lines of a text file, or what keeps it from being read."""

from pathlib import Path


def read_lines(path: Path, problems: list[str]) -> list[str]:
    """The lines of a UTF-8 file without their ends (LF or CRLF); a byte order mark is dropped.

    Nothing else ends a line: U+2028, U+0085 or a lone CR belong to its text. What follows the last end is a line only
    if it is not empty.

    Args:
        path: the file.
        problems: gets a line if the file cannot be read or is not UTF-8; the lines are then none.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        problems.append(f"{path}: cannot be read: {error}")
        return []
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = f"byte 0x{content[error.start]:02x} is not UTF-8"
        problems.append(f"{path}: line {line}: {found}; convert the file to UTF-8")
        return []
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
