"""`raykd predict`: ask a model."""

import argparse
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from raykd.cli.common import add_command, silence_libraries
from raykd.errors import ConfigError

if TYPE_CHECKING:
    from raykd.tasks.predictor import Said


def add(commands: Any) -> None:
    """The parser of `raykd predict`."""
    predict = add_command(
        commands,
        "predict",
        help="answer questions, or label sentences, with a model",
        description="Answer questions with spans of their contexts, or label the words of sentences, depending on the "
        "model. Input comes from a file or is asked for interactively.",
        examples=[
            "raykd predict 'runs/qa#best' questions.tsv --n-best 3",
        ],
    )
    predict.add_argument("model", help="a model folder, a Hub id, or RESULTS#POINT of a sweep")
    predict.add_argument(
        "file", nargs="?", type=Path, metavar="FILE",
        help="questions as .json (SQuAD), .jsonl or .tsv (question, context); or sentences, one per line, or one word "
        "per line as .conll, .tsv or .conllu; if omitted, asks interactively",
    )  # fmt: skip
    predict.add_argument("--n-best", type=int, default=1, metavar="N", help="answers per question (default: 1)")
    predict.add_argument("--output", type=Path, metavar="FILE", help="write to this file instead of standard output")
    predict.add_argument("--json", action="store_true", help="print JSON; without FILE one object per line")
    predict.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> int:
    if options.n_best < 1:
        raise ConfigError(f"--n-best {options.n_best}: must be 1 or more")
    if options.file is not None and not options.file.is_file():
        raise ConfigError(f"{options.file}: no such file")
    silence_libraries()
    from raykd.predict import Predictor

    predictor = Predictor.load(options.model)
    with _destination(options.output) as out:
        if options.file is not None:
            said = predictor.of_file(options.file, n_best=options.n_best)
            if options.json:
                print(json.dumps([each.row for each in said], ensure_ascii=False, indent=1), file=out)
                return 0
        else:
            # What is typed, or piped, may be in another encoding.
            if isinstance(sys.stdin, io.TextIOWrapper):
                sys.stdin.reconfigure(encoding="utf-8", errors="replace")
            said = predictor.of_typed(_ask, n_best=options.n_best)
        for each in said:
            if options.json:
                print(json.dumps(each.row, ensure_ascii=False), file=out, flush=True)
            else:
                _print(each, out)
    return 0


@contextmanager
def _destination(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        out = path.open("w", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--output {path}: cannot be written: {error.strerror}") from error
    with out:
        yield out


def _print(said: "Said", out: TextIO) -> None:
    """For a person: what is emphasised is in colour on a terminal, and in brackets elsewhere."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=out, highlight=False, soft_wrap=True)
    for line in said.lines:
        if len(line) == 1 and not line[0][1]:
            # rich would make spaces of tabs.
            print(line[0][0], file=out)
            continue
        marks = ("", "") if console.is_terminal else ("[", "]")
        parts = [(marks[0] + text + marks[1], style) if style else text for text, style in line]
        console.print(Text.assemble(*parts))
    out.flush()


def _ask(prompt: str) -> str | None:
    """A line of the input without its end; None where there is no more. Prompts are for a person."""
    if sys.stdin.isatty():
        print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line.rstrip("\n").strip() if line else None
