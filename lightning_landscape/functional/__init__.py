"""Pure mathematics of the loss surface, usable without Lightning: values in, values out."""

from lightning_landscape.functional.extremes import Extremes as Extremes
from lightning_landscape.functional.extremes import hessian_extremes as hessian_extremes
from lightning_landscape.functional.hessian import hessian_vector_product as hessian_vector_product
from lightning_landscape.functional.lanczos import Krylov as Krylov
from lightning_landscape.functional.lanczos import lanczos as lanczos
