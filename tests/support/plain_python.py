"""Programs in a Python that has no raykd, as they run at somebody's home who was given a model."""

import atexit
import functools
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

WARM = """
import contextlib, io, json, os, sys, traceback

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "raykd":
            raise ImportError("no raykd here")

sys.meta_path.insert(0, Refusing())
try:
    import raykd
except ImportError:
    pass
else:
    raise SystemExit("raykd can be imported")
os.environ["HF_HUB_OFFLINE"] = "1"
import torch, transformers.models.auto.tokenization_auto, transformers.models.bert.modeling_bert

torch.set_num_threads(1)
for line in sys.stdin:
    program, folder = json.loads(line)
    if os.fork() == 0:
        os.chdir(folder)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                exec(compile(program, "program", "exec"), {"__name__": "__main__"})
                error = None
            except BaseException:
                error = traceback.format_exc()
        print(json.dumps([printed.getvalue(), error]), flush=True)
        os._exit(0)
    os.wait()
"""
"""Forks a process for each program that it is given; torch and transformers are imported once."""


def elsewhere(code: str, *, folder: Path) -> str:
    """What a Python program prints that runs in a folder, without raykd, the Hub or this environment's settings."""
    warm = _warm()
    warm.stdin.write(json.dumps([textwrap.dedent(code), str(folder)]) + "\n")
    warm.stdin.flush()
    printed, error = json.loads(warm.stdout.readline())
    assert error is None, error
    return printed


@functools.cache
def _warm() -> Any:
    started = subprocess.Popen(
        [sys.executable, "-I", "-c", WARM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(started.communicate)
    return started


def usage_of(folder: Path) -> str:
    """The Python of a model card, without its last line, which prints an example."""
    code = (folder / "README.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    return code.rpartition("print(")[0]
