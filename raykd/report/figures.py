"""Pictures of a report as inline SVG, each as wide as a phone: text stays text, and colours follow the page.

Lines differ in colour, marker and dash, so that they can be told apart in grey and by colour-blind readers.
"""

import hashlib
import io
import math
import re
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from raykd.report.document import Picture

WIDTH = 360
"""Of a picture, in CSS pixels: on a phone it is shown at about this width, elsewhere larger."""
LEGEND_LETTERS = 42
"""That fit beside the line of a legend."""
_INK, _FAINT = "#31343a", "#d3d6db"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7a1f", "#7b2d5b")
"""Okabe and Ito's palette for colour-blind readers, and two more; the page may lighten them."""
_MARKERS = "osD^vPX*"
_DASHES = ((), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2), (3, 1), (9, 3), (4, 2, 1, 2, 1, 2), (1, 3))
_THEMED = {_INK: "currentColor", _FAINT: "var(--faint)"} | {
    colour: f"var(--series-{number})" for number, colour in enumerate(_COLOURS)
}
_REFERENCE = {"color": _INK, "marker": "o", "markerfacecolor": "none", "markeredgewidth": 1.2, "linestyle": "none"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "raykd",
    "font.size": 12,
    "axes.labelsize": 12,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _FAINT,
    "grid.linewidth": 0.7,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": 12,
    "legend.handlelength": 3.2,
    "lines.linewidth": 1.8,
    "lines.markersize": 6,
}


@dataclass(frozen=True)
class Curve:
    """A line through means, with a band where `low` and `high` are given.

    Attributes:
        style: number of its colour, marker and dash.
    """

    name: str
    style: int
    x: Sequence[float]
    mean: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def curves(
    lines: Sequence[Curve],
    *,
    title: str,
    x_label: str,
    y_label: str,
    alt: str,
    ticks: Mapping[float, str] | None = None,
    log: bool = False,
    level: tuple[str, float] | None = None,
    boundaries: Sequence[float] = (),
    joined: bool = True,
    y_limits: tuple[float, float] | None = None,
) -> Picture:
    """Lines over a number.

    Args:
        ticks: place -> label, in place of those that the axis would choose.
        level: name and height of a line across the picture.
        boundaries: places of vertical lines.
        joined: draw lines; else markers alone.
        y_limits: ends of the axis, for pictures that are to be compared.
    """
    with mpl.rc_context(_STYLE):
        named = [line.name for line in lines] + ([level[0]] if level else [])
        figure, axes = _panel(title, x_label, y_label, height=260 + _legend_height(named))
        if log:
            axes.set_xscale("log")
        for x in boundaries:
            axes.axvline(x, color=_INK, linewidth=0.9, dashes=(2, 3))
        if level is not None:
            axes.axhline(level[1], color=_INK, linewidth=1.4, dashes=(6, 3), label=_wrapped(level[0], LEGEND_LETTERS))
        for line in lines:
            look = _look(line.style, joined=joined)
            if line.low is not None and line.high is not None:
                axes.fill_between(line.x, line.low, line.high, color=look["color"], alpha=0.16, linewidth=0)
            axes.plot(line.x, line.mean, label=_wrapped(line.name, LEGEND_LETTERS), **look)
        if ticks is not None:
            axes.set_xticks(list(ticks), list(ticks.values()))
            axes.minorticks_off()
        if y_limits is not None:
            axes.set_ylim(y_limits)
        _legend(figure, axes)
        return Picture(_svg(figure), alt)


def heat_map(
    names: tuple[Sequence[str], Sequence[str]],
    values: np.ndarray,
    *,
    title: str,
    labels: tuple[str, str],
    alt: str,
    limits: tuple[float, float],
    signed: bool = False,
) -> Picture:
    """A matrix with its numbers.

    Args:
        names, labels: of the rows and of the columns.
        values: [rows, columns]; NaN where there is none.
        limits: what the ends of the colours stand for; pictures that are compared share them.
        signed: differences, whose sign shows: as a colour, and in front of the number.
    """
    rows, columns = names
    with mpl.rc_context({**_STYLE, "axes.grid": False}):
        figure, axes = _panel(title, labels[1], labels[0], height=96 + 34 * len(rows))
        colours = mpl.colormaps["PuOr_r" if signed else "cividis"]
        scale = mpl.colors.Normalize(*limits)
        masked = np.ma.masked_invalid(values)
        axes.pcolormesh(masked, cmap=colours, norm=scale, edgecolors="white", linewidth=1)
        for row, column in np.ndindex(values.shape):
            if np.isfinite(values[row, column]):
                text = f"{values[row, column]:+.0f}" if signed else f"{values[row, column]:.0f}"
                # A minus sign, not a hyphen; and no sign before a nought.
                text = {"+0": "0", "-0": "0"}.get(text, text).replace("-", "\N{MINUS SIGN}")
                colour = _on(colours(scale(values[row, column])))
                size = 12 if len(columns) <= 8 else 9
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=colour, fontsize=size)
        axes.set_xticks(np.arange(len(columns)) + 0.5, columns)
        axes.set_yticks(np.arange(len(rows)) + 0.5, rows)
        axes.tick_params(length=0)
        axes.invert_yaxis()
        for spine in axes.spines.values():
            spine.set_visible(False)
        return Picture(_svg(figure), alt)


