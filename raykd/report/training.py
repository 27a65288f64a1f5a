"""What happened while points trained, epoch by epoch: scores of generations, coefficient, losses, signs of collapse."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from raykd.report.analysis import Analysis, Contender, rank, spoken
from raykd.report.document import Figure, Picture, Section, Table
from raykd.report.figures import Curve, curves
from raykd.report.leaderboard import GENERATION_ZERO
from raykd.report.numbers import number, value
from raykd.results.configurations import Configuration, mean_of
from raykd.results.epochs import EpochReport

MOST_PANELS = 3
PLACES = 100
"""Of a curve over steps, at the most."""
_WATCHED = {"effective_rank": "effective rank", "std": "deviation", "mean_cosine": "mean cosine"}
_CERTAINTY = {"teacher_start": "teacher at the gold start", "teacher_end": "teacher at the gold end"}
_PSEUDO = "pseudo_"
"""Before the language in the name of the share of items whose pseudo-labels count."""
Read = Callable[[EpochReport], float | None]
"""From the report of an epoch to a number; None where it has none."""


def training_section(analysis: Analysis) -> Section | None:
    """Figures over the epochs; None where no epoch was recorded."""
    figures = [
        _generations(analysis),
        _coefficient(analysis),
        _coefficient_steps(analysis),
        _certainty(analysis),
        _pseudo_labels(analysis),
        _health(analysis),
        _losses(analysis),
    ]
    found = tuple(figure for figure in figures if figure is not None)
    return Section("training", "Training curves", "Training", found) if found else None


def _generations(analysis: Analysis) -> Figure | None:
    pictures = _by_budget(analysis, lambda epoch: epoch.dev_score, "dev score", f"dev {analysis.heading} (%)")
    if not pictures:
        return None
    caption = (
        "Score on the small sample that is scored after every epoch, mean over seeds, band from the lowest to the "
        f"highest{_hand_offs(analysis)}. The sample is smaller than what the leaderboard is scored on."
    )
    return Figure(pictures, caption, _generation_table(analysis))


def _coefficient(analysis: Analysis) -> Figure | None:
    def moves(each: Contender) -> bool:
        found = {epoch.coefficient for point in each.best(analysis.main).finished for epoch in point.epochs}
        return bool(found - {None, 1.0})

    lines = [each for each in analysis.contenders if moves(each)]
    pictures = _by_budget(analysis, lambda epoch: epoch.coefficient, "coefficient", "mean coefficient", lines)
    if not pictures:
        return None
    caption = (
        "What the KD term of an example is multiplied with, mean over the examples of an epoch: how far up the teacher "
        f"ranks the right positions{_hand_offs(analysis)}."
    )
    return Figure(pictures, caption)


def _coefficient_steps(analysis: Analysis) -> Figure | None:
    """The coefficient over the steps of each contender whose teacher has one that varies, a picture each."""
    pictures: list[Picture] = []
    for each in analysis.contenders:
        best = each.best(analysis.main)
        found = _steps_of(best)
        if found is None or len(pictures) == MOST_PANELS:
            continue
        curve, boundaries = found
        line = replace(curve, name=each.name, style=each.style)
        title = f"Coefficient of {each.name}"
        alt = f"{title}, step by step: {_ends([line])}"
        pictures.append(
            curves([line], title=title, x_label="step", y_label="coefficient", alt=alt, boundaries=boundaries)
        )
    caption = (
        f"The same step by step{analysis.at_best}, mean over seeds, each place the mean over a hundredth of the steps; "
        "the band is one standard deviation over the examples of a step to each side. A curve that rises to 1 and gets "
        f"narrow says that the teacher learns{_hand_offs(analysis)}."
    )
    return Figure(tuple(pictures), caption) if pictures else None


def _steps_of(configuration: Configuration) -> tuple[Curve, list[float]] | None:
    """A curve without a name, and after which steps the teacher changes; None where the coefficient cannot vary."""
    found = [
        ([row for epoch in point.epochs for row in epoch.coefficients], point.epochs)
        for point in configuration.finished
        # Of a resumed epoch some steps are missing, and no place would fit.
        if all(len(epoch.coefficients) == len(epoch.losses) > 0 for epoch in point.epochs)
    ]
    if not found:
        return None
    length = min(len(rows) for rows, _ in found)
    table = np.mean([rows[:length] for rows, _ in found], axis=0)
    parts = np.array_split(np.arange(length), min(length, PLACES))
    mean, spread = (np.array([table[part, column].mean() for part in parts]) for column in (0, 1))
    epochs = found[0][1]
    ends = np.cumsum([len(epoch.losses) for epoch in epochs])
    changes = [
        end + 0.5
        for end, (one, other) in zip(ends.tolist(), pairwise(epochs), strict=False)
        if one.generation != other.generation
    ]
    x = [float(part.mean()) + 1 for part in parts]
    return Curve("", 0, x, mean.tolist(), (mean - spread).tolist(), (mean + spread).tolist()), changes


def _certainty(analysis: Analysis) -> Figure | None:
    names = [name for name in _CERTAINTY if any(name in epoch.watched for epoch in _epochs(analysis))]
    if not names or not analysis.contenders:
        return None
    budget = analysis.budgets[-1] if analysis.budgets else None
    found = [
        _panel(analysis, analysis.contenders, budget, _watched(name), _CERTAINTY[name], "probability (%)")
        for name in names
    ]
    caption = (
        "How sure the teacher is of the answer that it should have found, mean over the training windows"
        + (f", budget {value(budget)}" if budget is not None else "")
        + ": a teacher near 0 has nothing to say, one near 100 says what the labels say."
    )
    return Figure(tuple(picture for picture in found if picture), caption)


def _pseudo_labels(analysis: Analysis) -> Figure | None:
    found = {name for epoch in _epochs(analysis) for name in epoch.watched if name.startswith(_PSEUDO)}
    if not found or not analysis.contenders:
        return None
    budget = analysis.budgets[-1] if analysis.budgets else None
    pictures = [
        _panel(analysis, analysis.contenders, budget, _watched(name), name.removeprefix(_PSEUDO), "items (%)")
        for name in sorted(found)
    ]
    caption = (
        "Unlabelled items of each language that a teacher is sure enough of"
        + (f", budget {value(budget)}" if budget is not None else "")
        + ": students learn its best answer for these, and nothing from the others."
    )
    return Figure(tuple(picture for picture in pictures if picture), caption)


def _health(analysis: Analysis) -> Figure | None:
    names = [name for name in _WATCHED if any(name in epoch.watched for epoch in _epochs(analysis))]
    if not names or not analysis.contenders:
        return None
    budget = analysis.budgets[-1] if analysis.budgets else None
    found = [
        _panel(analysis, analysis.contenders, budget, _watched(name), _WATCHED[name], _WATCHED[name]) for name in names
    ]
    caption = (
        "Whether sentence vectors collapse, on the sample scored after every epoch"
        + (f", budget {value(budget)}" if budget is not None else "")
        + ": an effective rank or a deviation that falls towards 0, or a mean cosine that rises towards 1, says that "
        "all sentences become alike."
    )
    return Figure(tuple(picture for picture in found if picture), caption)


def _losses(analysis: Analysis) -> Figure | None:
    """The terms of the loss of each contender at its best budget, a picture each."""
    pictures = []
    ranked = sorted(analysis.contenders, key=lambda each: -rank(each.best(analysis.main).mean(analysis.main)))
    for each in ranked[:MOST_PANELS]:
        best = each.best(analysis.main)
        lines = [_curve(name, style, best, read) for style, (name, read) in enumerate(_terms(best).items())]
        drawn = [line for line in lines if line is not None]
        if drawn:
            title = f"Loss of {each.name}"
            alt = f"{title}, its terms: {_ends(drawn)}"
            pictures.append(_draw(best, drawn, title=title, y_label="loss term", alt=alt))
    caption = (
        f"Terms of the loss, mean over the steps of an epoch and over seeds{analysis.at_best}, before they are "
        "weighted: how well labels are learnt, and how closely the teacher is followed."
    )
    return Figure(tuple(pictures), caption) if pictures else None


def _terms(configuration: Configuration) -> dict[str, Read]:
    """The label term, and the parts of the KD term, or all of it where it has none; what is always 0 is left out."""
    epochs = [epoch for point in configuration.finished for epoch in point.epochs]
    parts = dict.fromkeys(name for epoch in epochs for name, size in epoch.parts.items() if size)
    terms: dict[str, Read] = {"label": lambda epoch: epoch.label_loss}
    if parts:
        return terms | {name: _part(name) for name in parts}
    return terms | ({"kd": lambda epoch: epoch.kd_loss} if any(epoch.kd_loss for epoch in epochs) else {})


def _part(name: str) -> Read:
    return lambda epoch: epoch.parts.get(name)


def _hand_offs(analysis: Analysis) -> str:
    return "; at dotted lines the student becomes the teacher" if analysis.has_hand_offs else ""


def _watched(name: str) -> Read:
    return lambda epoch: epoch.watched.get(name)


def _by_budget(
    analysis: Analysis, read: Read, what: str, y_label: str, lines: Sequence[Contender] | None = None
) -> tuple[Picture, ...]:
    """A picture for the smallest, a middle and the largest budget, or one where there are no budgets."""
    lines = analysis.contenders if lines is None else lines
    budgets = analysis.budgets or [None]
    if len(budgets) > MOST_PANELS:
        budgets = [budgets[0], budgets[len(budgets) // 2], budgets[-1]]
    names = [what if budget is None else f"{what}, budget {value(budget)}" for budget in budgets]
    found = [_panel(analysis, lines, budget, read, name, y_label) for budget, name in zip(budgets, names, strict=True)]
    return tuple(picture for picture in found if picture is not None)


def _panel(
    analysis: Analysis, lines: Sequence[Contender], budget: Any, read: Read, what: str, y_label: str
) -> Picture | None:
    drawn, example = [], None
    for line in lines:
        for each in line.configurations:
            curve = _curve(line.name, line.style, each, read) if each.budget == budget else None
            if curve is not None:
                drawn.append(curve)
                example = each
    if example is None:
        return None
    title = f"{what[0].upper()}{what[1:]}"
    return _draw(example, drawn, title=title, y_label=y_label, alt=f"{title}: {_ends(drawn)}")


def _draw(example: Configuration, drawn: Sequence[Curve], *, title: str, y_label: str, alt: str) -> Picture:
    last = int(max(max(curve.x) for curve in drawn))
    per_generation = example.points[0].settings.epochs_per_generation
    ticks: dict[float, str] | None = {epoch: str(epoch) for epoch in range(1, last + 1)} if last <= 12 else None
    return curves(
        drawn,
        title=title,
        x_label="generation" if per_generation == 1 else "epoch",
        y_label=y_label,
        alt=alt,
        ticks=ticks,
        boundaries=[each + 0.5 for each in range(per_generation, last, per_generation)],
    )


def _curve(name: str, style: int, configuration: Configuration, read: Read) -> Curve | None:
    found: dict[int, list[float]] = {}
    for point in configuration.finished:
        for epoch in point.epochs:
            if (height := read(epoch)) is not None:
                found.setdefault(epoch.epoch, []).append(height)
    if not found:
        return None
    x = sorted(found)
    mean = [sum(found[epoch]) / len(found[epoch]) for epoch in x]
    return Curve(name, style, x, mean, [min(found[epoch]) for epoch in x], [max(found[epoch]) for epoch in x])


def _ends(drawn: Sequence[Curve]) -> str:
    return "; ".join(f"{line.name} from {_short(line.mean[0])} to {_short(line.mean[-1])}" for line in drawn) + "."


def _short(found: float) -> str:
    return number(found, 1 if abs(found) >= 10 else 3)


def _generation_table(analysis: Analysis) -> tuple[Table, ...]:
    """Dev score at the end of every generation, of each contender at its best budget."""
    rows, most = [], 0
    for each in analysis.contenders:
        best = each.best(analysis.main)
        found: dict[int, list[float]] = {}
        for record in (each for point in best.points if point.result is not None for each in point.result.generations):
            if record.dev_score is not None:
                found.setdefault(record.index, []).append(record.dev_score)
        if found:
            most = max(most, *found)
            rows.append((spoken(best), found))
    if not rows:
        return ()
    numbers = range(1, most + 1)
    shown = tuple((name, *(number(mean_of(found.get(index, ()))) for index in numbers)) for name, found in rows)
    headings = ("configuration", *(f"generation {index}" for index in numbers))
    return (Table(headings, shown, f"Dev score at each hand-off ({GENERATION_ZERO} is not scored on this sample)"),)


def _epochs(analysis: Analysis) -> list[EpochReport]:
    return [epoch for point in analysis.records.points for epoch in point.epochs]
