"""Names of recipes: short fingerprints of configurations as plain values."""

import hashlib
import json
from typing import Any

from raykd.config.base import Config


def dump(config: Config) -> dict[str, Any]:
    """A configuration as plain values, every default written out."""
    return config.model_dump(mode="json")


def digest(value: Any) -> str:
    """The first 12 hex digits of the SHA-256 of a value's JSON, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
