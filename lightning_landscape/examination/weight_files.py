"""Copies of weights in files of the run directory, where they are too large for memory or for checkpoints."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from torch import Tensor

from lightning_landscape._files import write_atomically
from lightning_landscape.surface import Params
from lightning_landscape.trainer.host import Host

FOLDER = "weights"
"""directory of the files, in that of the events and the report"""
REFERENCE = "weights_file"
"""key of the path in what stands for a point in a checkpoint"""
CHECKPOINTS = 5
"""number of the latest checkpoints whose files are kept, so that a run can resume from each of them"""


class StoredPoint(Mapping[str, Tensor]):
    """A point in a file that is mapped into memory: each value is read when it is used, and may be dropped again.

    A tensor that is changed in place leaves the file as it is.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shapes: Mapping[str, torch.Size] = {name: weight.shape for name, weight in self._read().items()}
        """shape of each tensor, for which none of them is read"""

    def _read(self) -> dict[str, Tensor]:
        content: dict[str, Tensor] = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
        return content

    def __getitem__(self, name: str) -> Tensor:
        return self._read()[name]

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    @property
    def reference(self) -> dict[str, str]:
        """What stands for the point in a checkpoint."""
        return {REFERENCE: str(self.path)}


def saved(point: Params) -> dict[str, Any]:
    """Return what stands for a point in a checkpoint: its tensors, or a reference to its file."""
    return {**point.reference} if isinstance(point, StoredPoint) else dict(point)


def resolved(value: Mapping[str, Any]) -> Params:
    """Return a point of a checkpoint, which may be a reference to a file; an empty point if that cannot be read."""
    if REFERENCE not in value:
        return value
    try:
        return StoredPoint(Path(value[REFERENCE]))
    except Exception:  # the file is gone, or anything is wrong with it
        return {}


class WeightFiles:
    """Writes points to files, and removes those that neither the run nor one of its latest checkpoints needs."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        """the directory of the events and the report; None if there is none, or as long as it is not known"""
        self._written: dict[str, StoredPoint] = {}
        self._saved: list[frozenset[Path]] = []

    def find_folder(self, host: Host, folder: Path | None) -> None:
        """Take the directory of the first rank, if there is one by now."""
        if self.folder is None:
            known = host.from_first_rank(None if folder is None else str(folder))
            self.folder = None if known is None else Path(known)

    def write(self, key: str, point: Params) -> StoredPoint | None:
        """Write a point, unless one with this key was written before; None without a directory or if that fails.

        Args:
            key: says which point it is, as in "best 410"; equal keys stand for equal points.
            point: the weights.
        """
        if isinstance(point, StoredPoint):
            return point
        if self.folder is None:
            return None
        if key not in self._written:
            path = self.folder.absolute() / FOLDER / f"{key.replace(' ', '_')}_{uuid4().hex[:12]}.pt"
            try:
                write_atomically(path, lambda draft: torch.save(dict(point), draft))
                self._written[key] = StoredPoint(path)
            except (OSError, RuntimeError):  # torch raises the latter for a full disk
                return None
        return self._written[key]

    def saved(self, points: Collection[StoredPoint]) -> None:
        """Enter the points to which a checkpoint refers, whose files stay until `CHECKPOINTS` more are written."""
        self._saved = [*self._saved, frozenset(point.path for point in points)][-CHECKPOINTS:]

    def remove_all_but(self, points: Collection[Params]) -> None:
        """Remove the written files that belong neither to one of these points nor to one of the latest checkpoints.

        A file that cannot be removed stays.
        """
        used = {point.path for point in points if isinstance(point, StoredPoint)}.union(*self._saved)
        for key, stored in list(self._written.items()):
            if stored.path not in used:
                del self._written[key]
                with suppress(OSError):
                    stored.path.unlink()
