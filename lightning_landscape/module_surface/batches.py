"""Keep copies of the last few training batches, for probes to evaluate the loss on."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.module_surface.copier import Copier, children_of


@dataclass(frozen=True)
class ProbeBatch:
    """A copy of one batch that `training_step` was called with, and the mode of each submodule at that step."""

    batch: Any
    """the captured copy; evaluations get copies of it, made by `copy`"""
    batch_idx: int
    dataloader_idx: int
    stream: int
    """the number of its random stream: each captured batch has its own, from which all its evaluations draw"""
    training: dict[str, bool]
    """the ``training`` flag of every submodule by its name, since a frozen BatchNorm layer is in evaluation mode"""
    samples: int | None
    """number of samples: the length of the first dimension, if it is the same for all tensors; None otherwise"""
    nbytes: int
    uncopied: Mapping[str, str]
    """the types of the objects in the batch that cannot be copied, by where they are: ``"batch[0].handle"``"""

    def copy(self) -> Any:
        """Return a copy of the batch for one evaluation, since a training step may change its batch."""
        return _copy(self.batch)[0]


class ProbeSet:
    """The last few training batches: probes measure with one half, the other half are held-out batches.

    Call `capture` in ``on_train_batch_start`` and `capture_drawn` in ``on_train_batch_end`` of the steps before a
    probe. A batch has to be copied before its training step, which may change it.

    Args:
        max_batches: largest number of batches to keep.
        max_bytes: largest number of bytes that all of them may take, on the devices where they are; a batch that
            takes more than this alone is not kept.
    """

    def __init__(self, max_batches: int = 4, max_bytes: int = 64 * 2**20) -> None:
        if max_batches < 1:
            raise ValueError(f"max_batches must be at least 1, got {max_batches}")
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, got {max_bytes}")
        self.max_batches = max_batches
        self.max_bytes = max_bytes
        self.left_out: int | None = None
        """bytes of the last batch that was too large to keep; None if there was none"""
        self._batches: deque[ProbeBatch] = deque()
        self._kept = 0
        """number of batches that were kept since it was last cleared, those included that made room for others"""
        self._flags_before_drawing: dict[str, bool] | None = None
        """the ``training`` flags at the start of a step that draws its batch itself; None at any other time"""

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def nbytes(self) -> int:
        """Bytes of all batches together."""
        return sum(batch.nbytes for batch in self._batches)

    @property
    def halves(self) -> tuple[tuple[ProbeBatch, ...], tuple[ProbeBatch, ...]]:
        """The batches to measure with and the held-out batches; of a single batch, the latter are empty."""
        batches = tuple(self._batches)
        return batches[0::2], batches[1::2]

    def capture(self, pl_module: nn.Module, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keep a copy of the batch of the training step that begins.

        Lightning passes None where the step draws its batch from ``dataloader_iter``; see `capture_drawn`.
        """
        flags = {name: module.training for name, module in pl_module.named_modules()}
        self._flags_before_drawing = flags if batch is None else None
        if batch is not None:
            self._keep(flags, batch, batch_idx, dataloader_idx)

    def capture_drawn(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keep a copy of the batch if the training step has drawn it from ``dataloader_iter`` itself."""
        flags, self._flags_before_drawing = self._flags_before_drawing, None
        if flags is not None and batch is not None:
            self._keep(flags, batch, batch_idx, dataloader_idx)

    def latest(self, batches: int, samples: int | None = None) -> ProbeSet:
        """Return a set of the latest of these batches.

        Args:
            batches: largest number of batches.
            samples: number of samples after which no batch is added, except that there are always four if possible,
                two of them held out; None for no such limit.
        """
        selected = ProbeSet(batches, self.max_bytes)
        selected_samples = 0
        for batch in reversed(self._batches):
            enough = samples is not None and len(selected) >= 4 and selected_samples >= samples
            if len(selected) == batches or enough:
                break
            selected._batches.appendleft(batch)
            selected_samples += batch.samples or 0
        selected.left_out = self.left_out
        return selected

    def half(self) -> ProbeSet:
        """Return a set of the later half of these batches, at least one."""
        return self.latest(max(1, len(self) // 2))

    def clear(self) -> None:
        """Remove all batches."""
        self._batches.clear()
        self._kept, self._flags_before_drawing = 0, None

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings, since copies and pickles do not contain the batches."""
        of_batches = ("_batches", "_kept", "_flags_before_drawing")
        return {name: value for name, value in vars(self).items() if name not in of_batches}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the settings and begin without batches."""
        vars(self).update(state, _batches=deque(), _kept=0, _flags_before_drawing=None)

    def _keep(self, flags: dict[str, bool], batch: Any, batch_idx: int, dataloader_idx: int) -> None:
        copied, nbytes, uncopied = _copy(batch)
        if nbytes > self.max_bytes:
            self.left_out = nbytes
            return
        samples = _number_of_samples(copied)
        self._batches.append(
            ProbeBatch(copied, batch_idx, dataloader_idx, self._kept, flags, samples, nbytes, uncopied)
        )
        self._kept += 1
        while len(self._batches) > self.max_batches or self.nbytes > self.max_bytes:
            self._batches.popleft()


def _copy(batch: Any) -> tuple[Any, int, Mapping[str, str]]:
    """Return a copy of the batch, its size in bytes, and the objects in it that could not be copied."""
    memo: dict[int, Any] = {}
    copier = Copier()
    copied = copier.copy(batch, memo, "batch")
    return copied, sum({id(made): _nbytes(made) for made in memo.values()}.values()), copier.uncopied


def _nbytes(value: Any) -> int:
    if isinstance(value, Tensor) and value.layout is not torch.strided:
        return value.element_size() * value.coalesce().values().numel() if value.layout is torch.sparse_coo else 0
    # The class is asked first, since an instance may return one of its items for any attribute name.
    nbytes = value.nbytes if hasattr(type(value), "nbytes") else 0
    return nbytes if isinstance(nbytes, int) else 0


def _number_of_samples(batch: Any) -> int | None:
    """Return the length of the first dimension of the tensors in a batch; None if it is not the same for all."""
    lengths: set[int] = set()
    seen: set[int] = set()
    pending = [batch]
    while pending:
        value = pending.pop()
        if isinstance(value, Tensor):
            lengths.add(value.size(0) if value.dim() else 1)
        elif id(value) not in seen:
            seen.add(id(value))
            pending.extend(children_of(value))
    return lengths.pop() if len(lengths) == 1 else None
