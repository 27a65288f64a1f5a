"""From records to a report: what it says, before anybody renders it."""

from raykd.report.account import cost_section, provenance_section, trouble_section
from raykd.report.analysis import analyse
from raykd.report.compare import compare
from raykd.report.decision import decision, facts, significance_section
from raykd.report.document import Report
from raykd.report.knobs import knobs_section
from raykd.report.languages import languages_section
from raykd.report.numbers import moment
from raykd.report.racing import race_section
from raykd.report.scores import few_shot_section, leaderboard_section
from raykd.report.tests import test_sections
from raykd.report.training import training_section
from raykd.results.records import SweepRecords
from raykd.tasks import TASKS


def build(records: SweepRecords) -> Report:
    """The report of a sweep, at whatever moment; what a sweep cannot show is left out."""
    analysis = analyse(records)
    comparisons = compare(records)
    sections = (
        leaderboard_section(analysis) if records.points else None,
        few_shot_section(analysis),
        significance_section(analysis, comparisons),
        race_section(analysis),
        *test_sections(records, analysis),
        languages_section(analysis),
        training_section(analysis),
        knobs_section(analysis),
        cost_section(analysis),
        trouble_section(analysis),
        provenance_section(analysis),
    )
    best = analysis.finished[0] if analysis.finished else None
    return Report(
        title=records.description.name or "sweep",
        subtitle=f"{_title(analysis.task)}, begun {moment(records.description.started)}",
        decision=decision(analysis, comparisons),
        facts=facts(analysis, comparisons),
        sections=tuple(section for section in sections if section is not None),
        best=None if best is None else {"name": best.name, "score": analysis.main, "mean": best.mean(analysis.main)},
    )


def _title(task: str) -> str:
    return TASKS[task].info.title if task in TASKS else "sweep"
