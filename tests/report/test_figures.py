"""Pictures: what is in them, and that they can be read without colours."""

import re

import matplotlib as mpl
import numpy as np
import pytest

from raykd.report.figures import Curve, curves, dots, heat_map

ALL = [Curve(f"line {number}", number, [1, 2, 3], [number, number + 1, number + 2]) for number in range(8)]


def drawn(lines=ALL, **options) -> str:
    return curves(lines, title="T", x_label="x", y_label="y (%)", alt="said", **options).svg


def test_text_stays_text_and_axes_say_their_units():
    svg = drawn(level=("generation 0", 4.0), ticks={1: "16", 3: "all"})
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"T", "x", "y (%)", "16", "all", "generation 0", "line 7"} <= set(shown)


def test_lines_differ_in_colour_marker_and_dash():
    styles = []
    for line in ALL:
        svg = drawn([line])
        colour = re.search(r"stroke: (var\(--series-\d\))", svg).group(1)
        dash = re.search(rf'style="fill: none;(?: stroke-dasharray: ([\d.,]+);)?[^"]*stroke: {re.escape(colour)}', svg)
        marker = re.findall(r'<path id="[0-9a-f]+-m[0-9a-f]+" d="([^"]*)"', svg)[-1]
        styles.append((colour, dash.group(1), marker))
    for part in zip(*styles, strict=True):
        assert len(set(part)) == len(ALL)


def test_colours_follow_the_page():
    svg = drawn(level=("base", 1.0)).replace("stroke: #000000; stroke-opacity: 0", "")
    assert "currentColor" in svg
    assert not re.search(r"(?:fill|stroke): #(?!fff)", svg)


def test_a_matrix_shows_its_numbers_in_text_that_contrasts():
    values = np.array([[0.0, 50.0], [100.0, np.nan]])
    picture = heat_map((["en", "de"], ["en", "de"]), values, title="T", labels=("q", "c"), alt="said", limits=(0, 100))
    found = {text: style for style, text in re.findall(r'<text style="([^"]*)"[^>]*>([^<]*)</text>', picture.svg)}
    assert "fill: #ffffff" in found["0"]
    assert "fill" not in found["100"]
    assert "nan" not in picture.svg


@pytest.mark.parametrize("name", ["cividis", "PuOr_r"])
def test_numbers_in_cells_have_a_contrast_of_at_least_4_5_to_1(name):
    signed, places = name == "PuOr_r", np.linspace(-1, 1, 101)
    names = (["a"], [f"b{number}" for number in range(101)])
    # In percent, so that each cell shows another number.
    svg = heat_map(
        names, 100 * places[None], title="T", labels=("q", "c"), alt="", limits=(-100, 100), signed=signed
    ).svg
    styles = {text: style for style, text in re.findall(r'<text style="([^"]*)"[^>]*>([^<]*)</text>', svg)}
    for place in places:
        text = f"{100 * place:{'+' if signed else ''}.0f}".replace("-", "−")
        style = styles["0" if round(100 * place) == 0 else text]
        is_white = "fill: #ffffff" in style
        colour = mpl.colormaps[name]((place + 1) / 2)[:3]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        assert (1.05 / (luminance + 0.05) if is_white else (luminance + 0.05) / 0.05) >= 4.5


def test_differences_have_their_sign_and_nought_has_none():
    values = np.array([[3.2, -4.0, -0.2]])
    names = (["en"], ["en", "de", "fr"])
    svg = heat_map(names, values, title="T", labels=("q", "c"), alt="", limits=(-4, 4), signed=True).svg
    shown = re.findall(r">([^<>]*)</text>", svg)
    assert {"+3", "−4", "0"} <= set(shown)


def test_the_reference_is_hollow_and_marks_are_not_joined():
    lines = [Curve("a", 1, [0, 1], [1.0, 2.0]), Curve("generation 0", -1, [0, 1], [0.5, 1.5])]
    svg = dots(["en", "de"], lines, title="T", x_label="F1 (%)", alt="").svg
    assert re.search(r'<use [^>]*style="fill-opacity: 0; stroke: currentColor', svg)
    assert "stroke: var(--series-1); stroke-width: 1.8" not in svg
