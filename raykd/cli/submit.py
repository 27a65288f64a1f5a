"""`raykd submit` and `raykd stop`: a sweep as a job of a Ray cluster."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from raykd.cli.common import INTERRUPTED, add_command, load
from raykd.cli.sweep import sweep_arguments
from raykd.results.words import counted


def add(commands: Any) -> None:
    """The parser of `raykd submit` and `raykd stop`."""
    submit = add_command(
        commands,
        "submit",
        usage="raykd submit FILE [options] [-- options of raykd sweep]",
        help="run a sweep file as a job of a Ray cluster, or follow the job if it is running",
        examples=[
            "raykd submit sweeps/quickstart.yaml --storage /shared/runs/quickstart",
            "raykd submit sweeps/quickstart.yaml --storage s3://BUCKET/runs/quickstart -- --fail-fast",
        ],
    )
    submit.add_argument("file", type=Path, help="the sweep file; must be in the uploaded folder")
    submit.add_argument(
        "--working-dir", type=Path, default=Path("."), metavar="DIR", help="folder to upload (default: .)"
    )
    submit.add_argument(
        "--runtime-env", type=Path, metavar="FILE", help="Ray runtime environment; replaces the default"
    )
    submit.add_argument("--dry-run", action="store_true", help="print the request, without secrets, and send nothing")
    submit.add_argument("--no-follow", action="store_true", help="return as soon as the job is accepted")
    submit.set_defaults(run=_submit)

    stop = add_command(
        commands,
        "stop",
        help="stop the job of a sweep and wait until it has ended",
        examples=["raykd stop sweeps/quickstart.yaml --storage /shared/runs/quickstart"],
    )
    stop.add_argument("job", metavar="FILE|ID", help="the sweep file, or the job's submission id")
    stop.set_defaults(run=_stop)
    for command in (submit, stop):
        command.add_argument(
            "--address",
            metavar="URL",
            help="the dashboard (default: RAY_API_SERVER_ADDRESS, a URL in RAY_ADDRESS, or http://127.0.0.1:8265)",
        )
        command.add_argument(
            "--storage", metavar="DIR", help="results folder that every node mounts, or URL; overrides that of the file"
        )
        command.add_argument(
            "--json", action="store_true", help="print the job as JSON; its log goes to standard error"
        )


def _submit(options: argparse.Namespace) -> int:
    from raykd.executors.ray_internals import silence_uploads
    from raykd.plan.points import make_plan
    from raykd.submit import Cluster, cluster_address, find_token, make_job, request, secret_variables

    sweep = load(options.file)
    plan = make_plan(sweep)
    checked = argparse.ArgumentParser(prog="raykd sweep")
    sweep_arguments(checked)
    checked.parse_args([str(options.file), *options.sweep_options])
    silence_uploads()
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
        print(
            f"raykd: env_vars.{name}: Ray shows it with the job; set it in the environment of the nodes instead",
            file=sys.stderr,
        )
    cluster = Cluster(address, token)
    name, status = cluster.newest(job.submission_id) or ("", None)
    # As JSON there is one document, at the end; until then what is said is for people.
    log = sys.stderr if options.json else sys.stdout
    is_there = status is not None and not status.is_terminal()
    if is_there:
        print(
            f"{name}: {status} already on {cluster.address}; following it, nothing was submitted", file=log, flush=True
        )
    else:
        name = cluster.submit(job.submission_id, entrypoint=job.entrypoint, runtime_env=job.runtime_env)
        size = f"{counted(len(job.files), 'file')}, {job.upload_bytes / 2**20:.1f} MiB"
        said = f"{name}: {counted(len(plan.points), 'point')}, submitted with {size} to {cluster.address}"
        print(said, file=log, flush=True)
    described = {"job": name, "address": cluster.address, "submitted": not is_there, "num_points": len(plan.points)}
    if options.no_follow:
        if options.json:
            print(json.dumps({**described, "status": status if is_there else None}, indent=1))
        return 0
    try:
        status, code = cluster.follow(name, write=lambda text: print(text, end="", file=log, flush=True))
    except KeyboardInterrupt:
        print(f"\nraykd: stopped following; job {name} goes on, `raykd stop {name}` stops it", file=sys.stderr)
        return INTERRUPTED
    print(json.dumps({**described, "status": status}, indent=1) if options.json else f"{name}: {status}")
    return code


def _stop(options: argparse.Namespace) -> int:
    from raykd.submit import Cluster, cluster_address, find_token, shared_storage, submission_id

    cluster, name = Cluster(cluster_address(options.address), find_token()), options.job
    if name.endswith((".yaml", ".yml")):
        sweep = load(Path(name))
        name = submission_id(sweep, shared_storage(sweep, options.storage))
        name, _ = cluster.newest(name) or (name, None)
    status = cluster.stop(name)
    described = {"job": name, "address": cluster.address, "status": status}
    print(json.dumps(described, indent=1) if options.json else f"{name}: {status}")
    return 0
