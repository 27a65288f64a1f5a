"""`raykd export`: write a point's model as a folder that transformers loads."""

import argparse
import json
from pathlib import Path
from typing import Any

from raykd.cli.common import add_command, silence_libraries
from raykd.errors import ConfigError
from raykd.storage import location


def add(commands: Any) -> None:
    """The parser of `raykd export`."""
    export = add_command(
        commands,
        "export",
        help="write a point's model as a Hugging Face folder with a model card",
        description="Write a point's model as a Hugging Face folder with a model card. It loads with transformers, "
        "without raykd; before the folder gets its name, its output is compared with that of the model in the sweep.",
        examples=["raykd export runs/qa my-model", "raykd export runs/qa ce-model --point ce"],
    )
    export.add_argument("root", metavar="DIR", help="the results folder, or its URL")
    export.add_argument("out", metavar="OUT", type=Path, help="output folder (new or empty)")
    export.add_argument(
        "--point",
        metavar="POINT",
        help="label, id or its beginning, or method if it has one finished point (default: best)",
    )
    export.add_argument("--onnx", action="store_true", help="also write model.onnx, checked with onnxruntime")
    export.add_argument("--push", metavar="REPO", help="upload the folder to this Hub repository")
    export.add_argument("--private", action="store_true", help="with --push: create the repository as private")
    export.add_argument("--json", action="store_true", help="print a summary as JSON")
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    silence_libraries()
    if options.private and not options.push:
        raise ConfigError("--private has no effect without --push; add --push REPO")
    from raykd.export.folder import export_point
    from raykd.export.hub import check_repo, push
    from raykd.tasks import TASKS

    if options.push:
        check_repo(options.push)
    done = export_point(location(options.root), options.out, wanted=options.point, onnx=options.onnx)
    if not options.json:
        print(f"exported: {done.point.label} ({done.point.id}) to {done.folder}")
        print(f"checked: plain transformers gives the same output, {_words(done.check)}")
        if done.onnx:
            print(f"checked: model.onnx in onnxruntime gives the same output, {_words(done.onnx)}")
    pushed = push(done.folder, options.push, private=options.private) if options.push else None
    if options.json:
        checks = {"transformers": done.check, "onnx": done.onnx}
        row = {
            "folder": str(done.folder),
            "point": done.point.id,
            "label": done.point.label,
            "artifact": done.artifact,
            "checks": {name: vars(check) for name, check in checks.items() if check},
            "pushed": pushed,
        }
        print(json.dumps(row, ensure_ascii=False, indent=1))
        return 0
    if pushed:
        print(f"pushed: {pushed}")
    if TASKS[done.point.settings.task].load_predictor is not None:
        print(f"next: raykd predict {done.folder}")
    return 0


def _words(check: Any) -> str:
    return f"on {check.num_examples} examples; largest difference of a logit: {check.difference:.2g}"
