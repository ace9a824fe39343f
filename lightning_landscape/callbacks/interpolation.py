"""`LossInterpolationMonitor`: the loss along the straight line from earlier points of the run to the present one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack

from lightning_landscape._renamed import OldNames, accepts_old_names
from lightning_landscape.callbacks._validation import (
    check_anchors,
    check_loss_fn,
    check_numbers,
    check_optional_numbers,
)
from lightning_landscape.callbacks.monitor import Monitor
from lightning_landscape.callbacks.views import line_figures, line_scalars
from lightning_landscape.captions import distinct_anchors
from lightning_landscape.errors import BarrierWarning
from lightning_landscape.evidence import Line, Verdict
from lightning_landscape.examination.examination import Examination
from lightning_landscape.probes.line import LossLine
from lightning_landscape.reporting.messages import message
from lightning_landscape.tracking.step_record import StepRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class LossInterpolationMonitor(Monitor):
    """Evaluate the training loss along the line from an anchor to the present weights, and one step beyond.

    It does so every `every_n_steps` steps, after a checkpoint, and when the loss stalls. If the run is then stuck, it
    warns and describes the lines. Scalar: ``landscape/barrier``, how far the loss on the line from the first anchor
    rises above its lowest point before; 0 if it never rises. Pictures: ``landscape/line_from_<anchor>``, where older
    curves fade.

    Args:
        anchors: where lines start: "initial", "previous" (at the last evaluation), "best", or checkpoint files.
        every_n_steps: optimizer steps between two evaluations; None for a tenth of the run or, in one of fewer than
            5,000 steps, 500 steps or a third of it.
        num_points: number of points from the anchor to the present weights; one more is a step beyond them.
        max_batches: the loss is a mean over at most this many of the latest batches.
        loss_fn: ``loss_fn(module, batch)`` in place of `training_step`, for modules whose step cannot be repeated.

    Raises:
        ValueError: if a number is out of range, there is no anchor, or one is neither a known name nor a path.
    """

    @accepts_old_names
    def __init__(
        self,
        *,
        anchors: Sequence[str] = ("initial", "previous", "best"),
        every_n_steps: int | None = None,
        num_points: int = 11,
        max_batches: int = 4,
        loss_fn: Callable[..., Any] | None = None,
        **renamed: Unpack[OldNames],
    ) -> None:
        check_optional_numbers(every_n_steps=every_n_steps)
        check_numbers(num_points=num_points, max_batches=max_batches)
        check_anchors(anchors)
        check_loss_fn(loss_fn)
        lines = line_probes(anchors, num_points)
        examination = Examination(
            lines,
            scheduled=lines,
            every_n_steps=every_n_steps,
            anchors=anchors,
            max_batches=max_batches,
            loss_fn=loss_fn,
        )
        settings = {
            "anchors": tuple(anchors),
            "every_n_steps": every_n_steps,
            "num_points": num_points,
            "max_batches": max_batches,
        }
        super().__init__(examination, settings=settings)

    def scalars(self, record: StepRecord) -> Mapping[str, float]:
        """Return the largest rise of the loss on the latest line from the first anchor."""
        return line_scalars(self._state.readings)

    def figures(self) -> Mapping[str, Figure]:
        """Return one figure of the lines from each anchor."""
        return line_figures(self._state.readings)

    def warn(self, verdict: Verdict) -> None:
        """Warn of an alarm, and describe the latest line from each anchor: the first one just below the title."""
        lines = self._state.readings.lines()
        sentences = [f"  {sentence(lines[anchor][-1][1])}" for anchor in distinct_anchors(lines)]
        title, *rest = message(verdict).splitlines()
        self._reporter.warn("\n".join([title, *sentences[:1], *rest, *sentences[1:]]), BarrierWarning)


def line_probes(anchors: Sequence[str], points: int) -> tuple[LossLine, ...]:
    """Return one probe for each anchor."""
    return tuple(LossLine(anchor, points) for anchor in anchors)


def sentence(line: Line) -> str:
    """Return a description of the loss along the line."""
    if line.monotone:
        shape = "falls all the way"
    elif line.barrier > 0:
        shape = f"rises by up to {line.barrier:.3g} above its lowest point before"
    else:
        shape = "is not finite on the way"
    return (
        f"On the line from {line.anchor} to the present weights the loss goes from {line.losses[0]:.4g} to "
        f"{line.losses[-2]:.4g} and {shape}; one step beyond, it is {line.losses[-1]:.4g}."
    )
