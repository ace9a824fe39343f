"""Every global random stream, borrowed and put back."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class RandomStreams(NamedTuple):
    """Where all global random streams stand: python, numpy, torch on the CPU and on every device in use."""

    python: tuple[Any, ...]
    numpy: Any
    cpu: Tensor
    cuda: list[Tensor] | None
    mps: Tensor | None

    @classmethod
    def now(cls) -> RandomStreams:
        """The present states."""
        return cls(
            random.getstate(),
            np.random.get_state(legacy=False),
            torch.get_rng_state(),
            torch.cuda.get_rng_state_all() if _cuda_is_running() else None,
            torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
        )

    def put_back(self) -> None:
        """Set every stream back to where it stood."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state_all(self.cuda)
        if self.mps is not None:
            torch.mps.set_rng_state(self.mps)


def seed_streams(seed: int) -> None:
    """Begin all global streams at `seed`: common random numbers for every point of the surface."""
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    # `torch.manual_seed` would also leave a seed behind for a CUDA that is started only later.
    if _cuda_is_running():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


def _cuda_is_running() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
