"""A teacher's signals on disk: computed once, stored by window id, read by every point that has that teacher."""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from raykd.errors import ArtifactError
from raykd.results.artifacts import Store
from raykd.results.signal_parts import SignalPart
from raykd.storage import hash_file

CONSTANT = "constant."
"""Before the name of what is the same for all windows: a CRF's transitions."""


@dataclass(frozen=True)
class SignalStore:
    """One teacher's signals over one kind of windows: parts of raw logits, each with the ids it holds.

    A part is a safetensors file, named by its content, and a record written after it; a part without its record does
    not exist for a reader, so a killed writer leaves nothing that is trusted.

    Attributes:
        folder: name of their folder in the store.
        teacher: the artifact that says so; each part names it.
    """

    store: Store
    folder: PurePosixPath
    teacher: str

    def missing(self, ids: Sequence[str]) -> np.ndarray:
        """Indices of the ids that no part holds."""
        known = {held for part in self._parts() for held in part.ids}
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
        name = f"part-{hashlib.sha256(chr(10).join(ids).encode()).hexdigest()[:16]}"
        with self.store.scratch.staging() as staging:
            made = staging / name
            safetensors.torch.save_file({key: value.contiguous() for key, value in named.items()}, made)
            digest = hash_file(made)
            file = f"{name}-{digest[:16]}.safetensors"
            with contextlib.suppress(FileExistsError):
                self.store.publish(made, self.folder / file)
        part = SignalPart(
            teacher=self.teacher,
            file=file,
            sha256=digest,
            ids=list(ids),
            lengths=[int(length) for length in lengths],
        )
        self.store.write_record(self.folder / f"{name}.json", part)

    def read(self, ids: Sequence[str], lengths: np.ndarray) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The signals of windows, end to end in the order of `ids` (name -> [sum of lengths, ...]), and the constants.

        Raises:
            ArtifactError: if a window is missing or has another length than the stored one, or a part is damaged.
        """
        where: dict[str, tuple[int, int, int]] = {}
        loaded: list[dict[str, Tensor]] = []
        wanted = set(ids)
        for part in self._parts():
            if wanted.isdisjoint(part.ids):
                continue
            loaded.append(self._load(part))
            ends = np.cumsum(part.lengths)
            for name, end, length in zip(part.ids, ends.tolist(), part.lengths, strict=True):
                where[name] = (len(loaded) - 1, end - length, end)
        folder = self.store.describe(self.folder)
        pieces: list[tuple[int, int, int]] = []
        for name, length in zip(ids, lengths.tolist(), strict=True):
            if name not in where:
                raise ArtifactError(f"{folder}: no signals of {name}; remove the folder and run again")
            if where[name][2] - where[name][1] != length:
                raise ArtifactError(
                    f"{folder}: {name} has another length than its window; remove the folder and run again"
                )
            pieces.append(where[name])
        held = loaded[0] if loaded else {}
        constants = {key.removeprefix(CONSTANT): held[key] for key in held if key.startswith(CONSTANT)}
        names = [key for key in held if not key.startswith(CONSTANT)]
        arrays = {key: torch.cat([loaded[part][key][start:end] for part, start, end in pieces]) for key in names}
        return arrays, constants

    def drop(self) -> None:
        """Remove them all."""
        self.store.remove(self.folder)

    def _parts(self) -> list[SignalPart]:
        there = set(self.store.children(self.folder))
        names = sorted(name for name in there if name.startswith("part-") and name.endswith(".json"))
        parts = [self.store.read_record(self.folder / name, SignalPart) for name in names]
        return [part for part in parts if part.file in there]

    def _load(self, part: SignalPart) -> dict[str, Tensor]:
        path = self.store.fetch(self.folder / part.file, files={"": part.sha256})
        if hash_file(path) != part.sha256:
            where = self.store.describe(self.folder / part.file)
            raise ArtifactError(f"{where}: damaged, its content is not what its record says; remove it and run again")
        return safetensors.torch.load_file(path)
