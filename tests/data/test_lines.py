import pytest

from raykd.data.lines import read_lines


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\n\n", ["a", ""]),
        (b"\xef\xbb\xbfa\r\nb\r\n", ["a", "b"]),
        ("a\u2028b\x85c\rd\n".encode(), ["a\u2028b\x85c\rd"]),
    ],
)
def test_only_a_line_feed_ends_a_line(tmp_path, content, lines):
    path = tmp_path / "file"
    path.write_bytes(content)
    problems = []
    assert read_lines(path, problems) == lines and problems == []


def test_what_cannot_be_read_is_a_problem_with_its_line(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a\nb\xe4\n")
    problems = []
    assert read_lines(path, problems) == read_lines(tmp_path, problems) == []
    damaged, folder = problems
    assert damaged == f"{path}: line 2: byte 0xe4 is not UTF-8; convert the file to UTF-8"
    assert folder.startswith(f"{tmp_path}: cannot be read: ")
