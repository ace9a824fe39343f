"""The scalars, figures and report of a monitor, computed from the state of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lightning_landscape.callbacks.run_facts import facts_of
from lightning_landscape.captions import distinct_anchors, metric_chart, trial_chart
from lightning_landscape.evidence import (
    CAUSES,
    Curvature,
    GradientNoise,
    Line,
    Plane,
    Players,
    ReadingsLog,
    Spectrum,
    Verdict,
)
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.stopwatch import Stopwatch
from lightning_landscape.functional.noise import gradient_noise_scale
from lightning_landscape.reporting.report import Report
from lightning_landscape.reporting.run_document import heat_map
from lightning_landscape.tracking.gradient_norms import GradientNorms
from lightning_landscape.tracking.progress import Progress
from lightning_landscape.tracking.step_record import StepRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_STEP_YET = StepRecord(0, 0, None, 0.0, stepped=False)
"""stands for the latest step before the first one"""
AVERAGED = 5
"""number of the latest measurements of the gradient noise whose mean is taken"""
CURVES = 12
"""number of the latest lines that are drawn for each anchor"""


class HasNotes(Protocol):
    """A part of a monitor that has notes for the report."""

    def notes(self) -> list[str]:
        """Return the notes."""
        ...


def named(values: Mapping[str, float]) -> dict[str, float]:
    """Return the finite values as floats, by the names under which they are logged."""
    return {f"landscape/{name}": float(value) for name, value in values.items() if math.isfinite(value)}


def gradient_scalars(record: StepRecord) -> dict[str, float]:
    """Return the gradient norm before and after clipping, where it was measured at this step."""
    if record.grad_norm is None or record.grad_norm_clipped is None:
        return {}
    return {"grad_norm": record.grad_norm, "grad_norm_clipped": record.grad_norm_clipped}


def progress_scalars(progress: Progress) -> dict[str, float]:
    """Return the plateau length in steps, the relative change of the loss over the tested window, and |Δw|/|w|."""
    values = {"plateau_length": float(progress.plateau_length)}
    if progress.trend is not None and progress.trend.level > 0:
        values["loss_trend"] = -progress.trend.progress / progress.trend.level
    if progress.update_ratio is not None:
        values["update_ratio"] = progress.update_ratio
    return values


def line_scalars(readings: ReadingsLog) -> dict[str, float]:
    """Return the largest rise of the loss on the latest line from the first anchor, in units of the loss."""
    line = readings.latest_of_first_anchor(Line)
    return {} if line is None else {"barrier": line.barrier}


def noise_scalar(readings: ReadingsLog) -> dict[str, float]:
    """Return the batch size, in samples, at which the gradient noise equals the signal; nothing before it is known.

    Signal and noise are means over the latest measurements, since the ratio of two noisy numbers is biased.
    """
    noises = [reading for _, reading in readings.of(GradientNoise)]
    latest = [reading for reading in noises if math.isfinite(reading.signal) and math.isfinite(reading.noise)][
        -AVERAGED:
    ]
    # More batches give a better estimate; the weights need not add up to 1, since only the ratio counts.
    signal, noise = (sum((r.batches - 1) * getattr(r, name) for r in latest) for name in ("signal", "noise"))
    scale = gradient_noise_scale(signal, noise)
    return {} if scale is None else {"noise_scale": scale}


def plane_figures(readings: ReadingsLog) -> dict[str, Figure]:
    """Return the figure of the latest plane; nothing before the first alarm."""
    from lightning_landscape.plots import plane_figure

    planes = readings.of(Plane)
    return {"plane": plane_figure(planes[-1][1], planes[-1][0])} if planes else {}


def curvature_scalars(readings: ReadingsLog, learning_rate: float | None) -> dict[str, float]:
    """Return the latest extreme eigenvalues of the Hessian, and the largest one over 2/learning rate if known."""
    curvature = readings.latest(Curvature)
    if curvature is None:
        return {}
    ratio = {} if learning_rate is None else {"sharpness_ratio": curvature.sharpness_ratio(learning_rate)}
    return {"lambda_min": curvature.lambda_min, "lambda_max": curvature.lambda_max, **ratio}


def verdict_scalar(verdicts: Sequence[Verdict], progress: Progress) -> dict[str, float]:
    """Return the number of the cause of the latest verdict while its plateau or divergence lasts, else 0."""
    lasts = bool(verdicts) and (progress.stalled or progress.divergence is not None or _of_player(verdicts[-1]))
    return {"verdict": float(CAUSES[verdicts[-1].cause].number) if lasts else 0.0}


def _of_player(verdict: Verdict) -> bool:
    """Return whether the verdict is about one of several optimizers; it lasts to the end of the run."""
    return verdict.evidence.get(Players) is not None


def gradient_figures(gradients: GradientNorms) -> dict[str, Figure]:
    """Return the heat map of gradient norms by group and step; nothing before a step was measured."""
    from lightning_landscape.plots import gradient_norm_figure  # importing matplotlib takes a second

    if not gradients.history:
        return {}
    norms = [[0.0 if norm is None else norm for norm in column] for column in gradients.history]
    return {"grad_norms": gradient_norm_figure(gradients.steps, gradients.groups, norms)}


def spectrum_scalars(readings: ReadingsLog) -> dict[str, float]:
    """Return the latest trace of the Hessian, and the share of its eigenvalues that are negative."""
    spectrum = readings.latest(Spectrum)
    return {} if spectrum is None else {"trace": spectrum.trace, "share_negative": spectrum.share_negative}


def spectrum_figures(readings: ReadingsLog) -> dict[str, Figure]:
    """Return the figure of the latest density of eigenvalues; nothing before the first."""
    from lightning_landscape.plots import spectrum_figure

    spectrum = readings.latest(Spectrum)
    return {} if spectrum is None else {"spectrum": spectrum_figure(spectrum)}


def curvature_figures(readings: ReadingsLog) -> dict[str, Figure]:
    """Return the figure of the loss along the most negative curvature; nothing where no curvature is negative."""
    from lightning_landscape.plots import descent_figure

    curvature = readings.latest(Curvature)
    return {"descent": descent_figure(curvature)} if curvature is not None and curvature.descent is not None else {}


def line_figures(readings: ReadingsLog) -> dict[str, Figure]:
    """Return one figure for each anchor whose line differs from the others, in which older lines fade."""
    from lightning_landscape.plots import line_figure

    lines = readings.lines()
    return {f"line_from_{anchor}": line_figure(lines[anchor][-CURVES:]) for anchor in distinct_anchors(lines)}


def trial_figures(state: RunState) -> dict[str, Figure]:
    """Return the figure of the trials behind the latest verdict; nothing where there were none."""
    from lightning_landscape.plots import trials_figure

    chart = trial_chart(state.verdicts[-1].evidence) if state.verdicts else None
    return {} if chart is None else {"trials": trials_figure(chart)}


def timeline_figures(state: RunState) -> dict[str, Figure]:
    """Return the figure of the loss with the verdicts; nothing before the first check."""
    from lightning_landscape.plots import timeline_figure

    curve = state.document.curve()
    if not curve["step"]:
        return {}
    verdicts, ranges = all_verdicts(state), (curve["low"], curve["high"])
    return {"timeline": timeline_figure(curve["step"], curve["loss"], state.document.segments, verdicts, ranges)}


def metric_figures(state: RunState) -> dict[str, Figure]:
    """Return the figure of the validation loss and the declared metrics; nothing before the first value."""
    from lightning_landscape.plots import metrics_figure

    curve = state.document.curve()
    chart = metric_chart(state.metrics.drawn(), curve["step"], curve["loss"])
    return {"metrics": metrics_figure(chart, curve["step"], curve["loss"])} if chart is not None else {}


def all_verdicts(state: RunState) -> list[Verdict]:
    """Return the verdicts on the training loss and on metrics, in the order in which they were reached."""
    return sorted([*state.verdicts, *state.metrics.verdicts], key=lambda verdict: verdict.step)


def in_short(state: RunState) -> str:
    """Return a few words on the run, for the `repr` of a monitor."""
    latest = all_verdicts(state)[-1:]
    verdict = "".join(f", {verdict.title} since step {verdict.since}" for verdict in latest)
    return f"{state.steps} step{'s' * (state.steps != 1)} watched{verdict}" if state.steps else "no fit watched"


def report_of(state: RunState, *parts: HasNotes) -> Report:
    """Return the report of a run, with the notes of its state and of other parts of a monitor."""
    notes = [note for part in (state, *parts) for note in part.notes()]
    stopwatch = next((part for part in parts if isinstance(part, Stopwatch)), None)
    below = [note for part in (state, *parts) if part is not stopwatch for note in part.notes()]
    return Report(state.steps, state.progress.level, all_verdicts(state), notes, document_of(state, stopwatch, below))


def document_of(
    state: RunState, stopwatch: Stopwatch | None = None, notes: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the data that the Landscape tab and the report draw.

    Args:
        state: the state of the run.
        stopwatch: of the present fit; its note is among the facts of the card.
        notes: the other notes; None for those of the state.
    """
    level, gradients, noise = state.progress.level, state.gradients, noise_scalar(state.readings)
    known = {
        # The planned number of steps is that of each of several optimizers.
        "steps": state.steps if state.optimizer_count == 1 else min(state.steps, state.step + 1),
        "horizon": state.progress.horizon,
        "loss": {} if level is None else {"start": level.began, "best": level.best, "now": level.now},
        "notes": state.notes() if notes is None else list(notes),
        "status": state.status,
        **facts_of(state, stopwatch, noise.get("noise_scale")),
    }
    curves = state.metrics.drawn()
    parts = state.document.document(all_verdicts(state), state.readings, metrics=curves, **known)
    if gradients.history:
        parts["gradients"] = {**heat_map(gradients.steps, gradients.groups, gradients.history), **noise}
    return parts
