"""`raykd predict`: ask a model."""

import argparse
import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from raykd.cli.common import silence_libraries
from raykd.errors import ConfigError

if TYPE_CHECKING:
    from raykd.predict import Answer, Labelled, Predictor

_WHITE_SPACE = re.compile(r"\s+")
_SHOWN_AROUND = 60
"""Characters of the context that are shown on each side of an answer."""


def add(commands: Any) -> None:
    """The parser of `raykd predict`."""
    predict = commands.add_parser(
        "predict",
        help="answer questions, or label sentences, with a model",
        description="Answer questions with spans of their contexts, or label the words of sentences, from a file or as "
        "they are typed. Which of the two is up to the model.",
    )
    predict.add_argument("model", help="a model folder, a Hub id, or RESULTS#POINT of a sweep")
    predict.add_argument(
        "file", nargs="?", type=Path, metavar="FILE",
        help="questions as .json (SQuAD), .jsonl or .tsv (question, context); or sentences, one a line, or a word a "
        "line as .conll, .tsv or .conllu. Without it they are asked for",
    )  # fmt: skip
    predict.add_argument("--n-best", type=int, default=1, metavar="N", help="answers a question (default: 1)")
    predict.add_argument("--output", type=Path, metavar="FILE", help="write there what would be printed")
    predict.add_argument("--json", action="store_true", help="print JSON, an object a line where texts are typed")
    predict.set_defaults(run=_predict)


def _predict(options: argparse.Namespace) -> int:
    if options.n_best < 1:
        raise ConfigError(f"--n-best {options.n_best}: give 1 or more")
    if options.file is not None and not options.file.is_file():
        raise ConfigError(f"{options.file}: no such file")
    silence_libraries()
    from raykd.predict import Predictor

    predictor = Predictor.load(options.model)
    with _destination(options.output) as out:
        ways = {"qa": (_answer_file, _answer_typed), "tagging": (_label_file, _label_typed)}
        of_file, typed = ways[predictor.task]
        if options.file is not None:
            of_file(predictor, options, out)
        else:
            # What is typed, or piped, may be in another encoding.
            if isinstance(sys.stdin, io.TextIOWrapper):
                sys.stdin.reconfigure(encoding="utf-8", errors="replace")
            typed(predictor, options, out)
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


def _answer_file(predictor: "Predictor", options: argparse.Namespace, out: TextIO) -> None:
    from raykd.predict.files import read_questions

    questions = read_questions(options.file)
    pairs = [(each.question, each.context) for each in questions]
    found = predictor.answers(pairs, n_best=options.n_best)
    if options.json:
        rows = [
            {"id": each.id, "question": each.question, "answers": list(map(asdict, answers))}
            for each, answers in zip(questions, found, strict=True)
        ]
        print(json.dumps(rows, ensure_ascii=False, indent=1), file=out)
        return
    for each, answers in zip(questions, found, strict=True):
        print(f"{each.id}: {each.question}", file=out)
        _print_answers(answers, each.context, out)


def _answer_typed(predictor: "Predictor", options: argparse.Namespace, out: TextIO) -> None:
    while (context := _ask_context()) is not None:
        while question := _ask("Question (empty: another context): "):
            answers = predictor.answer(question, context, n_best=options.n_best)
            if options.json:
                row = {"question": question, "answers": list(map(asdict, answers))}
                print(json.dumps(row, ensure_ascii=False), file=out, flush=True)
            else:
                _print_answers(answers, context, out)
        if question is None:
            return


def _print_answers(answers: Sequence["Answer"], context: str, out: TextIO) -> None:
    """Each answer with its probability and score, marked in its context: in colour on a terminal."""
    from rich.console import Console
    from rich.text import Text

    console = Console(file=out, highlight=False, soft_wrap=True)
    for answer in answers:
        first, past = max(answer.start - _SHOWN_AROUND, 0), answer.end + _SHOWN_AROUND
        marks = ("", "") if console.is_terminal else ("[", "]")
        parts = context[first : answer.start], context[answer.start : answer.end], context[answer.end : past]
        before, inside, after = (_WHITE_SPACE.sub(" ", part) for part in parts)
        around = ("... " if first else "", " ..." if past < len(context) else "")
        console.print(Text(f"  {answer.probability:.3f}  {inside}  (score {answer.score:.2f})"))
        marked = (marks[0] + inside + marks[1], "bold green")
        console.print(Text.assemble(f"         {around[0]}{before}", marked, f"{after}{around[1]}"))
    if not answers:
        print("  no answer: nothing in this context can be read", file=out)


def _label_file(predictor: "Predictor", options: argparse.Namespace, out: TextIO) -> None:
    from raykd.predict.files import read_sentences

    found = predictor.labels(read_sentences(options.file))
    if options.json:
        print(json.dumps(list(map(asdict, found)), ensure_ascii=False, indent=1), file=out)
        return
    for labelled in found:
        _print_labels(labelled, out)


def _label_typed(predictor: "Predictor", options: argparse.Namespace, out: TextIO) -> None:
    while words := (_ask("Sentence: ") or "").split():
        labelled = predictor.label(words)
        if options.json:
            print(json.dumps(asdict(labelled), ensure_ascii=False), file=out, flush=True)
        else:
            _print_labels(labelled, out)


def _print_labels(labelled: "Labelled", out: TextIO) -> None:
    lines = [f"{word}\t{label}" for word, label in zip(labelled.words, labelled.labels, strict=True)]
    print("\n".join([*lines, ""]), file=out, flush=True)


def _ask_context() -> str | None:
    """A text that is typed, or read from a file that is named; None at the end of the input."""
    prompt = "Context (a file, or a text and an empty line): "
    lines: list[str] = []
    while line := _ask(prompt):
        if not lines and len(line) < 1000 and Path(line).is_file():
            return Path(line).read_text(encoding="utf-8", errors="replace")
        lines.append(line)
        prompt = ""
    return "\n".join(lines) or None


def _ask(prompt: str) -> str | None:
    """A line of the input without its end; None where there is no more. Prompts are for a person."""
    if sys.stdin.isatty():
        print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line.rstrip("\n").strip() if line else None
