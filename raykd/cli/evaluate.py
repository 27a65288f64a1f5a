"""`raykd evaluate`: score a model folder."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raykd.cli.common import silence_libraries


def add(commands: Any) -> None:
    """The parser of `raykd evaluate`."""
    evaluate = commands.add_parser("evaluate", help="score any QA model folder on a data set")
    evaluate.add_argument("model", help="a model folder, a Hub id, or RESULTS#POINT of a sweep")
    evaluate.add_argument(
        "--data", required=True, metavar="PATH",
        help="SQuAD-format files: a path with {language}, or with {question} and {context}, or one file",
    )  # fmt: skip
    evaluate.add_argument(
        "--languages", default="en", help="comma-separated; every pair of them is a cell (default: en)"
    )
    evaluate.add_argument("--diagonal", action="store_true", help="question and context in the same language only")
    evaluate.add_argument("--max-items", type=int, metavar="N", help="a fixed sample of so many questions of each cell")
    evaluate.add_argument("--normalization", choices=("squad", "mlqa"), default="mlqa")
    evaluate.add_argument("--max-length", type=int, default=384, metavar="TOKENS")
    evaluate.add_argument("--stride", type=int, default=128, metavar="TOKENS")
    evaluate.add_argument("--predictions", type=Path, metavar="FILE", help="write the n best answers of every question")
    evaluate.add_argument("--n-best", type=int, default=20, metavar="N", help="answers a question (default: 20)")
    evaluate.add_argument("--json", action="store_true", help="print scores as JSON")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    silence_libraries()
    from raykd.predict import evaluate
    from raykd.report.leaderboard import matrix

    languages = tuple(language.strip() for language in options.languages.split(",") if language.strip())
    scores, answers = evaluate(
        options.model,
        data=options.data,
        languages=languages,
        diagonal=options.diagonal,
        max_items=options.max_items,
        normalization=options.normalization,
        max_length=options.max_length,
        stride=options.stride,
        n_best=options.n_best if options.predictions else 0,
    )
    if options.predictions:
        options.predictions.write_text(json.dumps(answers, ensure_ascii=False, indent=1), encoding="utf-8")
    if options.json:
        print(json.dumps(asdict(scores), indent=1))
        return 0
    print(matrix(scores))
    print()
    for name, heading in scores.columns.items():
        if (value := scores.values.get(name)) is not None:
            print(f"{heading}: {value:.2f}")
    return 0
