"""Readings of the run itself, without a loss surface: what its optimizers, schedulers and parameters are now."""

from __future__ import annotations

from lightning_landscape.examination.frozen import FrozenSince
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.surface import Params
from lightning_landscape.trainer.held_tensors import read_held_tensors
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.optimizer_coverage import optimizer_coverage
from lightning_landscape.trainer.parts import read_parts
from lightning_landscape.trainer.schedules import schedulers_of


def host_readings(host: Host, initial: Params | None, frozen: FrozenSince) -> tuple[object, ...]:
    """Return the readings of the run at this step, those of rank 0 on every rank; every rank has to call this.

    Args:
        host: the run.
        initial: the initial weights by name, on any device; None where they are unknown.
        frozen: which parameters were frozen since the start, and when.
    """
    held = read_held_tensors(host, initial, frozen.was_parameter)
    readings = (schedulers_of(host), read_parts(host, initial, frozen.steps))
    return host.from_first_rank((*readings, *(() if held is None else (held,))))


def read_optimizers(host: Host, state: RunState) -> None:
    """Enter into the state which parameters the optimizers hold, and which are trainable."""
    state.optimizer_count = len(host.optimizers)
    state.coverage = optimizer_coverage(host, state.progress.travelled)
    state.frozen.check(host.module, state.step)


def check_host(host: Host, state: RunState, initial: Params | None) -> None:
    """Note what was frozen since the last check, and read the run itself if it is going to be judged.

    Args:
        host: the run.
        state: the state of the run.
        initial: the initial weights by name; None where they are unknown.
    """
    state.frozen.check(host.module, state.step)
    if state.stalled or state.diverged:
        read_optimizers(host, state)
        state.kept_gradients = host.from_first_rank(state.kept_gradients)
        state.host_readings = host_readings(host, initial, state.frozen)
