"""`LandscapeMonitor`: all measurements and diagnoses in one callback."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from lightning_landscape._renamed import OldNames, accepts_old_names
from lightning_landscape.callbacks._validation import (
    check_anchors,
    check_directory,
    check_effort,
    check_loss_fn,
    check_numbers,
    check_optional_numbers,
    check_sequences,
    check_share,
    declared_metrics,
)
from lightning_landscape.callbacks.interpolation import line_probes
from lightning_landscape.callbacks.logged_scalars import Choice, check_choice
from lightning_landscape.callbacks.monitor import Monitor
from lightning_landscape.callbacks.views import (
    curvature_figures,
    curvature_scalars,
    gradient_figures,
    gradient_scalars,
    line_figures,
    line_scalars,
    metric_figures,
    noise_scalar,
    plane_figures,
    progress_scalars,
    timeline_figures,
    trial_figures,
    verdict_scalar,
)
from lightning_landscape.captions import ordered_for
from lightning_landscape.diagnosis import Detector
from lightning_landscape.evidence import Plane
from lightning_landscape.examination.effort import Setting
from lightning_landscape.examination.examination import Examination
from lightning_landscape.examination.snapshots import DEFAULT_BYTES
from lightning_landscape.probes import EXAMINATION as EXAMINATION
from lightning_landscape.probes import FIRST_LOOK, PathPlane, TryAlternatives, first_not_finite, gradient_noise
from lightning_landscape.recording.recorder import StepRecorder
from lightning_landscape.remedies import Remedy
from lightning_landscape.surface import Probe
from lightning_landscape.tracking.metric_history import Mode
from lightning_landscape.tracking.step_record import StepRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLLOW_UP_PROBES: tuple[Probe, ...] = (PathPlane(), TryAlternatives())
"""probes that run after an alarm: a picture of the loss around the weights, and trials of changes that may help"""


class LandscapeMonitor(Monitor):
    """Measure gradients, updates, the trend of the loss and the loss along lines, and warn once why a run is stuck.

    Training with ``Trainer(callbacks=[LandscapeMonitor()])`` is bit-identical to training without the monitor.

    Scalars: ``landscape/grad_norm``, ``grad_norm_clipped`` (logged only while something clips), ``update_ratio``,
    ``plateau_length``, ``loss_trend``, ``noise_scale``, ``barrier`` and ``verdict``. With ``log_scalars="all"``, the
    loggers also get ``overhead`` (the time of the monitor over that of training), and after a diagnosis
    ``lambda_min``, ``lambda_max`` and ``sharpness_ratio``; ``trainer.callback_metrics`` always holds all of them.
    Pictures: ``landscape/timeline``, ``metrics``, ``grad_norms``, ``line_from_<anchor>``, and once for each alarm
    ``plane`` and ``descent``. TensorBoard's Text tab shows each verdict, and its Landscape tab the whole run. Each
    alarm is a `LandscapeWarning`.

    Where the module logs a validation loss, the report says since when it has not improved, and a verdict without alarm
    says if the model memorises its training data.

    Args:
        monitor: the name of a metric that the module logs, such as "val_acc" or "reward", or a list of names. Whether
            it has stopped improving is tested by its own noise, and ``landscape/plateau_length/<name>`` says for how
            many steps. It is an alarm if it has never improved, or has lost what it had gained. While it improves, a
            training loss that stands still is no alarm.
        mode: "min" (the default) if the metric should fall, "max" if it should rise; a list for several metrics of both
            kinds.
        every_n_steps: optimizer steps between two evaluations of the loss along lines; None for a tenth of the run or,
            in one of fewer than 5,000 steps, 500 steps or a third of it; an evaluation then waits until 1% of the steps
            so far are as many as the gradients that it takes.
        anchors: where the lines start: "initial", "previous", "best", or paths of checkpoint files.
        num_points: number of points on a line from the anchor to the present weights.
        max_batches: probes evaluate the loss on at most this many of the latest batches.
        norm_every_n_steps: optimizer steps between two measured gradient norms; steps that are logged are measured as
            well. None for 10, or a thousandth of a run of over 10,000 steps.
        probes: the probes of a diagnosis, in place of `probes.EXAMINATION`, as in ``[*EXAMINATION, mine]``. Lines, the
            noise scale and the plane of an alarm are measured in addition; with `()` no probe runs at all.
        detectors: the detectors that reach a verdict, in place of `diagnosis.DETECTORS`, as in ``[mine, *DETECTORS]``;
            the first that returns a verdict decides. `()` for no verdicts.
        loss_fn: ``loss_fn(module, batch)`` in place of `training_step`, for modules whose step cannot be repeated.
        remedies: functions that are called once per alarm, such as `remedies.Perturb()`. Only with remedies does
            training differ from training without the monitor.
        effort: how much a diagnosis may compute, in gradients of one batch. "light": nothing; only losses, gradients
            and updates are measured. "standard": 500 for the first diagnosis of a run, and as much again for all later
            ones. "thorough": three times as much. "auto": as "standard" where a batch takes up to 20 ms, half of it
            for each doubling of that time, at least 60. Only "auto" depends on the time, which is read once, at the
            first check; use "standard" for equal verdicts on machines of any speed.
        budget: share of the training time, such as 0.02, after which the clock ends the probes; the first 60 gradients
            of each plateau are computed in any case. With it, verdicts depend on the speed of the machine. None for no
            such limit.
        max_snapshot_bytes: memory on the host for copies of the weights ("initial", "previous" and "best"); what
            exceeds it goes into files in the directory of the report. Without such a directory, only the initial
            weights are kept then, and the report says so.
        log_scalars: which scalars loggers get: "few" for the eight above, "all", or a list of names, such as
            ``["grad_norm", "verdict"]``. Scalars of your own probes are always logged.
        dirpath: the directory of ``events.jsonl`` and ``landscape_report.html``; None for ``landscape/`` in the
            directory of the first logger that writes files. Without such a logger, they are not written.

    Raises:
        ValueError: if a number is out of range, there is no anchor, one is neither a known name nor a path, a probe,
            detector or remedy is no function, `effort` is unknown or contradicts another argument, `log_scalars` names
            an unknown scalar, or `mode` is neither "min" nor "max", or is given without `monitor`.
        TypeError: if `dirpath` is no path.
    """

    @accepts_old_names
    def __init__(
        self,
        *,
        monitor: str | Sequence[str] | None = None,
        mode: Mode | Sequence[Mode] | None = None,
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
        max_snapshot_bytes: int = DEFAULT_BYTES,
        log_scalars: Choice = "few",
        dirpath: str | Path | None = None,
        **renamed: Unpack[OldNames],
    ) -> None:
        check_optional_numbers(every_n_steps=every_n_steps, norm_every_n_steps=norm_every_n_steps)
        check_numbers(num_points=num_points, max_batches=max_batches, max_snapshot_bytes=max_snapshot_bytes)
        check_anchors(anchors)
        check_loss_fn(loss_fn)
        check_directory(dirpath=dirpath)
        check_share(budget=budget)
        check_choice(log_scalars)
        check_sequences(probes=probes, detectors=detectors)
        check_effort(effort, budget=budget, probes=probes, every_n_steps=every_n_steps, loss_fn=loss_fn)
        probes = () if effort == "light" else EXAMINATION if probes is None else tuple(probes)
        super().__init__(
            Examination(
                probes,
                scheduled=(*line_probes(anchors, num_points), gradient_noise) if probes else (),
                first_look=FIRST_LOOK if probes else (),
                on_divergence=(first_not_finite,) if probes else (),
                follow_up=FOLLOW_UP_PROBES if probes else (),
                every_n_steps=every_n_steps,
                anchors=() if effort == "light" else anchors,
                max_batches=max_batches,
                loss_fn=loss_fn,
                effort=effort if probes or effort == "light" else None,
                share=budget,
                detectors=detectors,
                max_snapshot_bytes=max_snapshot_bytes,
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
            dirpath="" if dirpath is None else os.fspath(dirpath),
            metrics=declared_metrics(monitor, mode),
        )
        self._log_scalars = log_scalars

    @property
    def planes(self) -> tuple[tuple[int, Plane], ...]:
        """The latest planes of the loss around the weights, with their optimizer steps."""
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
        """Return the figures of the run so far, what the latest verdict rests on first."""
        readings, verdicts = self._state.readings, self._state.verdicts
        pictures = (
            timeline_figures(self._state)
            | metric_figures(self._state)
            | trial_figures(self._state)
            | gradient_figures(self._state.gradients)
            | line_figures(readings)
            | plane_figures(readings)
            | curvature_figures(readings)
        )
        return ordered_for(verdicts[-1].cause if verdicts else None, pictures)
