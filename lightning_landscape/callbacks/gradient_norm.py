"""`GradientNormMonitor`: the gradient norms before and after clipping, and by part of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from typing_extensions import Unpack

from lightning_landscape._renamed import OldNames, accepts_old_names
from lightning_landscape.callbacks._validation import check_numbers
from lightning_landscape.callbacks.monitor import Monitor
from lightning_landscape.callbacks.views import gradient_figures, gradient_scalars
from lightning_landscape.errors import GradientWarning
from lightning_landscape.recording.recorder import StepRecorder
from lightning_landscape.tracking.gradient_norms import EXPLODED, VANISHED
from lightning_landscape.tracking.step_record import StepRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class GradientNormMonitor(Monitor):
    """Log the gradient norm of every step, draw it by part of the model, and warn when it vanishes or explodes.

    Scalars: ``landscape/grad_norm``, ``landscape/grad_norm_clipped`` (logged only while something clips),
    ``landscape/update_ratio``. Picture: ``landscape/grad_norms``. It warns at most once per fit that the gradient
    vanishes: the norm of the first layers stays below 1e-4 of that of the last layers for 50 measurements. It warns at
    most once that the gradient explodes: three times in a row its norm is not finite or over 100 times its median,
    while the loss does not fall.
    The update ratio is the norm of the update over that of the weights, |Δw|/|w|.

    Args:
        every_n_steps: optimizer steps between two measurements; steps that are logged are measured as well.

    Raises:
        ValueError: if `every_n_steps` is below 1.
    """

    @accepts_old_names
    def __init__(self, *, every_n_steps: int = 1, **renamed: Unpack[OldNames]) -> None:
        check_numbers(every_n_steps=every_n_steps)
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1 optimizer step, got {every_n_steps}")
        super().__init__(
            recorder=StepRecorder(norm_every_n_steps=every_n_steps), settings={"every_n_steps": every_n_steps}
        )

    def scalars(self, record: StepRecord) -> Mapping[str, float]:
        """Return the gradient norms of this step and the latest update ratio."""
        ratio = self._state.progress.update_ratio
        return gradient_scalars(record) | ({} if ratio is None else {"update_ratio": ratio})

    def figures(self) -> Mapping[str, Figure]:
        """Return the heat map of gradient norms."""
        return gradient_figures(self._state.gradients)

    def judge(self, readings: Sequence[object]) -> None:
        """Do nothing, since this monitor reaches no verdicts."""

    def after_check(self) -> None:
        """Warn of a vanishing and of an exploding gradient, once per fit each."""
        scale = self._state.gradients.vanishing
        if scale is not None:
            first, *_, last = scale.groups
            self._warn_once(
                "LL110",
                f"[LL110] step {self._state.step}: the gradient vanishes in the backward pass: its norm is "
                f"{scale.groups[first]:.2g} in {first} and "
                f"{scale.groups[last]:.2g} in {last}, a ratio of {scale.first_to_last:.1g} (threshold {VANISHED:g}).\n"
                "  Try: An initialisation made for the activation, `nn.init.kaiming_normal_(layer.weight)` for ReLU; "
                "normalisation layers; or residual connections, `x = x + layer(x)`.",
                GradientWarning,
            )
        if self._state.gradients.exploding:
            self._warn_once(
                "LL111",
                f"[LL111] step {self._state.step}: the gradient explodes: it is not finite, or over {EXPLODED:g} times "
                "its median three times in a row while the loss does not fall.\n"
                "  Try: A smaller learning rate, a warm-up, or gradient clipping, `Trainer(gradient_clip_val=1.0)`.",
                GradientWarning,
            )
