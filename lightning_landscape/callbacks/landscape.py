"""`LandscapeMonitor`: all of it in one callback."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from lightning_landscape._renamed import OldNames, accepts_old_names
from lightning_landscape.callbacks._validation import (
    check_effort,
    check_functions,
    check_numbers,
    check_sequences,
    check_share,
)
from lightning_landscape.callbacks.interpolation import line_probes
from lightning_landscape.callbacks.monitor import Monitor
from lightning_landscape.callbacks.views import (
    curvature_figures,
    curvature_scalars,
    gradient_figures,
    gradient_scalars,
    line_figures,
    line_scalars,
    noise_scalar,
    plane_figures,
    progress_scalars,
    timeline_figures,
    verdict_scalar,
)
from lightning_landscape.diagnosis import Detector
from lightning_landscape.evidence import Plane
from lightning_landscape.examination.effort import Setting
from lightning_landscape.examination.examination import Examination
from lightning_landscape.probes import EXAMINATION as EXAMINATION
from lightning_landscape.probes import PathPlane, TryAlternatives, gradient_noise
from lightning_landscape.recording.recorder import StepRecorder
from lightning_landscape.remedies import Remedy
from lightning_landscape.surface import Probe
from lightning_landscape.tracking.progress import StepRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLLOW_UP_PROBES: tuple[Probe, ...] = (PathPlane(), TryAlternatives())
"""run once the run is known to be stuck: a picture of where it is, and what would help"""


class LandscapeMonitor(Monitor):
    """Watch gradient norms, the trend of the loss and the loss along lines, and say once why a run is stuck.

    ``Trainer(callbacks=[LandscapeMonitor()])`` is all that has to be written. Training with it is bit-identical to
    training without.

    Scalars: ``landscape/grad_norm``, ``grad_norm_clipped``, ``update_ratio``, ``plateau_length``, ``loss_trend``,
    ``noise_scale``, ``barrier``, ``verdict`` and ``overhead`` (all that the monitor does, over training time),
    and after an examination ``lambda_min``, ``lambda_max`` and ``sharpness_ratio``; also in
    ``trainer.callback_metrics``. Pictures: ``landscape/timeline``, ``grad_norms``, ``line_from_<anchor>``, and once for
    each alarm ``plane`` and ``descent``. For each verdict a card in the Text tab, for each alarm a `LandscapeWarning`,
    and a tab of its own.

    Args:
        every_n_steps: optimizer steps between evaluations of the loss along lines; None for a tenth of the run.
        anchors: where the lines start: "initial", "previous", "best", or paths of checkpoint files.
        num_points: positions on a line from α = 0 to α = 1, both included.
        max_batches: how many of the latest batches an examination sees at most.
        norm_every_n_steps: measure gradient norms at every so many optimizer steps, and at those that are logged; None
            for 10, or a thousandth of a run of over 10,000 steps.
        probes: what examines the loss surface once the loss has stalled, in place of `probes.EXAMINATION`, as in
            ``[*EXAMINATION, mine]``. Lines, noise scale and the plane of an alarm stay; with `()` nothing is measured
            of the loss surface at all.
        detectors: what reaches a verdict, in place of `diagnosis.DETECTORS`, as in ``[mine, *DETECTORS]``; the first
            that returns a verdict decides. `()` for no verdicts.
        loss_fn: ``loss_fn(module, batch)`` in place of `training_step`, for modules whose step cannot be replayed.
        remedies: what to do about an alarm, such as `remedies.Perturb()`; each is called once per alarm. Only with
            remedies does training differ from training without the monitor.
        effort: how much work a diagnosis may take; the unit is one gradient of one batch. "light": none, only losses,
            gradients and updates are watched. "standard": 500 for the first diagnosis of a run, and as much again for
            all that follow. "thorough": three times that. "auto": "standard" where a batch takes up to 20 ms, half of
            it for each doubling of that time, at least 60. The effort and the losses of the run decide what is
            examined. Only "auto" looks at the time, once, at the first check; use "standard" for equal verdicts on
            machines of any speed.
        budget: share of the training time, such as 0.02, at which the clock ends an examination; the first 60
            gradients of each plateau are computed in any case. With it, verdicts depend on the speed of the machine.
            None for no such limit.
        dirpath: where ``events.jsonl`` and ``landscape_report.html`` go; None for ``landscape/`` in the directory of
            the first logger that writes files, and nowhere without one.

    Raises:
        ValueError: if a number is out of range, there is no anchor, a probe, detector or remedy is no function, or
            `effort` is unknown or contradicts another argument.
    """

    @accepts_old_names
    def __init__(
        self,
        *,
        every_n_steps: int | None = None,
        anchors: Sequence[str] = ("initial", "previous", "best"),
        num_points: int = 11,
        max_batches: int = 32,
        norm_every_n_steps: int | None = None,
        probes: Sequence[Probe] | None = None,
        detectors: Sequence[Detector] | None = None,
        loss_fn: Callable[..., Any] | None = None,
        remedies: Sequence[Remedy] = (),
        effort: Setting = "auto",
        budget: float | None = None,
        dirpath: str | None = None,
        **renamed: Unpack[OldNames],
    ) -> None:
        check_numbers(
            every_n_steps=every_n_steps,
            num_points=num_points,
            max_batches=max_batches,
            norm_every_n_steps=norm_every_n_steps,
        )
        check_functions(loss_fn=loss_fn)
        check_share(budget=budget)
        check_sequences(probes=probes, detectors=detectors)
        check_effort(effort, budget=budget, probes=probes, every_n_steps=every_n_steps, loss_fn=loss_fn)
        probes = () if effort == "light" else EXAMINATION if probes is None else tuple(probes)
        super().__init__(
            Examination(
                probes,
                scheduled=(*line_probes(anchors, num_points), gradient_noise) if probes else (),
                follow_up=FOLLOW_UP_PROBES if probes else (),
                every_n_steps=every_n_steps,
                anchors=() if effort == "light" else anchors,
                max_batches=max_batches,
                loss_fn=loss_fn,
                effort=effort if probes or effort == "light" else None,
                share=budget,
                detectors=detectors,
            ),
            recorder=StepRecorder(norm_every_n_steps=norm_every_n_steps),
            remedies=remedies,
            settings={
                "every_n_steps": every_n_steps,
                "anchors": tuple(anchors),
                "num_points": num_points,
                "max_batches": max_batches,
                "norm_every_n_steps": norm_every_n_steps,
            },
            dirpath=dirpath or "",
        )

    @property
    def planes(self) -> tuple[tuple[int, Plane], ...]:
        """The planes that were drawn, with their optimizer steps; the last few of a run."""
        return tuple(self.readings.of(Plane))

    def scalars(self, record: StepRecord) -> Mapping[str, float]:
        """Return the scalars of this step and the latest ones of the probes."""
        return (
            gradient_scalars(record)
            | progress_scalars(self._state.progress)
            | line_scalars(self._state.readings)
            | noise_scalar(self._state.readings)
            | curvature_scalars(self._state.readings, record.learning_rate)
            | verdict_scalar(self._state.verdicts, self._state.progress)
            | {"overhead": self._overhead}
        )

    def figures(self) -> Mapping[str, Figure]:
        """Return the figures of the run so far."""
        readings = self._state.readings
        return (
            timeline_figures(self._state)
            | gradient_figures(self._state.gradients)
            | line_figures(readings)
            | plane_figures(readings)
            | curvature_figures(readings)
        )
