"""The race of a sweep in its report: who went out, when and why."""

import math
from typing import Any

from raykd.plan.sweep import Race
from raykd.report.analysis import Analysis
from raykd.report.document import MISSING, Block, Section, Table, Text
from raykd.report.numbers import interval, probability, signed, value
from raykd.report.race import Decision, decide
from raykd.results.words import counted


def race_section(analysis: Analysis) -> Section | None:
    """Every configuration with its last test against the leader; None where a sweep is no race."""
    keys = analysis.records.description.config
    search = keys.get("search") or {}
    if search.get("algorithm") != "race":
        return None
    seeds, settings = tuple(keys.get("seeds") or ()), Race(**(search.get("race") or {}))
    decisions = decide(analysis.records.points, seeds, settings)
    blocks: list[Block] = [Text(_explained(settings, len(seeds)))]
    blocks += [_table(budget, decisions[budget]) for budget in sorted(decisions, key=_rising)]
    return Section("race", "Who is out of the race", "Race", tuple(blocks))


def _rising(budget: Any) -> float:
    """Where a budget stands among others: numbers before `all`."""
    return budget if isinstance(budget, int) else math.inf


def _explained(settings: Race, num_seeds: int) -> str:
    return (
        "After each seed those configurations are out that the leader is ahead of beyond doubt: differences count the "
        "chance of other seeds and of other items, and p-values are corrected for all pairs and all rounds, so the "
        f"chance that any goes out that is no worse than its leader is {settings.level:g} in the whole race. It ends "
        f"when one is left, when none of the rest is more than {settings.margin:g} points better than the leader, or "
        f"after {counted(num_seeds, 'seed')}. All of it goes by the selection set."
    )


def _table(budget: Any, decision: Decision) -> Table:
    rows = tuple(_row(name, decision) for name in decision.names)
    where = f"Budget {value(budget)}: " if budget is not None else ""
    end = (
        f"over after {counted(decision.rounds, 'round')}, {decision.reason}"
        if decision.reason
        else (f"{counted(decision.rounds, 'round')} so far")
    )
    headings = ("configuration", "behind", "difference", "interval", "p", "seeds", "items", "verdict")
    emphasised = frozenset({0} if decision.leader is not None else ())
    return Table(headings, rows, f"{where}{end}", num_labels=2, emphasised=emphasised)


def _row(name: str, decision: Decision) -> tuple[str, ...]:
    # The leader's own last test was against the one that led before.
    lead = decision.tests.get(name) if name != decision.leader else None
    verdict = (
        f"out after round {decision.out[name]}"
        if name in decision.out
        else "leads"
        if name == decision.leader
        else "in"
    )
    if lead is None:
        return (name, MISSING, MISSING, MISSING, MISSING, MISSING, MISSING, verdict)
    numbers = signed(-lead.difference), interval(-lead.high, -lead.low), probability(lead.p_value)
    return (name, lead.leader, *numbers, str(lead.num_seeds), str(lead.num_items), verdict)
