"""The batches that a probe looks at: a few of the run's own, kept in a bounded number of bytes."""

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
    """One batch as `training_step` was given it, and how the module stood at that moment."""

    batch: Any
    """the captured copy; `fresh` makes another"""
    batch_idx: int
    dataloader_idx: int
    training: dict[str, bool]
    """the ``training`` flag of every submodule by name: frozen BatchNorm is to stay frozen"""
    samples: int | None
    """length of the first dimension that all tensors share; None where they do not"""
    nbytes: int
    uncopied: Mapping[str, str]
    """where in the batch an object was met that cannot be copied: its type"""

    def fresh(self) -> Any:
        """A copy for one evaluation, since a training step may change its batch."""
        return _copy(self.batch)[0]


class ProbeSet:
    """The latest few batches, of which one half is measured on and the other half judged on.

    Call `capture` in ``on_train_batch_start`` and `capture_drawn` in ``on_train_batch_end``, in the few steps right
    before a probe: a batch after its training step is not always the batch that went in.

    Args:
        max_batches: how many to hold
        max_bytes: how many bytes all of them may take, on the device where they are; a batch beyond is left out
    """

    def __init__(self, max_batches: int = 4, max_bytes: int = 64 * 2**20) -> None:
        if max_batches < 1:
            raise ValueError(f"max_batches must be at least 1, got {max_batches}")
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, got {max_bytes}")
        self.max_batches = max_batches
        self.max_bytes = max_bytes
        self.left_out: int | None = None
        """bytes of the last batch that was too large; None where there was none"""
        self._held: deque[ProbeBatch] = deque()
        self._drawing: dict[str, bool] | None = None

    def __len__(self) -> int:
        return len(self._held)

    @property
    def nbytes(self) -> int:
        """Bytes held in all."""
        return sum(held.nbytes for held in self._held)

    @property
    def halves(self) -> tuple[tuple[ProbeBatch, ...], tuple[ProbeBatch, ...]]:
        """Batches to measure on and batches to judge on; the second is empty while only one batch is held."""
        held = tuple(self._held)
        return held[0::2], held[1::2]

    def capture(self, pl_module: nn.Module, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keep a copy of a batch that is about to be trained on.

        Lightning hands over None where the step draws from the ``dataloader_iter`` itself; see `capture_drawn`.
        """
        flags = {name: module.training for name, module in pl_module.named_modules()}
        self._drawing = flags if batch is None else None
        if batch is not None:
            self._keep(flags, batch, batch_idx, dataloader_idx)

    def capture_drawn(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Keep a copy of the batch that the step has drawn from its ``dataloader_iter``; nothing for other steps."""
        flags, self._drawing = self._drawing, None
        if flags is not None and batch is not None:
            self._keep(flags, batch, batch_idx, dataloader_idx)

    def latest(self, batches: int, samples: int | None = None) -> ProbeSet:
        """The same batches, but no more than these, and no more than two beyond so many samples."""
        some = ProbeSet(batches, self.max_bytes)
        seen = 0
        for held in reversed(self._held):
            if len(some) == batches or (samples is not None and len(some) >= 2 and seen >= samples):
                break
            some._held.appendleft(held)
            seen += held.samples or 0
        some.left_out = self.left_out
        return some

    def half(self) -> ProbeSet:
        """The later half of the batches, at least one."""
        return self.latest(max(1, len(self) // 2))

    def clear(self) -> None:
        """Forget all batches."""
        self._held.clear()
        self._drawing = None

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles are made of: the settings, without the batches."""
        return {name: value for name, value in vars(self).items() if name not in ("_held", "_drawing")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin without batches."""
        vars(self).update(state, _held=deque(), _drawing=None)

    def _keep(self, flags: dict[str, bool], batch: Any, batch_idx: int, dataloader_idx: int) -> None:
        copied, nbytes, uncopied = _copy(batch)
        if nbytes > self.max_bytes:
            self.left_out = nbytes
            return
        samples = _samples(copied)
        self._held.append(ProbeBatch(copied, batch_idx, dataloader_idx, flags, samples, nbytes, uncopied))
        while len(self._held) > self.max_batches or self.nbytes > self.max_bytes:
            self._held.popleft()


def _copy(batch: Any) -> tuple[Any, int, Mapping[str, str]]:
    """A copy of the batch, tensor for tensor, its bytes, and what in it could not be copied."""
    memo: dict[int, Any] = {}
    copier = Copier()
    copied = copier.copy(batch, memo, "batch")
    return copied, sum({id(made): _nbytes(made) for made in memo.values()}.values()), copier.uncopied


def _nbytes(value: Any) -> int:
    if isinstance(value, Tensor) and value.layout is not torch.strided:
        return value.element_size() * value.coalesce().values().numel() if value.layout is torch.sparse_coo else 0
    # Asked of the class: an instance may take every name for an item of its own.
    nbytes = value.nbytes if hasattr(type(value), "nbytes") else 0
    return nbytes if isinstance(nbytes, int) else 0


def _samples(batch: Any) -> int | None:
    """How many samples a batch holds, where its tensors agree on it."""
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
