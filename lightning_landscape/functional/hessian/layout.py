"""Parameters as one flat vector and back: the coordinates in which the linear algebra happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.errors import CurvatureError
from lightning_landscape.surface import Params


@dataclass(frozen=True)
class Layout:
    """Where each parameter lies in the flat vector of length `size`.

    Vectors are at least float32, also for half-precision parameters: inner products of a million terms are not for
    eight bits of mantissa.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    dtypes: tuple[torch.dtype, ...]
    devices: tuple[torch.device, ...]
    dtype: torch.dtype
    size: int

    @classmethod
    def of(cls, params: Params) -> Layout:
        """The layout of these parameters, in their own order.

        Raises:
            ValueError: if there are none, or if one is not a real floating-point tensor.
            CurvatureError: if they are sharded over ranks: there is no flat vector of them on any.
        """
        if not params:
            raise ValueError("params must hold at least one tensor, got none")
        for name, tensor in params.items():
            if not tensor.is_floating_point():
                raise ValueError(f"parameter {name!r} must be real floating point, got {tensor.dtype}")
            if hasattr(tensor, "to_local"):
                raise CurvatureError(
                    f"[LL407] parameter {name!r} is sharded over ranks, where curvature is not measured"
                )
        dtype = torch.float32
        for tensor in params.values():
            dtype = torch.promote_types(dtype, tensor.dtype)
        return cls(
            names=tuple(params),
            shapes=tuple(tensor.shape for tensor in params.values()),
            dtypes=tuple(tensor.dtype for tensor in params.values()),
            devices=tuple(tensor.device for tensor in params.values()),
            dtype=dtype,
            size=sum(tensor.numel() for tensor in params.values()),
        )

    @property
    def device(self) -> torch.device:
        """Where flat vectors live: with the first parameter."""
        return self.devices[0]

    @property
    def vector_bytes(self) -> int:
        """Bytes of one flat vector."""
        return self.size * self.dtype.itemsize

    @property
    def precision(self) -> float:
        """Relative rounding error of the coarsest parameter: what a product with a vector can be good to."""
        return max(torch.finfo(dtype).eps for dtype in self.dtypes)

    def flatten(self, tensors: Sequence[Tensor]) -> Tensor:
        """The tensors, in the layout's order, as one vector (size,)."""
        return torch.cat([tensor.detach().reshape(-1).to(self.device, self.dtype) for tensor in tensors])

    def unflatten(self, vector: Tensor) -> list[Tensor]:
        """One vector (size,) as tensors of the parameters' shapes, dtypes and devices; views where they agree."""
        parts = torch.split(vector, [shape.numel() for shape in self.shapes])
        return [
            part.view(shape).to(device, dtype)
            for part, shape, device, dtype in zip(parts, self.shapes, self.devices, self.dtypes, strict=True)
        ]

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """One vector (size,) as a mapping by parameter name."""
        return dict(zip(self.names, self.unflatten(vector), strict=True))

    def require_finite(self, vector: Tensor, what: str) -> None:
        """Refuse NaN and inf, with the name of the first parameter that holds one.

        Raises:
            CurvatureError: if an entry is not finite.
        """
        if bool(torch.isfinite(vector).all()):
            return
        for name, part in self.named(vector).items():
            if not bool(torch.isfinite(part).all()):
                raise CurvatureError(f"[LL401] {what} of parameter {name!r} is not finite, so there is no curvature")
