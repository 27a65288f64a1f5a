"""The generations behind a model, as a table."""

from collections.abc import Iterable

from raykd.config.point import PointBase
from raykd.errors import ArtifactError
from raykd.results.artifacts import Store
from raykd.results.records import PointRecord, SweepRecords


def lineage_table(records: SweepRecords, point: PointRecord, config: PointBase) -> str:
    """Markdown: a row for each generation of a finished point, with fingerprints of its artifact and its teachers."""
    assert point.result is not None, f"{point.id} is not finished"
    store, delivered, base = Store(records.root), point.result.artifact, point.description.base
    lines = ["| generation | artifact | taught by | dev score |", "|---|---|---|---|"]
    lines.append(f"| 0 | `{base}`, from `{config.base.model}` | - | - |")
    for generation in point.result.generations:
        artifact, score = generation.artifact, generation.dev_score
        teachers = _teachers(store, artifact) if config.distillation.uses_teacher else ()
        mark = ", this model" if artifact == delivered else ""
        shown = "-" if score is None else f"{score:.1f}"
        lines.append(f"| {generation.index} | `{artifact}`{mark} | {_listed(teachers)} | {shown} |")
    if delivered == base:
        lines += ["", "No later generation was better: this model is generation 0."]
    return "\n".join(lines)


def _teachers(store: Store, artifact: str) -> Iterable[str]:
    try:
        return store.record(artifact).teachers
    except ArtifactError:
        # What is not kept may have been collected since; its row stays.
        return ()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "-"
