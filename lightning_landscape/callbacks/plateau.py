"""`PlateauMonitor`: whether the loss has stopped falling, and since when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from typing_extensions import Unpack

from lightning_landscape._renamed import OldNames, accepts_old_names
from lightning_landscape.callbacks._validation import check_optional_numbers, declared_metrics
from lightning_landscape.callbacks.monitor import Monitor
from lightning_landscape.callbacks.views import progress_scalars, verdict_scalar
from lightning_landscape.recording.recorder import StepRecorder
from lightning_landscape.remedies import Remedy
from lightning_landscape.tracking.metric_history import Mode
from lightning_landscape.tracking.step_record import StepRecord


class PlateauMonitor(Monitor):
    """Log the length of the plateau and the trend of the loss, and warn when the loss has provably stopped falling.

    It runs no probes, so it names a cause only where the losses, learning rates, gradients and updates are evidence
    enough. Scalars: ``landscape/plateau_length``, ``landscape/loss_trend``, ``landscape/update_ratio``,
    ``landscape/verdict``, and ``landscape/plateau_length/<name>`` for each metric of `monitor`.

    Args:
        monitor: the name of a metric that the module logs, or a list of names: whether it has stopped improving is
            tested as well, whatever the loss does. While it improves, a loss that stands still is no alarm.
        mode: "min" (the default) if the metric should fall, "max" if it should rise; a list for several metrics of both
            kinds.
        norm_every_n_steps: optimizer steps between two measured gradient norms; None for 10, or a thousandth of a run
            of over 10,000 steps.
        remedies: functions that are called once per alarm, such as `remedies.Perturb()`.

    Raises:
        ValueError: if `norm_every_n_steps` is below 1, a remedy is no function, or `mode` is neither "min" nor "max" or
            is given without `monitor`.
    """

    @accepts_old_names
    def __init__(
        self,
        *,
        monitor: str | Sequence[str] | None = None,
        mode: Mode | Sequence[Mode] | None = None,
        norm_every_n_steps: int | None = None,
        remedies: Sequence[Remedy] = (),
        **renamed: Unpack[OldNames],
    ) -> None:
        check_optional_numbers(norm_every_n_steps=norm_every_n_steps)
        super().__init__(
            recorder=StepRecorder(norm_every_n_steps=norm_every_n_steps),
            remedies=remedies,
            settings={"norm_every_n_steps": norm_every_n_steps},
            metrics=declared_metrics(monitor, mode),
        )

    def scalars(self, record: StepRecord) -> Mapping[str, float]:
        """Return the plateau length, the trend of the loss, the update ratio and the verdict."""
        return progress_scalars(self._state.progress) | verdict_scalar(self._state.verdicts, self._state.progress)
