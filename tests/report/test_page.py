"""Rendering: what a sweep's author named is text on the page, and one cell of a table."""

import functools
import re
from html.parser import HTMLParser

from hypothesis import example, given, settings
from hypothesis import strategies as st

from raykd.report.document import Code, Fact, Figure, Report, Section, Table, Text
from raykd.report.figures import Curve, curves, dots
from raykd.report.page import as_html, as_markdown

LABELS = st.text(
    st.sampled_from("<>&\"'|`$_*\\{}%#[]()= -abé你\n") | st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")),
    min_size=1,
    max_size=30,
)
TRICKY = "</td><script>alert('1')</script><img src=x onerror=alert(2)> {{ 7 * 7 }} | $x$"


class Elements(HTMLParser):
    """The tags of a page, in order, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, sorted(name for name, _ in attributes)))

    def handle_data(self, data):
        self.text.append(data)


def report_with(label: str) -> Report:
    """A report in which a label stands wherever one may."""
    line = Curve(label, 0, [1, 2], [1.0, 2.0])
    pictures = (
        curves([line], title=label, x_label=label, y_label=label, alt=label),
        dots([label], [Curve(label, 0, [0], [1.0])], title=label, x_label=label, alt=label),
    )
    table = Table((label, "b"), ((label, label),), label)
    blocks = (Text(label), table, Code(label, label), Figure(pictures, label, (table,)))
    return Report(label, label, (label,), (Fact(label, label, label),), (Section("x", "X", "X", blocks),), None)


@functools.lru_cache
def pages(label: str) -> tuple[str, str]:
    report = report_with(label)
    return as_html(report), as_markdown(report)


def test_a_label_with_markup_is_shown_and_does_nothing():
    page, markdown = pages(TRICKY)
    found = Elements(page)
    assert {tag for tag, _ in found.tags} == {tag for tag, _ in Elements(pages("plain")[0]).tags}
    assert "<script" not in page
    assert "<img" not in page
    assert TRICKY in "".join(found.text)
    assert "49" not in "".join(found.text)
    assert "<script" not in re.sub("~~~yaml.*?~~~", "", markdown, flags=re.DOTALL)


@settings(deadline=None, max_examples=25)
@given(LABELS)
@example("_hidden")
@example("\n")
def test_any_label_leaves_the_structure_of_the_page_as_it_is(label):
    # Backticks in prose are code; how many ticks and lines of text a picture has depends on how long its labels are.
    free = {"code", "text", "g", "path", "use", "defs"}
    tags, plain = ([tag for tag, _ in Elements(pages(each)[0]).tags if tag not in free] for each in (label, "plain"))
    assert tags == plain


@given(LABELS)
def test_any_label_is_one_cell_of_a_markdown_table(label):
    report = Report("t", "s", (), (), (Section("x", "X", "X", (Table((label, "b"), ((label, "1"),)),)),), None)
    lines = [line for line in as_markdown(report).splitlines() if line.startswith("|")]
    assert len(lines) == 3
    for line in lines:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3


def test_identifiers_are_unique_on_the_page():
    page = as_html(report_with("a"))
    names = re.findall(r'\bid="([^"]*)"', page)
    assert len(names) == len(set(names))
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', page)) <= set(names)


def test_the_page_names_nothing_outside_of_itself():
    page = as_html(report_with("a"))
    assert not re.search(r"(?:src|href)=\"(?!#|data:)", page)
    assert "http://" not in page
    assert "https://" not in page
