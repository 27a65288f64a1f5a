"""Writes a point's model as a Hugging Face folder that loads with plain transformers."""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd import __version__
from raykd.config.influence import recipe
from raykd.config.point import PointBase
from raykd.errors import ConfigError, DataError
from raykd.export.card import Subject, model_card
from raykd.export.checks import Check, Probe
from raykd.export.choice import chosen_point
from raykd.export.onnx import require_onnx, write_onnx
from raykd.models.accelerator import settle_accelerator
from raykd.models.qa import load_tokenizer
from raykd.results.artifacts import ArtifactRecord, Store
from raykd.results.records import PointRecord, SweepRecords, read_records
from raykd.storage import give_rights_of_folder
from raykd.tasks import point_from_record, task_of
from raykd.tasks.predictor import most_tokens
from raykd.tasks.word_pieces import needs_spaces

ORIGIN = "raykd.json"
"""In an exported folder: which point of which sweep it is, and its configuration."""

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Exported:
    """A folder that was written.

    Attributes:
        artifact: fingerprint of the model.
        check: of the reloaded folder against the model in the sweep.
        onnx: of `model.onnx` against it; None without one.
    """

    folder: Path
    point: PointRecord
    artifact: str
    check: Check
    onnx: Check | None


def export_point(root: Path | str, out: Path, *, wanted: str | None = None, onnx: bool = False) -> Exported:
    """Write the model that a point delivered, with a card; it gets its name when it was reloaded and compared.

    Args:
        root: the sweep's results, a folder or a URL.
        out: a folder that is not there, or empty.
        wanted: the point, as `chosen_point` takes it.
        onnx: write `model.onnx` too.

    Raises:
        ConfigError: if `out` is taken, or ONNX is wanted and not installed.
        DataError: if no such point can be had, or no class of transformers can hold its model.
        ArtifactError: if a record or a file is damaged, or what was written answers differently.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: exists and is not empty; choose another folder, or empty it")
    if onnx:
        require_onnx()
    settle_accelerator()
    records = read_records(root)
    point = chosen_point(records, wanted)
    config = point_from_record(point.description.config, where=f"{records.root}: {point.label}")
    store = Store(records.root)
    assert point.result is not None, f"{point.id} is not finished"
    record = store.verify(point.result.artifact)
    source = store.artifact(record.fingerprint)
    task = task_of(config)
    if task.load_form is None:
        raise DataError(f"{point.label}: no class of transformers can hold a model of task {task.name}")
    form, model = task.load_form(), task.model.load(str(source)).eval()
    tokenizer = load_tokenizer(str(source))
    _limit(tokenizer, model)
    with _becoming(out) as folder:
        plain = _named(point, lambda: form.plain(model))
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for name in form.own_files:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        probe = Probe(form, model, form.batches(tokenizer, model, config))
        options = form.load_options(type(plain))
        again = form.auto_class.from_pretrained(folder, use_safetensors=True, trust_remote_code=False, **options).eval()
        check = probe.check(
            lambda batch: [getattr(again(**batch), name) for name in form.outputs],
            tolerance=TOLERANCE,
            what=f"{out}: the model as transformers loads it",
        )
        onnx_check = write_onnx(again, probe, folder) if onnx else None
        (folder / ORIGIN).write_text(_origin(records, point, config, record), encoding="utf-8")
        name, spaces = out.resolve().name, needs_spaces(tokenizer)
        code = form.usage(config, model, name=name, words_bring_spaces=spaces, options=options)
        subject = Subject(records, point, config, record, point.result, plain, code, has_onnx=onnx)
        (folder / "README.md").write_text(model_card(subject), encoding="utf-8")
    return Exported(out, point, record.fingerprint, check, onnx_check)


def _origin(records: SweepRecords, point: PointRecord, config: PointBase, record: ArtifactRecord) -> str:
    """Where a model is from, and how it came about, as JSON."""
    origin = {
        "raykd": __version__,
        "sweep": records.description.name,
        "id": point.id,
        "label": point.label,
        "artifact": record.fingerprint,
        "point": recipe(config),
        "chosen": dict(point.result.scores.chosen) if point.result is not None else {},
    }
    return json.dumps(origin, ensure_ascii=False, indent=1) + "\n"


def _limit(tokenizer: Any, model: Any) -> None:
    """Let the tokenizer cut where the model's positions end, for those who do not know the model."""
    tokenizer.model_max_length = most_tokens(model, tokenizer)


def _named(point: PointRecord, make: Any) -> Any:
    try:
        return make()
    except DataError as error:
        raise DataError(f"{point.label}: {problem}" for problem in error.problems) from error


@contextmanager
def _becoming(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name when the block ends without an error, and is gone otherwise."""
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{uuid.uuid4().hex[:8]}")
    staging.mkdir()
    try:
        yield staging
        give_rights_of_folder(staging)
        # Also takes the place of a folder that is there and empty.
        staging.replace(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
