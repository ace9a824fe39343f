"""Named parameters as one flat vector: the coordinates for the linear algebra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.errors import CurvatureError
from lightning_landscape.surface import Params


@dataclass(frozen=True)
class Layout:
    """The place of each parameter in a flat vector of length `size`.

    Vectors have at least float32 precision, even if all parameters have less, because inner products over a million
    entries cannot be accumulated in half precision.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    dtypes: tuple[torch.dtype, ...]
    devices: tuple[torch.device, ...]
    dtype: torch.dtype
    """dtype of flat vectors"""
    size: int
    """number of entries of a flat vector"""

    @classmethod
    def of(cls, params: Params) -> Layout:
        """Return the layout of these parameters, in their own order.

        Raises:
            ValueError: if there are no parameters, or if one of them is not a real floating-point tensor.
            CurvatureError: if they are sharded over ranks, so that no rank can hold a flat vector of all of them.
        """
        if not params:
            raise ValueError("params must hold at least one tensor, got none")
        for name, tensor in params.items():
            if not tensor.is_floating_point():
                raise ValueError(f"parameter {name!r} must be real floating point, got {tensor.dtype}")
            if hasattr(tensor, "to_local"):
                raise CurvatureError(
                    f"[LL407] parameter {name!r} is sharded over ranks, and curvature is not measured for such models"
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
        """Device of flat vectors: that of the first parameter."""
        return self.devices[0]

    @property
    def vector_bytes(self) -> int:
        """Bytes of one flat vector."""
        return self.size * self.dtype.itemsize

    @property
    def precision(self) -> float:
        """Largest machine epsilon of the parameters' dtypes, which limits the accuracy of Hessian-vector products."""
        return max(torch.finfo(dtype).eps for dtype in self.dtypes)

    def flatten(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the tensors, given in the order of `names`, as one detached vector (size,)."""
        return torch.cat([tensor.detach().reshape(-1).to(self.device, self.dtype) for tensor in tensors])

    def unflatten(self, vector: Tensor) -> list[Tensor]:
        """Return a vector (size,) as tensors with the parameters' shapes, dtypes and devices.

        They are views of the vector where dtype and device agree.
        """
        parts = torch.split(vector, [shape.numel() for shape in self.shapes])
        return [
            part.view(shape).to(device, dtype)
            for part, shape, device, dtype in zip(parts, self.shapes, self.devices, self.dtypes, strict=True)
        ]

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """Return a vector (size,) as tensors by parameter name."""
        return dict(zip(self.names, self.unflatten(vector), strict=True))

    def require_finite(self, vector: Tensor, quantity: str) -> None:
        """Raise an error if the vector holds NaN or inf.

        Args:
            vector: shape (size,).
            quantity: name of the vector for the message, such as "the gradient".

        Raises:
            CurvatureError: with the name of the first parameter for which an entry is not finite.
        """
        if bool(torch.isfinite(vector).all()):
            return
        for name, part in self.named(vector).items():
            if not bool(torch.isfinite(part).all()):
                raise CurvatureError(
                    f"[LL401] {quantity} of parameter {name!r} is not finite, so the curvature cannot be computed"
                )
