"""`raykd export`: take a model home."""

import argparse
import json
from pathlib import Path
from typing import Any

from raykd.cli.common import silence_libraries
from raykd.errors import ConfigError
from raykd.storage import location


def add(commands: Any) -> None:
    """The parser of `raykd export`."""
    export = commands.add_parser(
        "export",
        help="write a point's model as a Hugging Face folder with a model card",
        description="Write a point's model as a Hugging Face folder with a model card. It loads with transformers, "
        "without raykd, and is compared with the model in the sweep before it gets its name.",
    )
    export.add_argument("root", metavar="DIR", help="folder or URL of the sweep's results")
    export.add_argument("out", metavar="OUT", type=Path, help="folder to write: not there, or empty")
    export.add_argument(
        "--point",
        metavar="POINT",
        help="label, id or its beginning, or method, if one point of that is finished (default: best)",
    )
    export.add_argument("--onnx", action="store_true", help="write model.onnx too, checked with onnxruntime")
    export.add_argument("--push", metavar="REPO", help="upload the folder to this repository of the Hub")
    export.add_argument("--private", action="store_true", help="with --push: a repository that is made is private")
    export.add_argument("--json", action="store_true", help="print what was written as JSON")
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    silence_libraries()
    if options.private and not options.push:
        raise ConfigError("--private says who sees what --push uploads; give --push REPO")
    from raykd.export.folder import export_point
    from raykd.export.hub import check_repo, push
    from raykd.tasks import TASKS

    if options.push:
        check_repo(options.push)
    done = export_point(location(options.root), options.out, wanted=options.point, onnx=options.onnx)
    if not options.json:
        print(f"{done.point.label} ({done.point.id}) is in {done.folder}")
        print(f"checked: transformers alone answers alike, {_words(done.check)}")
        if done.onnx:
            print(f"checked: model.onnx in onnxruntime concludes the same, {_words(done.onnx)}")
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
