"""The losses with which the loss of a run is compared: the lowest possible one, and that of a constant prediction."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_landscape.evidence import BestConstant, LossFloor
from lightning_landscape.examination.run_state import RunState


def enter_readings(state: RunState, step: int, readings: Sequence[object]) -> None:
    """Add the readings of probes; from now on, the stall test knows the losses among them."""
    state.readings.add(step, readings)
    for reading in readings:
        if isinstance(reading, LossFloor):
            state.progress.floor = reading.lowest
        elif isinstance(reading, BestConstant):
            state.progress.enter_constant(reading.constant)


def floor_of(state: RunState) -> float | None:
    """Return the floor; None before the lowest possible loss was looked for."""
    looked, level = state.readings.latest(LossFloor), state.progress.level
    if looked is None:
        return None
    return looked.known if level is None else level.floor