def dots(
    names: Sequence[str],
    series: Sequence[Curve],
    *,
    title: str,
    x_label: str,
    alt: str,
    level: tuple[str, float] | None = None,
) -> Picture:
    """A row for each name, and in it a marker for each series.

    Args:
        series: `x` are rows, counted from 0, `mean` the places in them; with `low` and `high` a bar from one to the
            other. One with style -1 is the reference, drawn hollow.
        level: name and place of a vertical line.
    """
    with mpl.rc_context({**_STYLE, "legend.handlelength": 1.2}):
        each = max(1, len(series))
        labels = [_wrapped(name, 26) for name in names]
        row = max([24, 9 * each, *(15 * (label.count("\n") + 1) for label in labels)])
        legend = _legend_height([line.name for line in series]) if len(series) > 1 else 0
        figure, axes = _panel(title, x_label, "", height=75 + row * len(names) + legend)
        if level is not None:
            axes.axvline(level[1], color=_INK, linewidth=1.2, dashes=(4, 3))
        for number, line in enumerate(series):
            places = np.asarray(line.x) + (number - (each - 1) / 2) * 0.7 / each
            look = _look(line.style, joined=False) if line.style >= 0 else _REFERENCE
            if line.low is not None and line.high is not None:
                axes.hlines(places, line.low, line.high, color=look["color"], linewidth=1.6)
            axes.plot(line.mean, places, label=_wrapped(line.name, LEGEND_LETTERS), **look)
        axes.set_yticks(range(len(names)), labels)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(axis="y", linewidth=0.4)
        axes.tick_params(axis="y", length=0)
        if len(series) > 1:
            _legend(figure, axes)
        return Picture(_svg(figure), alt)


def _panel(title: str, x_label: str, y_label: str, *, height: float) -> tuple[Figure, Axes]:
    heading = textwrap.fill(_plain(title), 36)
    height += 17 * heading.count("\n")
    # At 72 dots an inch a point is a pixel of the picture.
    figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
    axes = figure.add_subplot()
    # Over the whole picture: long names of rows leave the axes too little room for it.
    size, weight = mpl.rcParams["axes.titlesize"], mpl.rcParams["axes.titleweight"]
    figure.suptitle(heading, x=0.01, ha="left", fontsize=size, fontweight=weight)
    axes.set_xlabel(_plain(x_label))
    axes.set_ylabel(_plain(y_label))
    return figure, axes


def _look(style: int, *, joined: bool) -> dict[str, Any]:
    number = style % len(_COLOURS)
    look: dict[str, Any] = {"color": _COLOURS[number], "marker": _MARKERS[number], "markeredgecolor": "none"}
    if not joined:
        return look | {"linestyle": "none"}
    return look | ({"dashes": _DASHES[number]} if _DASHES[number] else {})


def _legend(figure: Figure, axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    columns = _legend_columns(names)
    figure.legend(handles, names, loc="outside lower left", ncols=columns, columnspacing=1.2)


def _legend_columns(names: Sequence[str]) -> int:
    longest = max(map(len, names))
    return min(len(names), 3 if longest <= 9 else 2 if longest <= 17 else 1)


def _legend_height(names: Sequence[str]) -> int:
    """Pixels that a legend takes: what it needs may not be taken from the axes."""
    lines = sum(_wrapped(name, LEGEND_LETTERS).count("\n") + 1 for name in names)
    return 18 * math.ceil(lines / _legend_columns(names))


def _wrapped(name: str, letters: int) -> str:
    return textwrap.fill(_plain(name), letters)


def _plain(text: str) -> str:
    """Text of the user's as it is: a dollar sign begins no formula, no name is left out of a legend."""
    text = text.replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") or not text.strip() else text


def _on(background: tuple[float, float, float, float]) -> str:
    """Black or white, whichever contrasts more with a colour (WCAG's relative luminance)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in background[:3]]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with warnings.catch_warnings():
        # The browser has glyphs for scripts that the library measures with a placeholder.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(
            text,
            format="svg",
            transparent=True,
            metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
        )
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', drawn, count=1)
    # What the page says once for all pictures.
    drawn = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", drawn, count=1, flags=re.DOTALL)
    drawn = re.sub(r"font-family: [^;\"]*;? ?", "", drawn)
    # A page may not hold an id twice: groups need none, shapes get the picture's name in front.
    drawn = re.sub(r'<g id="[^"]*"', "<g", drawn)
    name = hashlib.sha256(drawn.encode()).hexdigest()[:6]
    drawn = re.sub(r'(<\w+ id="|="#|url\(#)([pm][0-9a-f]{10})\b', rf"\g<1>{name}-\2", drawn)
    for colour, variable in _THEMED.items():
        drawn = drawn.replace(colour, variable)
    return drawn
