"""`raykd evaluate`: score a model folder."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raykd.cli.common import add_command, silence_libraries
from raykd.errors import DataError


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
        "--max-length",
        type=int,
        metavar="TOKENS",
        help="length of a window (default: that of the sweep that made the model, otherwise 384 or what it can read)",
    )
    evaluate.add_argument(
        "--stride",
        type=int,
        metavar="TOKENS",
        help="tokens that neighbouring windows share (default: those of the sweep, otherwise 128 or a third)",
    )
    evaluate.add_argument(
        "--whole-words",
        action=argparse.BooleanOptionalAction,
        help="answers begin and end at the edges of words (default: as in the sweep that made the model)",
    )
    evaluate.add_argument(
        "--unanswerable",
        action=argparse.BooleanOptionalAction,
        help="questions may have no answer, as in SQuAD 2.0 (default: as in the sweep that made the model)",
    )
    evaluate.add_argument(
        "--null-threshold",
        type=float,
        metavar="X",
        help="no answer is given where it scores more than X above the best one (default: as the selection set of the "
        "sweep that made the model chose, otherwise 0)",
    )
    evaluate.add_argument(
        "--predictions", type=Path, metavar="FILE", help="write the N best answers of every question as JSON"
    )
    evaluate.add_argument(
        "--official-predictions",
        type=Path,
        metavar="FOLDER",
        help="write {id: answer} as the official scripts of SQuAD and MLQA read it, one QUESTION-CONTEXT.json per cell",
    )
    evaluate.add_argument("--n-best", type=int, default=20, metavar="N", help="answers per question (default: 20)")
    evaluate.add_argument("--json", action="store_true", help="print the scores as JSON")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    silence_libraries()
    from raykd.predict import evaluate
    from raykd.report.leaderboard import matrix

    languages = tuple(language.strip() for language in options.languages.split(",") if language.strip())
    found = evaluate(
        options.model,
        data=options.data,
        languages=languages,
        diagonal=options.diagonal,
        max_items=options.max_items,
        normalization=options.normalization,
        max_length=options.max_length,
        stride=options.stride,
        whole_words=options.whole_words,
        unanswerable=options.unanswerable,
        null_threshold=options.null_threshold,
        n_best=options.n_best if options.predictions else 0,
        say=lambda line: print(line, file=sys.stderr),
    )
    if options.predictions:
        _write(options.predictions, found.rows)
    for cell, answers in found.answers.items() if options.official_predictions else ():
        _write(options.official_predictions / f"{cell}.json", answers)
    if options.json:
        print(json.dumps(asdict(found.scores), indent=1))
        return 0
    print(matrix(found.scores))
    print()
    for name, heading in found.scores.columns.items():
        if (value := found.scores.values.get(name)) is not None:
            print(f"{heading}: {value:.2f}")
    return 0


def _write(path: Path, content: Any) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
