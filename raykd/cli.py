"""The commands. The only module that prints or exits; what is heavy is imported inside the command that needs it."""

import argparse
import errno
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raykd import __version__
from raykd.errors import ConfigError, RaykdError
from raykd.storage import location

if TYPE_CHECKING:
    from raykd.config.sweep import SweepConfig

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 1 where something failed while running, 2 where nothing was started."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # argparse cannot hand on what follows a "--" with options before it.
    end = arguments.index("--") if arguments[:1] == ["submit"] and "--" in arguments else len(arguments)
    options = _parser().parse_args(arguments[:end])
    options.sweep_options = arguments[end + 1 :]
    logging.basicConfig(
        level=logging.INFO if getattr(options, "verbose", False) else logging.ERROR,
        format="%(levelname)s %(name)s: %(message)s",
    )
    try:
        return options.run(options)
    except RaykdError as error:
        for line in error.problems:
            print(f"raykd: {line}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print("raykd: the disk is full: free space, then run the same command again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("raykd: interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raykd", description="Distil multilingual models over generations on a Ray cluster."
    )
    parser.add_argument("--version", action="version", version=f"raykd {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    plan = commands.add_parser("plan", help="show what a sweep file would run: points, passes, steps, time, disk")
    plan.add_argument("file", type=Path, help="the sweep file")
    plan.add_argument(
        "--tokens-per-second", type=float, metavar="N", help="speed of one point's training, for the time estimate"
    )
    plan.add_argument("--points", action="store_true", help="list every point")
    plan.set_defaults(run=_plan)

    sweep = commands.add_parser("sweep", help="run a sweep file, or go on with it")
    sweep.add_argument("file", type=Path, help="the sweep file")
    sweep.add_argument("--storage", metavar="DIR", help="folder or URL of the results, in place of the file's")
    failing = sweep.add_mutually_exclusive_group()
    failing.add_argument("--fail-fast", action="store_true", help="start no more points once one has failed")
    failing.add_argument(
        "--keep-going", dest="fail_fast", action="store_false", help="run the other points all the same (the default)"
    )
    sweep.add_argument("--retry-failed", action="store_true", help="try points again that failed too often")
    sweep.add_argument("--verbose", "-v", action="store_true", help="log what workers and Ray say")
    sweep.set_defaults(run=_sweep)

    submit = commands.add_parser(
        "submit",
        usage="raykd submit FILE [options] [-- options of raykd sweep]",
        help="run a sweep file as a job of a Ray cluster, or follow it if it runs there",
    )
    submit.add_argument("file", type=Path, help="the sweep file, in the folder that is uploaded")
    submit.add_argument(
        "--working-dir", type=Path, default=Path("."), metavar="DIR", help="folder to upload (default: .)"
    )
    submit.add_argument(
        "--runtime-env", type=Path, metavar="FILE", help="Ray's runtime environment, in place of the default one"
    )
    submit.add_argument("--dry-run", action="store_true", help="print the request, and send nothing")
    submit.add_argument("--no-follow", action="store_true", help="return once the job is accepted")
    submit.set_defaults(run=_submit)

    stop = commands.add_parser("stop", help="stop a sweep's job and wait until it has ended")
    stop.add_argument("job", metavar="FILE|ID", help="the sweep file, or the job's submission id")
    stop.set_defaults(run=_stop)
    for command in (submit, stop):
        command.add_argument(
            "--address", metavar="URL", help="the cluster's dashboard (default: http://127.0.0.1:8265)"
        )
        command.add_argument(
            "--storage", metavar="DIR", help="folder of the results that every node sees, in place of the file's"
        )

    board = commands.add_parser("leaderboard", help="mean and deviation over seeds of every configuration of a sweep")
    board.add_argument("root", metavar="DIR", help="folder or URL of the sweep's results")
    board.add_argument("--format", choices=("markdown", "csv", "json"), default="markdown")
    board.add_argument("--cells", action="store_true", help="add the G-XLT matrix of the best point")
    board.set_defaults(run=_leaderboard)

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

    _add_gc(commands)

    schema = commands.add_parser("schema", help="print the JSON schema of a sweep file")
    schema.set_defaults(run=_schema)
    return parser


def _add_gc(commands: Any) -> None:
    gc = commands.add_parser("gc", help="show what a sweep's results hold that nobody will ask for, or delete it")
    gc.add_argument("root", metavar="DIR", help="folder or URL of the sweep's results")
    gc.add_argument("--delete", action="store_true", help="delete it; without this nothing is")
    gc.add_argument("--json", action="store_true", help="print it as JSON")
    gc.set_defaults(run=_gc)


def _load(file: Path) -> "SweepConfig":
    from raykd.config.load import load_sweep

    return load_sweep(file)


def _root(sweep: "SweepConfig", storage: str | None = None) -> Path | str:
    return location(storage or sweep.storage or Path("runs") / sweep.name)


def _plan(options: argparse.Namespace) -> int:
    from raykd.plan import make_plan
    from raykd.preview import preview

    plan = make_plan(_load(options.file))
    for line in preview(plan, folder=options.file.parent, tokens_per_second=options.tokens_per_second):
        print(line)
    if options.points:
        for point in plan.points:
            print(f"  {point.id}  {point.label}")
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from raykd.plan import make_plan
    from raykd.preview import check_data

    sweep = _load(options.file)
    plan = make_plan(sweep)
    data = check_data(plan, folder=options.file.parent)
    root = _root(sweep, options.storage)
    if not options.verbose:
        _silence_libraries()
    from raykd.sweep import run_sweep

    started = time.time()
    print(f"{sweep.name}: {len(plan.points)} point(s), results in {root}", flush=True)
    with _Display(plan) as display:
        outcome = run_sweep(
            plan,
            root=root,
            folder=options.file.parent,
            progress=display,
            data=data,
            fail_fast=options.fail_fast,
            retry_failed=options.retry_failed,
            verbose=options.verbose,
        )
    _print_board(root, "markdown")
    counts = f"{outcome.finished} finished, {outcome.skipped} were done before, {outcome.stopped} stopped early"
    print(f"\n{counts}, {outcome.failed} failed; {time.time() - started:.0f} s. Again: raykd leaderboard {root}")
    if outcome.given_up:
        print(
            f"{outcome.given_up} given up after {sweep.search.max_attempts} failures; --retry-failed tries them again"
        )
    if outcome.missing and not options.fail_fast:
        raise RaykdError(f"{outcome.missing} point(s) did not run; run the same command again")
    return 1 if outcome.failed or outcome.given_up else 0


def _submit(options: argparse.Namespace) -> int:
    from raykd.plan import make_plan
    from raykd.submit import Cluster, cluster_address, find_token, make_job, request, secret_variables

    sweep = _load(options.file)
    plan = make_plan(sweep)
    _parser().parse_args(["sweep", str(options.file), *options.sweep_options])
    _silence_submission()
    job = make_job(
        options.file,
        sweep,
        working_dir=options.working_dir,
        storage=options.storage,
        runtime_env=options.runtime_env,
        options=options.sweep_options,
    )
    address, token = cluster_address(options.address), find_token()
    if options.dry_run:
        print(json.dumps(request(job, address, token), indent=1))
        return 0
    for name in secret_variables(job):
        print(f"raykd: env_vars.{name}: Ray shows it with the job; rather set it on the nodes", file=sys.stderr)
    cluster = Cluster(address, token)
    name, status = cluster.newest(job.submission_id) or ("", None)
    if status and not status.is_terminal():
        print(f"{name}: {status} already on {cluster.address}; nothing else was submitted", flush=True)
    else:
        name = cluster.submit(job.submission_id, entrypoint=job.entrypoint, runtime_env=job.runtime_env)
        size = f"{len(job.files)} file(s), {job.upload_bytes / 2**20:.1f} MiB"
        print(f"{name}: {len(plan.points)} point(s), submitted with {size} to {cluster.address}", flush=True)
    if options.no_follow:
        return 0
    try:
        status, code = cluster.follow(name, write=lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        print(f"\nraykd: {name} goes on without being followed; `raykd stop {name}` ends it", file=sys.stderr)
        return INTERRUPTED
    print(f"{name}: {status}")
    return code


def _stop(options: argparse.Namespace) -> int:
    from raykd.submit import Cluster, cluster_address, find_token, shared_storage, submission_id

    cluster, name = Cluster(cluster_address(options.address), find_token()), options.job
    if name.endswith((".yaml", ".yml")):
        sweep = _load(Path(name))
        name = submission_id(sweep, shared_storage(sweep, options.storage))
        name, _ = cluster.newest(name) or (name, None)
    print(f"{name}: {cluster.stop(name)}")
    return 0


def _silence_submission() -> None:
    """Ray reports each step of an upload and of a log, whatever level its callers log at."""
    for name in ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk", "_private.runtime_env.packaging"):
        logging.getLogger(f"ray.{name}").setLevel(logging.ERROR)


def _silence_libraries() -> None:
    import os

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "1")
    # Tune logs a failed trial's traceback; raykd says the reason in a line.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)


def _leaderboard(options: argparse.Namespace) -> int:
    root = location(options.root)
    _print_board(root, options.format)
    if options.cells:
        _print_cells(root)
    return 0


def _print_board(root: Path | str, style: str) -> None:
    from raykd.report.leaderboard import failures, leaderboard, render

    print(render(leaderboard(root), style))
    if style == "markdown":
        for line in failures(root):
            print(f"failed: {line}")


def _print_cells(root: Path | str) -> None:
    from raykd.journal import Journal
    from raykd.report.leaderboard import matrix

    journal = Journal.at(root)
    results = {point_id: journal.result(point_id) for point_id in journal.current_point_ids()}
    done = {point_id: result for point_id, result in results.items() if result is not None}
    if not done:
        raise ConfigError(f"{root}: no point is finished yet")
    best = max(done, key=lambda point_id: done[point_id]["scores"][done[point_id]["scores"]["main"]])
    scores = done[best]["scores"]
    metric = {"accuracy": "accuracy", "retrieval": "Top-1 retrieval"}.get(scores.get("metric"), "F1")
    print(f"\n{metric} of {journal.point(best)['label']} ({best}):\n")
    print(matrix(scores))


def _evaluate(options: argparse.Namespace) -> int:
    _silence_libraries()
    from raykd.evaluate import evaluate
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
        print(json.dumps(scores, indent=1))
        return 0
    print(matrix(scores))
    print()
    for name, heading in scores["columns"].items():
        if scores[name] is not None:
            print(f"{heading}: {scores[name]:.2f}")
    return 0


def _gc(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from raykd.artifacts import Store
    from raykd.gc import collect

    waste = collect(
        Store(options.root), delete=options.delete, say=lambda text: print(f"raykd: {text}", file=sys.stderr)
    )
    if options.json:
        print(json.dumps([asdict(each) for each in waste], indent=1, ensure_ascii=False))
        return 0
    for each in waste:
        print(f"{each.num_bytes / 1e6:10.1f} MB  {each.name}: {each.why}")
    total = f"{sum(each.num_bytes for each in waste) / 1e6:.1f} MB in {len(waste)} place(s)"
    print(f"{total} deleted" if options.delete else f"{total} can go; --delete deletes it")
    return 0


def _schema(options: argparse.Namespace) -> int:
    from raykd.config.load import json_schema

    print(json.dumps(json_schema(), indent=1))
    return 0


class _Display:
    """Draws the progress of a sweep: a line for each epoch, and a bar below them on a terminal."""

    def __init__(self, plan: Any) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.console = Console(highlight=False, soft_wrap=True)
        columns = (
            TextColumn("epochs"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        epochs = {
            point.id: point.config.lineage.num_generations * point.config.lineage.epochs_per_generation
            for point in plan.points
        }
        self.left = dict(epochs)
        self.task = self.bar.add_task("epochs", total=sum(epochs.values()) or None)
        self.done = 0

    def __enter__(self) -> "_Display":
        self.bar.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.bar.stop()

    def line(self, text: str) -> None:
        """Something happened."""
        self.console.print(text, markup=False)

    def epoch(self, point: Any, report: Any) -> None:
        """A point did an epoch."""
        score = f"  dev {report['dev_score']:.1f}" if report["dev_score"] is not None else ""
        coefficient = f"  coefficient {report['coefficient']:.2f}" if report["coefficient"] not in (None, 1.0) else ""
        parts = "".join(f", {name} {value:.3f}" for name, value in report["parts"].items())
        watched = "".join(f", {name.replace('_', ' ')} {value:.2f}" for name, value in report["watched"].items())
        left = report["elapsed_seconds"] / report["epoch"] * (report["num_epochs"] - report["epoch"])
        self.line(
            f"{point.label}: generation {report['generation']}, epoch {report['epoch']}/{report['num_epochs']}  "
            f"loss {report['loss']:.3f} (label {report['label']:.3f}, kd {report['kd']:.3f}{parts}){coefficient}{score}"
            f"{watched}  "
            f"{report['examples_per_second']:.0f} examples/s  {left:.0f} s left"
        )
        if self.left.get(point.id, 0) > 0:
            self.left[point.id] -= 1
            self.bar.advance(self.task)

    def ended(self, point: Any, status: str, detail: str) -> None:
        """A point is done: what it did not do is no longer waited for."""
        self.bar.advance(self.task, self.left.pop(point.id, 0))
        self.line(f"{point.label}: {status}, {detail}")


def run() -> None:
    """The console script."""
    sys.exit(main())
