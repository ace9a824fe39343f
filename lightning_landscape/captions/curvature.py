"""What the spectrum of the Hessian and the direction of smallest curvature show."""

from __future__ import annotations

from lightning_landscape.captions.caption import Caption, percent, samples
from lightning_landscape.evidence import Curvature, Descent, Spectrum


def spectrum_caption(spectrum: Spectrum) -> Caption:
    """Return in which share of the directions the loss bends down."""
    details = (f"trace {spectrum.trace:.3g} ± {spectrum.trace_error:.1g}", *samples(spectrum.samples))
    title = f"The loss bends down in {percent(spectrum.share_negative)} of {spectrum.parameters:,} directions"
    return Caption(title, details)


def descent_caption(curvature: Curvature, descent: Descent) -> Caption:
    """Return how far the loss falls along the direction of smallest curvature, on the same and on other batches."""
    details = (
        f"λ_min = {curvature.lambda_min:.3g} ± {curvature.residual_min:.1g}",
        f"λ_max = {curvature.lambda_max:.3g}",
        *samples(curvature.samples),
    )
    if not descent.drop > 0:
        return Caption("The loss does not fall along the direction of smallest curvature", details)
    details = (f"lowest at distance {descent.distance:.2g}", *details)
    title = f"Along the smallest curvature the loss falls by {descent.drop:.3g}"
    if descent.held_out_drop is None:
        return Caption(title, details)
    if descent.held_out_drop > 0:
        return Caption(f"{title}, on other batches by {descent.held_out_drop:.3g}", details)
    return Caption(f"{title}, but not on other batches", details)
