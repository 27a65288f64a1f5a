"""Ray's worker processes as forks of one warm process for each node, which has imported what workers import.

Importing torch, transformers and DeepSpeed takes seven seconds of a processor, in every process of a worker group, in
its controller, and in each trial. `sitecustomize` comes in where a raylet starts `setup_worker.py`: it hands command
line, environment, folder and files to the warm process of that raylet, which forks the worker, and ends. A warm process
ends with its raylet. Ray itself is left to the worker: it reads the environment when it is imported. What is not plain
(another interpreter, a container) is left to Ray.
"""

import gc
import importlib
import json
import os
import random
import runpy
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import Any, NoReturn

OF_RAYKD = ("raykd.worker.point", "raykd.worker.prepare")
OF_RAY = (
    "aiohttp",
    "google.protobuf",
    "jsonschema",
    "opentelemetry.sdk.metrics",
    "pandas",
    "pyarrow.dataset",
    "requests",
)
"""What Ray imports, beside itself."""
OF_SETUP = ("--serialized-runtime-env-context", "--language")


def ask(arguments: list[str]) -> None:
    """Have the worker of a command line of `setup_worker.py` forked, and end; returns where Ray is to start it."""
    options = dict(each.split("=", 1) for each in arguments if each.startswith(OF_SETUP))
    context = json.loads(options.get(OF_SETUP[0]) or "{}")
    # The words before the worker's own: where a job brought a folder, a step into it.
    match shlex.split(" ".join(context.get("command_prefix") or [])):
        case []:
            folder = os.getcwd()
        case ["cd", str(folder), "&&"]:
            pass
        case _:
            return
    is_ours = context.get("py_executable", sys.executable) == sys.executable
    command = [each for each in arguments if not each.startswith(OF_SETUP)]
    # Ray's client server begins in this way too.
    is_worker = options.get(OF_SETUP[1]) == "PYTHON" and command[0].endswith("/default_worker.py")
    if not (is_worker and is_ours) or context.get("override_worker_entrypoint"):
        return
    wanted = {
        "arguments": command,
        "environment": {**os.environ, **(context.get("env_vars") or {})},
        "folder": folder,
    }
    with _connected(os.getppid()) as connection:
        body = json.dumps(wanted).encode()
        socket.send_fds(connection, [struct.pack("!I", len(body))], [0, 1, 2])
        connection.sendall(body)
        # Until the worker is there.
        connection.recv(1)
    os._exit(0)


def _connected(raylet: int) -> socket.socket:
    """To the warm process of a raylet; whoever gets its address first starts it."""
    address = f"\0raykd-warm-{raylet}"
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(address)
            return connection
        except OSError:
            connection.close()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            try:
                listener.bind(address)
            except OSError:
                time.sleep(0.05)
                continue
            listener.listen(64)
            files, command = [listener.fileno()], [sys.executable, __file__, str(listener.fileno()), str(raylet)]
            subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=files, start_new_session=True)


def serve(listener: socket.socket, raylet: int) -> None:
    """Fork a worker for each that asks, until the raylet ends."""
    over = os.pidfd_open(raylet)
    for module in OF_RAYKD + OF_RAY:
        importlib.import_module(module)
    assert "ray" not in sys.modules
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while over not in select.select([listener, over], [], [])[0]:
        connection, _ = listener.accept()
        with connection:
            size, files, _, _ = socket.recv_fds(connection, 4, 3)
            length, body = struct.unpack("!I", size)[0], b""
            while len(body) < length:
                body += connection.recv(length - len(body))
            if os.fork() == 0:
                for each in (listener, connection):
                    each.close()
                os.close(over)
                _become(json.loads(body), files)
            for each in files:
                os.close(each)


def _become(wanted: dict[str, Any], files: list[int]) -> NoReturn:
    """The worker process itself."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Ray ends a worker's whole group.
    os.setpgid(0, 0)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir(wanted["folder"])
    sys.argv = wanted["arguments"]
    sys.path[0] = os.path.dirname(sys.argv[0])
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [each for each in entries if each and each not in sys.path]
    # Else all workers would draw alike.
    random.seed()
    sys.modules["numpy"].random.seed()
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
