"""From records to a report: what it says, before anybody renders it."""

from raykd.report.account import cost_section, provenance_section, trouble_section
from raykd.report.compare import compare
from raykd.report.decision import decision, facts, significance_section
from raykd.report.document import Report
from raykd.report.knobs import knobs_section
from raykd.report.languages import languages_section
from raykd.report.numbers import moment
from raykd.report.results import results_of
from raykd.report.scores import few_shot_section, leaderboard_section
from raykd.report.training import training_section
from raykd.results.records import SweepRecords
from raykd.tasks import TASKS


def build(records: SweepRecords) -> Report:
    """The report of a sweep, at whatever moment; what a sweep cannot show is left out."""
    results = results_of(records)
    comparisons = compare(records)
    sections = (
        leaderboard_section(results) if records.points else None,
        few_shot_section(results),
        significance_section(results, comparisons),
        languages_section(results),
        training_section(results),
        knobs_section(results),
        cost_section(results),
        trouble_section(results),
        provenance_section(results),
    )
    best = results.finished[0] if results.finished else None
    return Report(
        title=records.description.get("name") or "sweep",
        subtitle=f"{_title(results.task)}, begun {moment(records.description.get('started'))}",
        decision=decision(results, comparisons),
        facts=facts(results, comparisons),
        sections=tuple(section for section in sections if section is not None),
        best=best and {"name": best.name, "score": results.main, "mean": best.mean(results.main)},
    )


def _title(task: str) -> str:
    return TASKS[task].info.title if task in TASKS else "sweep"
