"""The loss from which shares of the loss are measured: where it comes from, and who has to know it."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_landscape.evidence import LossFloor
from lightning_landscape.examination.run_state import RunState


def enter_readings(state: RunState, step: int, readings: Sequence[object]) -> None:
    """Add the readings of probes; from now on, the stall test measures the loss from the floor among them."""
    state.readings.add(step, readings)
    for reading in readings:
        if isinstance(reading, LossFloor):
            state.progress.floor = reading.lowest


def floor_of(state: RunState) -> float | None:
    """Return the floor; None before the lowest possible loss was looked for."""
    looked, level = state.readings.latest(LossFloor), state.progress.level
    if looked is None:
        return None
    return looked.known if level is None else level.floor
