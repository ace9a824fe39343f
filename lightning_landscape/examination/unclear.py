"""When a loss that shows no plateau is diagnosed all the same, and what is not said of one that may only be noise."""

from __future__ import annotations

from dataclasses import replace

from lightning_landscape.diagnosis.thresholds import TRAVEL_LARGE
from lightning_landscape.tracking.loss_history import FIRST_HORIZON
from lightning_landscape.tracking.progress import Progress

HIGH = 0.7
"""share of its start above which the loss is diagnosed although noise hides whether it falls"""
UNCLEAR, UNCLEAR_BUT_LOW, UNCLEAR_UNTESTED = 0.1, 0.2, 0.4
"""shares of the run after which it is diagnosed although noise hides whether the loss falls: a loss near its start, one
with large steps, and one with large steps that was not tested on the same batches, and will not be soon"""
TRAVEL_VERY_LARGE = 0.5
"""weights that move by half of their norm within 5% of the run do not settle, so no test is waited for"""


def is_unclear(progress: Progress, steps: int, start: float | None, *, certain: bool) -> bool:
    """Return whether a run is diagnosed after a long time, although its loss shows no plateau.

    It is if noise hides the trend while the loss is near its start or the weights move far, if the first losses were
    very large, and if a mistake is certain, unless the loss clearly falls. Only clear evidence alarms then.

    Args:
        progress: of the run.
        steps: number of optimizer steps so far.
        start: the loss at which training began; None if that is unknown, as in a fit that continues from a checkpoint.
        certain: whether a mistake is certain that no verdict names yet.
    """
    trend, level = progress.trend, progress.level
    passed = steps / (progress.horizon or 2 * FIRST_HORIZON)
    if trend is None or level is None or progress.stalled or progress.falls or passed < UNCLEAR:
        return False
    if certain:
        return True
    high = start is not None and replace(level, start=start).share_of_start > HIGH
    travelled = progress.travelled or 0.0
    waits = progress.on_same_batches is None and travelled < TRAVEL_VERY_LARGE
    long_enough = passed >= (UNCLEAR_UNTESTED if waits else UNCLEAR_BUT_LOW) and not (waits and progress.awaits_test)
    far = long_enough and travelled > TRAVEL_LARGE
    return (progress.noise_hides and (high or far)) or (high and progress.hold == "solved")


def may_be_noise(progress: Progress, *, continues: bool) -> bool:
    """Return whether noise alone may explain that the loss seems to stand still, so that `undecided` says too much.

    Args:
        progress: of the run.
        continues: whether no alarm would be raised of a fit that continues an earlier one, whose loss falls slowly.
    """
    opening = progress.opening
    if progress.proven:
        return False
    return continues or (progress.stalled and opening is not None and not opening.stalled)
