"""`raykd evaluate`: score a model folder."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raykd.cli.common import add_command, silence_libraries
from raykd.errors import DataError

_OPTIONS = (
    "task",
    "precision",
    "diagonal",
    "max_items",
    "normalization",
    "max_length",
    "stride",
    "whole_words",
    "unanswerable",
    "null_threshold",
    "unknown_tags",
)
"""Options that a task may have no use for; only those that are given are handed on."""


def add(commands: Any) -> None:
    """The parser of `raykd evaluate`."""
    evaluate = add_command(
        commands,
        "evaluate",
        help="score any model folder on data files",
        description="Score a model folder on files: question answering on SQuAD-format files, a tagger on files with a "
        "word and its tag in each line, a sentence encoder on parallel text. Options that the model's task has no use "
        "for are refused.",
        examples=[
            "raykd evaluate my-model --data /tmp/squad/dev.json",
            "raykd evaluate 'runs/fewshot-cpu#best' --data 'xquad/xquad.{language}.json' --languages en,de,es",
        ],
    )
    evaluate.add_argument("model", help="a model folder, a Hub id, or RESULTS#POINT of a sweep")
    evaluate.add_argument(
        "--data", required=True, metavar="PATH",
        help="one file, or a path with {language}; of SQuAD-format files also with {question} and {context}, of "
        "parallel text with {side}",
    )  # fmt: skip
    evaluate.add_argument(
        "--languages",
        help="comma-separated; in question answering each pair of question and context language is a cell (default: "
        "en, of an encoder those of the sweep that made it)",
    )
    evaluate.add_argument(
        "--task", metavar="NAME", help="of a model that does not say what it is for, such as a bare encoder"
    )
    evaluate.add_argument(
        "--precision", choices=("float32", "bf16"), help="arithmetic of the forward pass (default: float32)"
    )
    evaluate.add_argument(
        "--diagonal",
        action="store_const",
        const=True,
        help="only cells whose question and context have the same language",
    )
    evaluate.add_argument("--max-items", type=int, metavar="N", help="score a fixed sample of N items per cell")
    evaluate.add_argument(
        "--normalization",
        choices=("squad", "mlqa"),
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
        "--unknown-tags",
        choices=("refuse", "miss"),
        help="what to do with a tag that a tagger has no label for: refuse it, or count it as missed (default: refuse)",
    )
    evaluate.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="write the N best answers of every question, or the labels of every sentence, as JSON",
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

    given: dict[str, Any] = {name: getattr(options, name) for name in _OPTIONS}
    if options.languages is not None:
        names = (language.strip() for language in options.languages.split(","))
        given["languages"] = tuple(name for name in names if name)
    if options.predictions:
        given["n_best"] = options.n_best
    found = evaluate(
        options.model,
        data=options.data,
        say=lambda line: print(line, file=sys.stderr),
        **{name: value for name, value in given.items() if value is not None},
    )
    if options.official_predictions and not found.answers:
        raise DataError("--official-predictions: the model answers no questions; remove it")
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
