"""A teacher's signals on disk: computed once, stored by window id, read by every point that has that teacher."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from raykd.artifacts import read_json, write_json
from raykd.errors import ArtifactError

CONSTANT = "constant."
"""Before the name of what is the same for all windows: a CRF's transitions."""


@dataclass(frozen=True)
class SignalStore:
    """One teacher's signals over one kind of windows: parts of raw logits, each with the ids it holds.

    A part is a safetensors file and a JSON file written after it; a part without its JSON file does not exist for a
    reader, so a killed writer leaves nothing that is trusted.
    """

    folder: Path

    def missing(self, ids: Sequence[str]) -> np.ndarray:
        """Indices of the ids that no part holds."""
        known = {held for part in self._parts() for held in part["ids"]}
        return np.array([index for index, name in enumerate(ids) if name not in known], dtype=np.int64)

    def write(
        self,
        ids: Sequence[str],
        lengths: Sequence[int],
        arrays: Mapping[str, Tensor],
        constants: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Add a part.

        Args:
            ids: of n windows.
            lengths: [n] tokens (or words) of each.
            arrays: name -> [sum of lengths, ...] in that order.
            constants: what is the same for all windows.
        """
        named = {**arrays, **{f"{CONSTANT}{key}": value for key, value in (constants or {}).items()}}
        self.folder.mkdir(parents=True, exist_ok=True)
        name = f"part-{hashlib.sha256(chr(10).join(ids).encode()).hexdigest()[:16]}"
        temporary = self.folder / f".{name}-{uuid.uuid4().hex[:8]}"
        try:
            safetensors.torch.save_file({key: value.contiguous() for key, value in named.items()}, temporary)
            temporary.replace(self.folder / f"{name}.safetensors")
        finally:
            temporary.unlink(missing_ok=True)
        write_json(self.folder / f"{name}.json", {"ids": list(ids), "lengths": [int(length) for length in lengths]})

    def read(self, ids: Sequence[str], lengths: np.ndarray) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The signals of windows, end to end in the order of `ids` (name -> [sum of lengths, ...]), and the constants.

        Raises:
            ArtifactError: if a window is missing or has another length than the stored one.
        """
        where: dict[str, tuple[int, int, int]] = {}
        loaded: list[dict[str, Tensor]] = []
        wanted = set(ids)
        for part in self._parts():
            if wanted.isdisjoint(part["ids"]):
                continue
            loaded.append(safetensors.torch.load_file(part["file"]))
            ends = np.cumsum(part["lengths"])
            for name, end, length in zip(part["ids"], ends.tolist(), part["lengths"], strict=True):
                where[name] = (len(loaded) - 1, end - length, end)
        pieces: list[tuple[int, int, int]] = []
        for name, length in zip(ids, lengths.tolist(), strict=True):
            if name not in where:
                raise ArtifactError(f"{self.folder}: no signals of {name}; remove the folder and run again")
            if where[name][2] - where[name][1] != length:
                raise ArtifactError(
                    f"{self.folder}: {name} has another length than its window; remove the folder and run again"
                )
            pieces.append(where[name])
        held = loaded[0] if loaded else {}
        constants = {key.removeprefix(CONSTANT): held[key] for key in held if key.startswith(CONSTANT)}
        names = [key for key in held if not key.startswith(CONSTANT)]
        arrays = {key: torch.cat([loaded[part][key][start:end] for part, start, end in pieces]) for key in names}
        return arrays, constants

    def _parts(self) -> list[dict]:
        parts = []
        for path in sorted(self.folder.glob("part-*.json")):
            file = path.with_suffix(".safetensors")
            if file.is_file():
                parts.append({**read_json(path), "file": file})
        return parts
