"""What a sweep decides: its best configuration, how far that is ahead, and which differences are more than chance."""

import re
from collections.abc import Sequence
from typing import Any

from raykd.report.analysis import Analysis, short_names, spoken
from raykd.report.compare import Comparison, side_name
from raykd.report.document import MISSING, Block, Fact, Figure, Picture, Section, Table, Text
from raykd.report.figures import Curve, dots
from raykd.report.leaderboard import GENERATION_ZERO, chosen_by
from raykd.report.numbers import duration, interval, listed, number, probability, signed, value
from raykd.results.configurations import Configuration, mean_of
from raykd.results.words import counted

LEVEL = 0.05
"""Below it a p-value, corrected for all comparisons, is called significant."""
MOST_ROWS, MOST_BARS = 30, 14
MOST_PICTURES = 3


def decision(analysis: Analysis, comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """The outcome in a few sentences, the best configuration first."""
    if not analysis.finished:
        return _nothing_yet(analysis)
    best = analysis.finished[0]
    found = analysis.interval(best)
    certain = (
        f" (95% interval over {found.num} seeds: {interval(found.low, found.high)})" if found.low is not None else ""
    )
    with_one = " with its one seed so far" if found.num == 1 else ""
    lines = [f"{spoken(best)} scores best: {analysis.heading} {number(found.mean)}{certain}{with_one}."]
    lines += _against_base(analysis, best, comparisons)
    lines += _against_rivals(best, comparisons)
    lines += _tested(analysis, best)
    missing = [point for point in analysis.records.points if point.result is None]
    if missing:
        num = len(analysis.records.points)
        lines.append(f"{len(missing)} of {num} points have no result yet: these conclusions may change.")
    return tuple(lines)


def facts(analysis: Analysis, comparisons: Sequence[Comparison]) -> tuple[Fact, ...]:
    """The numbers of the headline."""
    points = analysis.records.points
    states: dict[str, int] = {}
    for point in points:
        status = "finished" if point.result is not None else point.state.status
        states[status] = states.get(status, 0) + 1
    others = ", ".join(f"{num} {status}" for status, num in sorted(states.items()) if status != "finished")
    done = Fact(f"{states.get('finished', 0)} of {len(points)}", "points finished", others)
    if not analysis.finished:
        return (done,)
    best = analysis.finished[0]
    found = analysis.interval(best)
    note = f"95% interval {interval(found.low, found.high)}" if found.low is not None else counted(found.num, "seed")
    shown = [Fact(number(found.mean), f"{analysis.heading}, {spoken(best)}", note)]
    gain = _gain(analysis, best)
    if gain is not None:
        compared = _beside_base(best, comparisons)
        shown.append(Fact(signed(gain), f"over {GENERATION_ZERO}", _verdict(compared) if compared else ""))
    spent = sum(point.result.seconds for point in points if point.result is not None)
    return (*shown, done, Fact(duration(spent), "of training and scoring", "all finished points together"))


def significance_section(analysis: Analysis, comparisons: Sequence[Comparison]) -> Section | None:
    """All comparisons, with intervals and corrected p-values; None where there is nothing to compare."""
    if not comparisons:
        return None
    shown = _of_contenders(analysis, [each for each in comparisons if each.reason is None])
    blocks = significance_blocks(comparisons, shown)
    return Section("significance", "Is it more than chance?", "Significance", tuple(blocks))


def significance_blocks(comparisons: Sequence[Comparison], shown: Sequence[Comparison] = ()) -> list[Block]:
    """Comparisons with intervals and corrected p-values, and why some were not made.

    Args:
        shown: those to bring out; all of them where there are none.
    """
    made = _in_order([each for each in comparisons if each.reason is None])
    shown = _in_order(shown) or made
    blocks: list[Block] = [Text(_explained(made))] if made else []
    if made:
        caption = (
            "Difference of the main score in percentage points, with its 95% bootstrap interval over examples. "
            "Right of the dashed line the first of the two is better; an interval that crosses it may be chance."
        )
        rest = () if len(shown) == len(made) else (_table(made),)
        blocks += [Figure(tuple(_forests(shown)), caption, rest), _table(shown[:MOST_ROWS])]
    reasons: dict[str, list[str]] = {}
    for each in comparisons:
        if each.reason is not None:
            reasons.setdefault(re.sub(r"^point \w+: ", "", each.reason), []).append(f"{_pair(each)} ({_setting(each)})")
    if reasons:
        rows = tuple((why, _some(pairs)) for why, pairs in reasons.items())
        blocks.append(Table(("why", "comparisons"), rows, "Not compared", prose=True))
    return blocks


def _of_contenders(analysis: Analysis, made: Sequence[Comparison]) -> list[Comparison]:
    """The comparisons between what is shown elsewhere in the report: contenders, and generation 0."""
    shown = [each for contender in analysis.contenders for each in contender.configurations]
    return [
        each
        for each in made
        if sum(_is_about(each, configuration) for configuration in shown) == 1 + (each.second != GENERATION_ZERO)
    ]


def _explained(made: Sequence[Comparison]) -> str:
    return (
        "Both sides are scored on the same examples; an example's outcome is the mean over the seeds that both have. "
        f"Two tests: a paired bootstrap over {counted(max(each.num_items for each in made), 'item')}, and Wilcoxon's "
        f"signed-rank test over the same. p-values are corrected by Holm's method over {made[0].family}; below {LEVEL} "
        "they are called significant. They speak of examples, not of seeds: with other seeds a small lead may turn."
    )


def _nothing_yet(analysis: Analysis) -> tuple[str, ...]:
    num = len(analysis.records.points)
    if not num:
        return ("The sweep has no point yet.", "Run `raykd sweep` with its file: the report grows with the results.")
    failed = sum(point.state.status == "failed" for point in analysis.records.points)
    lines = [f"No point of {num} is finished yet" + (f"; {failed} failed, see below." if failed else ".")]
    return (*lines, "The same `raykd sweep` command goes on where it stopped; then write the report again.")


def _against_base(analysis: Analysis, best: Configuration, comparisons: Sequence[Comparison]) -> list[str]:
    gain = _gain(analysis, best)
    if gain is None:
        return []
    compared = _beside_base(best, comparisons)
    said = (
        f" ({_verdict(compared)}; 95% interval over examples {interval(compared.low, compared.high)})"
        if compared
        else ""
    )
    way = "above" if gain >= 0 else "below"
    return [f"That is {number(abs(gain))} percentage points {way} {GENERATION_ZERO}{said}."]


def _tested(analysis: Analysis, best: Configuration) -> list[str]:
    """What it reaches on each test set; without one, that nothing proves what was found."""
    tests = analysis.records.test_sets
    if not tests:
        return [chosen_by(())]
    lines = []
    for name, heading in tests.items():
        mean = mean_of(best.test_values(name))
        bases = {test.base: test.scores.main_value for test in analysis.records.base_tests if test.name == name}
        before = analysis.before(best, bases)
        beside = f" ({GENERATION_ZERO}: {number(before)})" if before is not None else ""
        if mean is not None:
            lines.append(
                f"On test set {name}, by which nothing was chosen, it reaches {heading} {number(mean)}{beside}."
            )
    return lines


def _gain(analysis: Analysis, best: Configuration) -> float | None:
    """How far a configuration is above its generation 0; None where one of them was not scored."""
    mean, main = best.mean(analysis.main), analysis.main
    bases = {base.base: base.final.values.get(main) if main else None for base in analysis.records.bases}
    before = analysis.before(best, bases)
    return mean - before if mean is not None and before is not None else None


def _against_rivals(best: Configuration, comparisons: Sequence[Comparison]) -> list[str]:
    """How the best one compares with the others, generation 0 left out."""
    beaten: list[str] = []
    alike: list[str] = []
    shared = set(best.varied)
    for each in comparisons:
        if each.reason is not None or each.second == GENERATION_ZERO or not _is_about(each, best):
            continue
        other = each.second if each.first == _named(best, each) else each.first
        (beaten if _significant(each) else alike).append(other)
        shared &= each.varied.keys()
    same = f" at the same {listed([*short_names(sorted(shared)).values()])}" if shared else ""
    lines = []
    if beaten:
        lines.append(f"It is significantly better than {_some(beaten)}{same}.")
    if alike:
        lines.append(f"Its difference to {_some(alike)}{same} is not significant: the sweep cannot tell them apart.")
    return lines


def _some(names: Sequence[str]) -> str:
    """The first few of them."""
    return listed([*names[:4], f"{len(names) - 4} more"] if len(names) > 4 else list(names))


def _beside_base(best: Configuration, comparisons: Sequence[Comparison]) -> Comparison | None:
    found = (
        each
        for each in comparisons
        if each.reason is None
        and (each.first, each.second) == (best.method, GENERATION_ZERO)
        and dict(each.varied) == dict(best.varied)
    )
    return next(found, None)


def _is_about(comparison: Comparison, configuration: Configuration) -> bool:
    shares = all(configuration.varied.get(key) == found for key, found in comparison.varied.items())
    return shares and _named(configuration, comparison) in (comparison.first, comparison.second)


def _named(configuration: Configuration, comparison: Comparison) -> str:
    """What a comparison calls a configuration."""
    return side_name(configuration.method, configuration.varied, comparison.varied)


def _significant(comparison: Comparison) -> bool:
    return comparison.holm_bootstrap is not None and comparison.holm_bootstrap < LEVEL


def _verdict(comparison: Comparison) -> str:
    word = "significant" if _significant(comparison) else "not significant"
    return f"{word}, p {_equals(probability(comparison.holm_bootstrap))}"


def _equals(p_value: str) -> str:
    return p_value if p_value.startswith("<") else f"= {p_value}"


def _pair(comparison: Comparison) -> str:
    return f"{comparison.first} vs {comparison.second}"


def _setting(comparison: Comparison) -> str:
    names = short_names(sorted(comparison.varied))
    return ", ".join(f"{name} {value(comparison.varied[key])}" for key, name in names.items()) or MISSING


def _forests(made: Sequence[Comparison]) -> list[Picture]:
    """The differences with their intervals, a picture for each setting; generation 0 in one of its own."""
    groups: dict[str, list[Comparison]] = {}
    for each in made:
        is_base = each.second == GENERATION_ZERO
        groups.setdefault(f"Against {GENERATION_ZERO}" if is_base else _setting(each), []).append(each)
    pictures = []
    for title, members in list(groups.items())[:MOST_PICTURES]:
        shown = sorted(members, key=_size)[:MOST_BARS]
        is_base = shown[0].second == GENERATION_ZERO
        names = [f"{each.first}, {_setting(each)}" if is_base and each.varied else _pair(each) for each in shown]
        places = range(len(shown))
        line = Curve("", 0, places, *([getattr(each, at) for each in shown] for at in ("difference", "low", "high")))
        said = "; ".join(
            f"{name} {signed(each.difference)} ({interval(each.low, each.high)})"
            for name, each in zip(names, shown, strict=True)
        )
        heading = title if title != MISSING else "All comparisons"
        pictures.append(
            dots(
                [name.replace(" vs ", " minus ") for name in names],
                [line],
                title=heading[0].upper() + heading[1:],
                x_label="percentage points",
                alt=f"{heading}: {said}.",
                level=("no difference", 0.0),
            )
        )
    return pictures


def _size(each: Comparison) -> float:
    """Sorts large differences first."""
    return -(each.difference or 0.0)


def _in_order(made: Sequence[Comparison]) -> list[Comparison]:
    """Methods before generation 0, each setting by itself, large differences first."""
    settings = list(dict.fromkeys(map(_setting, made)))
    return sorted(made, key=lambda each: (each.second == GENERATION_ZERO, settings.index(_setting(each)), _size(each)))


def _table(made: Sequence[Comparison]) -> Table:
    headings = ("comparison", "at", "difference", "95% interval", "p bootstrap", "p Wilcoxon", "seeds", "verdict")
    rows = tuple(_table_row(each) for each in made)
    return Table(
        headings,
        rows,
        "p-values after Holm's correction, uncorrected in brackets; the verdict is that of the bootstrap",
        num_labels=2,
    )


def _table_row(each: Comparison) -> tuple[str, ...]:
    def shown(corrected: Any, raw: Any) -> str:
        return f"{probability(corrected)} ({probability(raw)})"

    return (
        _pair(each),
        _setting(each),
        signed(each.difference),
        interval(each.low, each.high),
        shown(each.holm_bootstrap, each.p_bootstrap),
        shown(each.holm_wilcoxon, each.p_wilcoxon),
        str(each.num_seeds),
        "significant" if _significant(each) else "not decided",
    )
