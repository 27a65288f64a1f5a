"""The page in a real browser, from a file and without a network."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browser import DESKTOP, PHONE, browser, is_no_wider_than_the_screen, opened
from support.fabricated_results import QUICKSTARTS, fabricate

from raykd.report.build import build
from raykd.report.page import as_html
from raykd.results.records import read_records

LONG_NAMES = {
    "name": "a-sweep-with-a-name-that-goes-on-and-on-without-a-place-to-break-it",
    "base": {"model": "builtin:tiny"},
    "data": {
        "train": {"builtin": "small-world", "num_items": 32},
        "languages": ["en", "es"],
        "num_target_languages": 1,
    },
    "selection": {"source": {"builtin": "small-world", "num_items": 8}, "languages": ["en", "es", "zh"]},
    "methods": {
        "self-distillation with coefficients": {},
        "self-distillation_the_other_way_round_<b>": {"distillation": {"direction": "reverse_kl"}},
    },
    "search": {
        "space": {
            "data.budget": [8, 16],
            "distillation.kd_weight": [1, {"start": 1, "end": 0.25, "shape": "cosine", "num_stairs": 3}],
            "distillation.temperature": [2, 4],
        }
    },
}
LARGEST = 5 * 2**20


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser of all tests."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module", params=[*QUICKSTARTS, "long-names"])
def report(request: pytest.FixtureRequest, reported: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a sweep of each task, and of one whose names are long."""
    file = tmp_path_factory.mktemp(request.param) / "report.html"
    if request.param in QUICKSTARTS:
        shown = reported(request.param).report
    else:
        fabricate(file.with_name("runs"), LONG_NAMES)
        shown = build(read_records(file.with_name("runs")))
    file.write_text(as_html(shown), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def pages(chromium: Any, report: Path) -> Iterator[dict[str, Any]]:
    """The page as it was opened on each screen, for all tests one after another: what one unfolds stays unfolded."""
    with opened(chromium, report, PHONE) as phone, opened(chromium, report, DESKTOP) as desktop:
        yield {"phone": phone, "desktop": desktop}


@pytest.fixture(params=["phone", "desktop"])
def page(pages: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    """The page on one screen."""
    return pages[request.param]


def test_the_page_stands_alone(page, report):
    assert page.said == []
    assert page.asked == []
    assert report.stat().st_size < LARGEST


def test_the_page_is_no_wider_than_the_screen(page):
    assert is_no_wider_than_the_screen(page)


def test_every_picture_is_there_and_fits(page):
    width = page.viewport_size["width"]
    pictures = page.locator(".picture svg").all()
    assert len(pictures) >= 8
    for picture in pictures:
        box = picture.bounding_box()
        assert box["width"] > 250
        assert box["height"] > 60
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


def test_no_text_of_a_picture_is_cut_off_or_too_small(page):
    """Pictures are laid out with another font than the page's: names must still be inside them."""
    cut = page.evaluate(
        """() => [...document.querySelectorAll('.picture svg')].flatMap(svg => {
            const frame = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].filter(text => {
                const box = text.getBoundingClientRect();
                return box.left < frame.left - 1 || box.right > frame.right + 1
                    || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
            }).map(text => text.textContent);
        })"""
    )
    assert cut == []
    smallest = page.evaluate(
        """() => Math.min(...[...document.querySelectorAll('.picture svg text')].map(
            text => parseFloat(text.style.fontSize) * text.ownerSVGElement.getBoundingClientRect().width
                / text.ownerSVGElement.viewBox.baseVal.width))"""
    )
    assert smallest >= 10


def test_links_of_the_contents_lead_to_their_sections(page):
    links = page.locator("nav a").all()
    assert len(links) >= 5
    for link in links:
        name = link.get_attribute("href").removeprefix("#")
        link.click()
        page.wait_for_function(
            """name => {
                const top = document.getElementById(name).getBoundingClientRect().top;
                const isEnd = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
                return top >= -1 && (top < 60 || isEnd);
            }""",
            arg=name,
            timeout=5000,
        )
