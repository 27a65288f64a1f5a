"""Test sets in a report: a section each, in the order that the selection set gave."""

from collections.abc import Iterator, Sequence

from raykd.report.analysis import Analysis, analyse, base_name, short_names, spoken
from raykd.report.compare import Comparison, compare, compare_languages
from raykd.report.decision import significance_blocks
from raykd.report.document import Block, Section, Table, Text
from raykd.report.numbers import interval, number, probability, signed
from raykd.report.scores import base_row, configuration_row
from raykd.results.configurations import Configuration
from raykd.results.records import SweepRecords

MOST_RIVALS = 3


def test_sections(records: SweepRecords, chosen: Analysis) -> Iterator[Section]:
    """A section for each test set: scores, languages, and which differences are more than chance.

    Args:
        chosen: the sweep by its selection set.
    """
    for number_of, name in enumerate(records.test_sets, start=1):
        view = records.on_test(name)
        blocks = tuple(_blocks(view, analyse(view), chosen))
        yield Section(f"test-{number_of}", f"Test set {name}", f"Test: {name}", blocks)


def _blocks(view: SweepRecords, analysis: Analysis, chosen: Analysis) -> Iterator[Block]:
    by_name = {each.name: each for each in analysis.configurations}
    ordered = [by_name[each.name] for each in chosen.configurations if by_name[each.name].values(analysis.main)]
    yield Text(
        "Nothing was chosen by this set: what each lineage delivered was scored on it once. Rows stand in the order of "
        "the selection set."
    )
    yield _scores(analysis, ordered)
    yield _languages(analysis, ordered)
    yield from significance_blocks(compare(view, chosen_by=chosen.records))
    if ordered:
        budget = ordered[0].settings.budget
        rivals = [each for each in ordered[1:] if each.settings.budget == budget]
        found = compare_languages(view, ordered[0], rivals[:MOST_RIVALS])
        if found:
            yield _by_language(found)


def _scores(analysis: Analysis, ordered: Sequence[Configuration]) -> Table:
    keys = short_names(sorted({key for each in ordered for key in each.varied}))
    others = [name for name in analysis.columns if name != analysis.main]
    rows = [configuration_row(analysis, each, list(keys), others) for each in ordered]
    rows += [base_row(analysis, base, list(keys), others) for base in analysis.records.bases]
    headings = (
        "method",
        *keys.values(),
        analysis.heading,
        "95% interval",
        *(analysis.columns[each] for each in others),
    )
    return Table((*headings, "seeds", "time a point"), tuple(rows), num_labels=1 + len(keys))


def _languages(analysis: Analysis, ordered: Sequence[Configuration]) -> Table:
    """Scores by language; of a matrix, of questions and contexts in one language."""
    scored = {spoken(each): each.cells() for each in ordered}
    for base in analysis.records.bases:
        scored[base_name(analysis, base)] = base.final.cell_values()
    names = list(dict.fromkeys(cell for cells in scored.values() for cell in cells))
    shown = [name for name in names if not analysis.is_matrix or len(set(name.split("-", 1))) == 1] or names
    rows = tuple((who, *(number(cells.get(name)) for name in shown)) for who, cells in scored.items())
    headings = [name.split("-", 1)[0] if analysis.is_matrix and shown is not names else name for name in shown]
    caption = (
        "By language" + (", question and context in the same one" if analysis.is_matrix else "") + ", means over seeds"
    )
    return Table(("method", *headings), rows, caption)


def _by_language(found: Sequence[tuple[str, Comparison]]) -> Table:
    rows = tuple(
        (
            f"{each.first} vs {each.second}",
            language,
            signed(each.difference),
            interval(each.low, each.high),
            probability(each.holm_bootstrap),
        )
        for language, each in found
    )
    caption = (
        f"The configuration that was chosen, by language: differences in percentage points, intervals over items, and "
        f"p-values corrected over these {len(found)} comparisons by Holm's method"
    )
    return Table(("comparison", "language", "difference", "95% interval", "p"), rows, caption, num_labels=2)
