"""`CurvatureMonitor`: the extreme eigenvalues of the Hessian during training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from lightning_landscape._renamed import OldNames, accepts_old_names
from lightning_landscape.callbacks._validation import check_loss_fn, check_numbers, check_optional_numbers
from lightning_landscape.callbacks.monitor import Monitor
from lightning_landscape.callbacks.views import (
    curvature_figures,
    curvature_scalars,
    spectrum_figures,
    spectrum_scalars,
)
from lightning_landscape.examination.examination import Examination
from lightning_landscape.probes import CopyTrials, HessianExtremes, HessianSpectrum
from lightning_landscape.tracking.step_record import StepRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CurvatureMonitor(Monitor):
    """Measure the smallest and the largest curvature of the loss, and warn when a stalled run is at a saddle point.

    It measures every `every_n_steps` steps, after a checkpoint, and when the loss stalls. Scalars:
    ``landscape/lambda_min``, ``landscape/lambda_max``, ``landscape/sharpness_ratio``, ``landscape/trace``,
    ``landscape/share_negative``. Pictures: ``landscape/spectrum``, and ``landscape/descent``, the loss along the most
    negative curvature, on the batches with which it was found and on held-out batches. Negative curvature alone raises
    no alarm, since half of all healthy runs have it. A measurement takes `iterations` + 23 Hessian-vector products,
    which are about two gradients each.

    Args:
        every_n_steps: optimizer steps between two measurements; None for a tenth of the run or, in one of fewer than
            5,000 steps, 500 steps or a third of it.
        iterations: most Hessian-vector products for the extreme eigenvalues of one measurement.
        max_batches: probes evaluate the loss on at most this many of the latest batches.
        loss_fn: ``loss_fn(module, batch)`` in place of `training_step`, for modules whose step cannot be repeated.

    Raises:
        ValueError: if a number is below 1.
    """

    @accepts_old_names
    def __init__(
        self,
        *,
        every_n_steps: int | None = None,
        iterations: int = 20,
        max_batches: int = 8,
        loss_fn: Callable[..., Any] | None = None,
        **renamed: Unpack[OldNames],
    ) -> None:
        check_optional_numbers(every_n_steps=every_n_steps)
        check_numbers(iterations=iterations, max_batches=max_batches)
        check_loss_fn(loss_fn)
        measured = (HessianExtremes(iterations=iterations), HessianSpectrum(runs=1, iterations=15, products=8))
        examination = Examination(
            (CopyTrials(),), scheduled=measured, every_n_steps=every_n_steps, max_batches=max_batches, loss_fn=loss_fn
        )
        settings = {"every_n_steps": every_n_steps, "iterations": iterations, "max_batches": max_batches}
        super().__init__(examination, settings=settings)

    def scalars(self, record: StepRecord) -> Mapping[str, float]:
        """Return the latest extreme eigenvalues, trace and share of negative eigenvalues."""
        readings = self._state.readings
        return curvature_scalars(readings, record.learning_rate) | spectrum_scalars(readings)

    def figures(self) -> Mapping[str, Figure]:
        """Return the figures of the descent along the smallest curvature and of the spectrum."""
        return curvature_figures(self._state.readings) | spectrum_figures(self._state.readings)
