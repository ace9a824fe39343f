"""Mathematical functions of losses, gradients and Hessians, which can be used without Lightning."""

from lightning_landscape.functional.hessian.density import SpectralDensity as SpectralDensity
from lightning_landscape.functional.hessian.density import spectral_density as spectral_density
from lightning_landscape.functional.hessian.extremes import Extremes as Extremes
from lightning_landscape.functional.hessian.extremes import hessian_extremes as hessian_extremes
from lightning_landscape.functional.hessian.lanczos import Krylov as Krylov
from lightning_landscape.functional.hessian.lanczos import lanczos as lanczos
from lightning_landscape.functional.hessian.products import hessian_vector_product as hessian_vector_product
from lightning_landscape.functional.hessian.trace import Trace as Trace
from lightning_landscape.functional.hessian.trace import hessian_trace as hessian_trace
