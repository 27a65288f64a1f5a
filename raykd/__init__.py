"""raykd: knowledge distillation of multilingual models over generations, on a Ray cluster."""

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = ["FinishedPoint", "Predictor", "Progress", "RaykdError", "Results", "load", "run_sweep"]

_ELSEWHERE = {"Predictor": "raykd.predict", "Progress": "raykd.sweep", "RaykdError": "raykd.errors"}
"""Name -> where it lives, if that is not `raykd.api`."""


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: `import raykd` alone loads nothing.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE.get(name, "raykd.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
