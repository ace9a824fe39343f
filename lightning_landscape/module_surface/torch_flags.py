"""TorchFlags of torch that hold for the whole process or thread, and that an evaluation turns."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch


class TorchFlags(NamedTuple):
    """How they stand. Context managers turn them back as well, but not where Ctrl-C strikes at their very exit."""

    gradients: bool
    dtype: torch.dtype
    autocast: dict[str, bool]
    attention: tuple[bool, bool, bool, bool]
    cudnn: bool

    @classmethod
    def now(cls) -> TorchFlags:
        """The present settings."""
        kernels: Any = torch.backends.cuda
        return cls(
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            {device: torch.is_autocast_enabled(device) for device in ("cpu", "cuda")},
            (
                kernels.flash_sdp_enabled(),
                kernels.mem_efficient_sdp_enabled(),
                kernels.math_sdp_enabled(),
                kernels.cudnn_sdp_enabled(),
            ),
            torch.backends.cudnn.enabled,
        )

    def put_back(self) -> None:
        """Turn every switch back to where it was."""
        kernels: Any = torch.backends.cuda
        torch.set_grad_enabled(self.gradients)
        torch.set_default_dtype(self.dtype)
        for device, enabled in self.autocast.items():
            torch.set_autocast_enabled(device, enabled)
        flash, efficient, plain, cudnn = self.attention
        kernels.enable_flash_sdp(flash)
        kernels.enable_mem_efficient_sdp(efficient)
        kernels.enable_math_sdp(plain)
        kernels.enable_cudnn_sdp(cudnn)
        torch.backends.cudnn.enabled = self.cudnn
