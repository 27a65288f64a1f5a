"""`raykd report`: what a sweep showed, as a page to look at and as markdown."""

import argparse
import json
from pathlib import Path
from typing import Any

from raykd.cli.common import add_command
from raykd.errors import ConfigError
from raykd.storage import location


def add(commands: Any) -> None:
    """The parser of `raykd report`."""
    report = add_command(
        commands,
        "report",
        help="write one HTML page about a sweep, with figures and significance tests, and the same as markdown",
        examples=["raykd report runs/qa", "raykd report runs/qa --output page.html"],
    )
    report.add_argument("root", metavar="DIR", help="the results folder, or its URL")
    report.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="the page (default: DIR/report.html; for a URL, report-NAME.html in this folder)",
    )
    report.add_argument("--markdown", type=Path, metavar="FILE", help="the markdown (default: next to the page)")
    report.add_argument("--json", action="store_true", help="print the conclusions and the written files as JSON")
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from raykd.report.build import build
    from raykd.report.page import as_html, as_markdown
    from raykd.results.records import read_records

    root = location(options.root)
    report = build(read_records(root))
    page = options.output or (root / "report.html" if isinstance(root, Path) else Path(f"report-{report.title}.html"))
    texts = {page: as_html(report), options.markdown or page.with_suffix(".md"): as_markdown(report)}
    for path, text in texts.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror}); choose another file") from error
    written, beside = map(str, texts)
    if options.json:
        said = {"html": written, "markdown": beside, "decision": report.decision, "best": report.best}
        print(json.dumps(said, indent=1, ensure_ascii=False))
        return 0
    for line in report.decision:
        print(line)
    print(f"\n{written}\n{beside}")
    return 0
