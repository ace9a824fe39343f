"""The numbers and pictures under ``landscape/``, each a function of what has been watched."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_landscape.evidence import CAUSES, Curvature, GradientNoise, Line, Plane, Spectrum, Verdict, from_builtins
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.functional.noise import gradient_noise_scale
from lightning_landscape.reporting.report import Report
from lightning_landscape.reporting.run_document import heat_map
from lightning_landscape.tracking.gradient_norms import GradientNorms
from lightning_landscape.tracking.progress import Progress, StepRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS = 5
"""latest looks at the gradient's noise that are averaged"""


def named(values: Mapping[str, float]) -> dict[str, float]:
    """The values that are numbers, by the names under which they are logged."""
    return {f"landscape/{name}": value for name, value in values.items() if math.isfinite(value)}


def gradient_scalars(record: StepRecord) -> dict[str, float]:
    """Norms before and after clipping, where this step was measured."""
    if record.grad_norm is None or record.grad_norm_clipped is None:
        return {}
    return {"grad_norm": record.grad_norm, "grad_norm_clipped": record.grad_norm_clipped}


def progress_scalars(progress: Progress) -> dict[str, float]:
    """Length of the plateau in steps, and the change of the loss over the tested window as a share of its level."""
    values = {"plateau_length": float(progress.plateau_length)}
    if progress.trend is not None and progress.trend.level > 0:
        values["loss_trend"] = -progress.trend.progress / progress.trend.level
    if progress.update_ratio is not None:
        values["update_ratio"] = progress.update_ratio
    return values


def line_scalars(lines: Mapping[str, Sequence[tuple[int, Line]]]) -> dict[str, float]:
    """The barrier on the latest line from the first anchor, in units of the loss."""
    return next(({"barrier": curves[-1][1].barrier} for curves in lines.values() if curves), {})


def noise_scalar(state: RunState) -> dict[str, float]:
    """Batch size at which the gradient's noise equals its signal, in samples; nothing while that cannot be told.

    Signal and noise are means over the last few looks: the ratio of two noisy numbers is biased.
    """
    kept = [from_builtins(GradientNoise, fields) for _, fields in state.document.readings.get("GradientNoise", ())]
    latest = [reading for reading in kept if math.isfinite(reading.signal) and math.isfinite(reading.noise)][-LOOKS:]
    # More batches make a better estimate; the weights need not sum to 1, since only the ratio counts.
    signal, noise = (sum((r.batches - 1) * getattr(r, name) for r in latest) for name in ("signal", "noise"))
    scale = gradient_noise_scale(signal, noise)
    return {} if scale is None else {"noise_scale": scale}


def plane_picture(state: RunState) -> dict[str, Figure]:
    """The latest plane; nothing before a run was stuck."""
    from lightning_landscape.plots import plane_figure

    kept = state.document.readings.get("Plane")
    return {"plane": plane_figure(from_builtins(Plane, kept[-1][1]))} if kept else {}


def curvature_scalars(curvature: Curvature | None, learning_rate: float) -> dict[str, float]:
    """Both ends of the Hessian's spectrum as last measured, and the upper one over 2/learning rate."""
    if curvature is None:
        return {}
    return {
        "lambda_min": curvature.lambda_min,
        "lambda_max": curvature.lambda_max,
        "sharpness_ratio": curvature.sharpness_ratio(learning_rate),
    }


def verdict_scalar(verdicts: Sequence[Verdict], progress: Progress) -> dict[str, float]:
    """The number of the cause of the verdict that stands: the last one, as long as its plateau or divergence lasts."""
    stands = bool(verdicts) and (progress.stalled or progress.divergence is not None)
    return {"verdict": float(CAUSES[verdicts[-1].cause].number) if stands else 0.0}


def gradient_pictures(gradients: GradientNorms) -> dict[str, Figure]:
    """The heat map of norms by group and step; nothing before a step was measured."""
    from lightning_landscape.plots import gradient_norm_figure  # matplotlib takes a second: not before it is needed

    if not gradients.history:
        return {}
    norms = [[0.0 if norm is None else norm for norm in column] for column in gradients.history]
    return {"grad_norms": gradient_norm_figure(gradients.steps, gradients.groups, norms)}


def spectrum_scalars(spectrum: Spectrum | None) -> dict[str, float]:
    """Sum of all curvatures as last measured, and the share of the directions that bend down."""
    return {} if spectrum is None else {"trace": spectrum.trace, "share_negative": spectrum.share_negative}


def spectrum_pictures(spectrum: Spectrum | None) -> dict[str, Figure]:
    """The density of curvatures as last measured."""
    from lightning_landscape.plots import spectrum_figure

    return {} if spectrum is None else {"spectrum": spectrum_figure(spectrum)}


def curvature_pictures(curvature: Curvature | None) -> dict[str, Figure]:
    """The loss along the most negative curvature; nothing where none bends down."""
    from lightning_landscape.plots import descent_figure

    return {"descent": descent_figure(curvature)} if curvature is not None and curvature.descent is not None else {}


def line_pictures(lines: Mapping[str, Sequence[tuple[int, Line]]]) -> dict[str, Figure]:
    """One figure for each anchor that has curves, older ones fading."""
    from lightning_landscape.plots import line_figure

    return {f"line_from_{anchor}": line_figure(curves) for anchor, curves in lines.items() if curves}


def timeline_picture(state: RunState) -> dict[str, Figure]:
    """The loss of the whole run with what was said of it; nothing before the first steps were looked at."""
    from lightning_landscape.plots import timeline_figure

    curve = state.document.document([])["course"]["curve"]
    if not curve["step"]:
        return {}
    return {"timeline": timeline_figure(curve["step"], curve["loss"], state.document.segments, state.verdicts)}


def report_of(state: RunState, *parts: Any) -> Report:
    """What was seen, in words and as the document that is drawn, with the notes of the other parts of a monitor."""
    notes = [note for part in (*parts, state) for note in part.notes()]
    return Report(state.steps, state.progress.level, state.verdicts, notes, document_of(state, notes))


def document_of(state: RunState, notes: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """All that the Landscape tab and the report draw; without `notes`, those of the observations alone."""
    level, gradients = state.progress.level, state.gradients
    loss = {} if level is None else {"start": level.start, "best": level.best, "now": level.now}
    said = state.notes() if notes is None else list(notes)
    known = {"steps": state.steps, "horizon": state.progress.horizon, "loss": loss, "notes": said}
    parts = state.document.document(state.verdicts, **known)
    if gradients.history:
        parts["gradients"] = {**heat_map(gradients.steps, gradients.groups, gradients.history), **noise_scalar(state)}
    return parts
