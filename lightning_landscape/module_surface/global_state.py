"""State of the whole process that an evaluation changes: random number generators and settings of torch.

`RandomStreams.now` and `TorchFlags.now` save it before the first evaluation, `restore` sets it back after the last one.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

_AUTOCAST_DEVICES = ("cpu", "cuda")


class RandomStreams(NamedTuple):
    """The states of the global random number generators of Python, NumPy and torch, for every device in use."""

    python: tuple[Any, ...]
    numpy: dict[str, Any] | tuple[Any, ...]
    cpu: Tensor
    cuda: list[Tensor] | None
    """one state for each device; None where CUDA has not been initialised"""
    mps: Tensor | None

    @classmethod
    def now(cls) -> RandomStreams:
        """Return the present states."""
        return cls(
            random.getstate(),
            np.random.get_state(legacy=False),
            torch.get_rng_state(),
            torch.cuda.get_rng_state_all() if _cuda_is_initialized() else None,
            torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
        )

    def restore(self) -> None:
        """Set every generator to its saved state."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state_all(self.cuda)
        if self.mps is not None:
            torch.mps.set_rng_state(self.mps)


def seed_streams(seed: int) -> None:
    """Seed all global random number generators, so that evaluations at different weights draw the same numbers."""
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    # `torch.manual_seed` would also store a seed for a CUDA context that is initialised later.
    if _cuda_is_initialized():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


def _cuda_is_initialized() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


class TorchFlags(NamedTuple):
    """Settings of torch that hold for the whole process or thread.

    The context managers that change them restore them too, except when Ctrl-C arrives during their exit.
    """

    grad_enabled: bool
    default_dtype: torch.dtype
    autocast: dict[str, bool]
    """whether autocast is enabled, by device type"""
    attention_kernels: tuple[bool, bool, bool, bool]
    """whether flash, memory-efficient, math and cuDNN attention are enabled"""
    cudnn: bool

    @classmethod
    def now(cls) -> TorchFlags:
        """Return the present settings."""
        kernels: Any = torch.backends.cuda
        return cls(
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            {device: torch.is_autocast_enabled(device) for device in _AUTOCAST_DEVICES},
            (
                kernels.flash_sdp_enabled(),
                kernels.mem_efficient_sdp_enabled(),
                kernels.math_sdp_enabled(),
                kernels.cudnn_sdp_enabled(),
            ),
            torch.backends.cudnn.enabled,
        )

    def restore(self) -> None:
        """Set every flag to its saved value."""
        kernels: Any = torch.backends.cuda
        torch.set_grad_enabled(self.grad_enabled)
        torch.set_default_dtype(self.default_dtype)
        for device, enabled in self.autocast.items():
            torch.set_autocast_enabled(device, enabled)
        flash, memory_efficient, math, cudnn = self.attention_kernels
        kernels.enable_flash_sdp(flash)
        kernels.enable_mem_efficient_sdp(memory_efficient)
        kernels.enable_math_sdp(math)
        kernels.enable_cudnn_sdp(cudnn)
        torch.backends.cudnn.enabled = self.cudnn
