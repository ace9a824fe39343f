"""The caption of any reading that is drawn."""

from __future__ import annotations

from lightning_landscape.captions.caption import Caption
from lightning_landscape.captions.curvature import descent_caption, spectrum_caption
from lightning_landscape.captions.line import line_caption
from lightning_landscape.captions.plane import plane_caption
from lightning_landscape.evidence import Curvature, Line, Plane, Spectrum


def caption_of(reading: object, step: int) -> Caption | None:
    """Return the caption of the picture of a reading at this optimizer step; None if it has no picture."""
    if isinstance(reading, Line):
        return line_caption(reading, step)
    if isinstance(reading, Plane):
        return plane_caption(reading)
    if isinstance(reading, Spectrum):
        return spectrum_caption(reading)
    if isinstance(reading, Curvature) and reading.descent is not None:
        return descent_caption(reading, reading.descent)
    return None
