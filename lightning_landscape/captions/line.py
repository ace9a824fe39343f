"""What the loss does on the straight line from an earlier point of the run to a later one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightning_landscape._text import shortened
from lightning_landscape.captions.caption import FLAT, ROUNDING, Caption, percent, samples
from lightning_landscape.evidence import Line

SMALL_RISE = 0.01
"""share of the range of the losses up to which a rise does not keep the title from saying that the loss falls"""
_NAMES = {"initial": "the initial weights", "previous": "the previous weights", "best": "the best weights"}


@dataclass(frozen=True)
class Rise:
    """The largest rise of a loss above the lowest loss before it, on the way from α = 0 to α = 1."""

    low_alpha: float
    """position of the lowest loss before the rise"""
    low: float
    """that loss"""
    alpha: float
    """position of the top"""
    top: float
    """the loss there"""

    @property
    def height(self) -> float:
        """How much the loss rises; positive."""
        return self.top - self.low

    @property
    def words(self) -> str:
        """The label of the rise in a picture, as in "rise by 0.05"."""
        return f"rise by {self.height:.3g}"


def rise_of(line: Line, least: float = 0.0) -> Rise | None:
    """Return the largest rise of the loss from α = 0 to α = 1; None if it never rises, or a loss is not finite.

    Args:
        line: the line.
        least: share of the range of the losses up to which a rise does not count.
    """
    way = _way(line)
    if len(way) < 2 or not all(math.isfinite(loss) for _, loss in way):
        return None
    low_alpha, low = way[0]
    rises = []
    for alpha, loss in way:
        if loss < low:
            low_alpha, low = alpha, loss
        rises.append(Rise(low_alpha, low, alpha, loss))
    largest = max(rises, key=lambda rise: rise.height)
    span = max(loss for _, loss in way) - min(loss for _, loss in way)
    rounding = ROUNDING * max(abs(way[0][1]), abs(way[-1][1]))
    return largest if largest.height > max(rounding, least * span) else None


def line_caption(line: Line, step: int) -> Caption:
    """Return what the loss does between the anchor and the weights at this optimizer step."""
    start, end, way = start_name(line), end_name(step), _way(line)
    details = (f"loss from {line.loss_at(0.0):.4g} to {line.loss_at(1.0):.4g}", *samples(line.samples))
    broken = [name for name, alpha in ((start, 0.0), (end, 1.0)) if not math.isfinite(line.loss_at(alpha))]
    if broken:
        return Caption(f"The loss is not finite at {' and at '.join(broken)}", details)
    losses = [loss for _, loss in way]
    if not all(map(math.isfinite, losses)):
        return Caption(f"The loss is not finite on the way from {start} to {end}", details)
    span = max(losses) - min(losses)
    if span <= FLAT * max(map(abs, losses)):
        return Caption(f"The loss stays the same from {start} to {end}", (*details, f"the same to within {FLAT:.2%}"))
    rise, fall = rise_of(line, SMALL_RISE), losses[0] - losses[-1]
    if rise is None:
        share = f" ({percent(fall / losses[0])})" if losses[0] >= fall else ""
        least = rise_of(line)
        shape = "it never rises on the way" if least is None else f"it rises by {least.height:.2g} on the way"
        return Caption(f"The loss falls by {fall:.3g}{share} from {start} to {end}", (*details, shape))
    if rise.alpha == 1.0 and rise.low_alpha == 0.0:
        return Caption(f"The loss rises by {rise.height:.3g} from {start} to {end}", details)
    if rise.alpha == 1.0:
        title = f"On the way to {end} the loss is up to {rise.height:.3g} lower than there"
        return Caption(title, (f"from {start}", *details, f"lowest at α = {rise.low_alpha:.2g}"))
    title = f"The loss rises by {rise.height:.3g} on the way from {start} to {end}"
    return Caption(title, (*details, f"highest at α = {rise.alpha:.2g}"))


def start_name(line: Line) -> str:
    """Return in words at which weights the line starts.

    >>> start_name(Line("best", (0.0, 1.0), (2.0, 1.0), 0.0, True, 8, anchor_step=4999))
    'step 4,999'
    """
    if line.anchor != "initial" and line.anchor_step is not None:
        return f"step {line.anchor_step:,}"
    file = line.anchor.replace("\\", "/").rpartition("/")[2] or line.anchor
    return _NAMES.get(line.anchor) or shortened(file or "(unnamed)", 24)


def end_name(step: int) -> str:
    """Return in words at which weights a line that was measured at this optimizer step ends."""
    return f"step {step:,}"


def distinct_anchors(lines: Mapping[str, Sequence[tuple[int, Line]]]) -> list[str]:
    """Return the anchors without those whose newest line is that of an anchor before them.

    The lines from "previous" and from "best" are the same while the loss falls, and one picture is enough for both.
    """
    seen: list[tuple[int, tuple[float, ...], int | None]] = []
    chosen = []
    for anchor, series in lines.items():
        if not series:
            continue
        step, line = series[-1]
        key = (step, line.losses, line.anchor_step)
        if key not in seen:
            seen.append(key)
            chosen.append(anchor)
    return chosen


def _way(line: Line) -> list[tuple[float, float]]:
    """Return the positions and the losses from α = 0 to α = 1."""
    return [(alpha, loss) for alpha, loss in zip(line.alphas, line.losses, strict=True) if 0 <= alpha <= 1]
