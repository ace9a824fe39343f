"""Mathematical functions of losses, gradients and Hessians, which can be used without Lightning.

The names below are loaded on first use [PEP 562], so that the functions of plain numbers do not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_landscape.functional.hessian.density import SpectralDensity as SpectralDensity
    from lightning_landscape.functional.hessian.density import spectral_density as spectral_density
    from lightning_landscape.functional.hessian.extremes import Extremes as Extremes
    from lightning_landscape.functional.hessian.extremes import hessian_extremes as hessian_extremes
    from lightning_landscape.functional.hessian.lanczos import Krylov as Krylov
    from lightning_landscape.functional.hessian.lanczos import lanczos as lanczos
    from lightning_landscape.functional.hessian.products import hessian_vector_product as hessian_vector_product
    from lightning_landscape.functional.hessian.trace import Trace as Trace
    from lightning_landscape.functional.hessian.trace import hessian_trace as hessian_trace

__all__ = [
    "Extremes",
    "Krylov",
    "SpectralDensity",
    "Trace",
    "hessian_extremes",
    "hessian_trace",
    "hessian_vector_product",
    "lanczos",
    "spectral_density",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lightning_landscape.functional.hessian import density, extremes, lanczos, products, trace

    return next(getattr(home, name) for home in (density, extremes, lanczos, products, trace) if hasattr(home, name))
