"""A report as one HTML file that needs no network, and as markdown."""

import html
import re
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from raykd import __version__
from raykd.report.document import Report


def as_html(report: Report) -> str:
    """The page: no script, style and pictures inside it. What a sweep's author named is text, never markup."""
    return _templates().get_template("report.html").render(report=report, version=__version__)


def as_markdown(report: Report) -> str:
    """The same in words and tables; of a picture, what one sees in it."""
    text = _templates().get_template("report.md").render(report=report)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("raykd.report"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"prose": _prose, "plain": _plain, "cell": _cell, "fenced": _fenced}
    return templates


def _prose(text: str) -> Markup:
    """Text in which what stands between backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _plain(text: str) -> str:
    """Text that markdown does not take for HTML."""
    return html.escape(text, quote=False)


def _fenced(text: str) -> str:
    """Lines of YAML inside a fence that they cannot end."""
    fence = "~" * max([3, *(len(run) + 1 for run in re.findall("~+", text))])
    return f"{fence}yaml\n{text.rstrip()}\n{fence}"


def _cell(text: str) -> str:
    """The same, inside a row of a table."""
    return " ".join(_plain(text).replace("\\", "\\\\").replace("|", r"\|").split())
