"""`raykd evaluate`: score a model folder."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raykd.cli.common import add_command, silence_libraries


def add(commands: Any) -> None:
    """The parser of `raykd evaluate`."""
    evaluate = add_command(
        commands,
        "evaluate",
        help="score any QA model folder on SQuAD-format files",
        examples=[
            "raykd evaluate my-model --data /tmp/squad/dev.json",
            "raykd evaluate 'runs/fewshot-cpu#best' --data 'xquad/xquad.{language}.json' --languages en,de,es",
        ],
    )
    evaluate.add_argument("model", help="a model folder, a Hub id, or RESULTS#POINT of a sweep")
    evaluate.add_argument(
        "--data", required=True, metavar="PATH",
        help="SQuAD-format files: one file, or a path with {language}, or with {question} and {context}",
    )  # fmt: skip
    evaluate.add_argument(
        "--languages",
        default="en",
        help="comma-separated; each pair of question and context language is a cell (default: en)",
    )
    evaluate.add_argument(
        "--diagonal", action="store_true", help="only cells whose question and context have the same language"
    )
    evaluate.add_argument("--max-items", type=int, metavar="N", help="score a fixed sample of N questions per cell")
    evaluate.add_argument(
        "--normalization",
        choices=("squad", "mlqa"),
        default="mlqa",
        help="rules to compare answers by: of each language, or of English for all (default: mlqa)",
    )
    evaluate.add_argument(
        "--max-length", type=int, default=384, metavar="TOKENS", help="length of a window (default: 384)"
    )
    evaluate.add_argument(
        "--stride",
        type=int,
        default=128,
        metavar="TOKENS",
        help="tokens that neighbouring windows share (default: 128)",
    )
    evaluate.add_argument(
        "--predictions", type=Path, metavar="FILE", help="write the N best answers of every question as JSON"
    )
    evaluate.add_argument("--n-best", type=int, default=20, metavar="N", help="answers per question (default: 20)")
    evaluate.add_argument("--json", action="store_true", help="print the scores as JSON")
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
