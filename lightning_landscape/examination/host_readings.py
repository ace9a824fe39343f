"""Readings of the run itself, without a loss surface: what its optimizers, schedulers and parameters are now."""

from __future__ import annotations

from lightning_landscape.evidence import WeightHistory
from lightning_landscape.examination.frozen import FrozenSince
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.snapshots import Snapshots, trainable_in, weights_of
from lightning_landscape.surface import Params
from lightning_landscape.trainer.held_tensors import read_held_tensors
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.optimizer_coverage import optimizer_coverage
from lightning_landscape.trainer.optimizers import known_optimizers
from lightning_landscape.trainer.parts import read_parts
from lightning_landscape.trainer.schedules import schedulers_of


def host_readings(host: Host, initial: Params | None, frozen: FrozenSince) -> tuple[object, ...]:
    """Return the readings of the run at this step, those of rank 0 on every rank; every rank has to call this.

    Args:
        host: the run.
        initial: the initial weights by name, on any device; None where they are unknown.
        frozen: which parameters were frozen since the start, and when.
    """
    held = read_held_tensors(host, initial, frozen.was_parameter, frozen.was_frozen)
    readings = (schedulers_of(host), read_parts(host, initial, frozen.steps))
    return host.from_first_rank((*readings, *(() if held is None else (held,))))


def read_optimizers(host: Host, state: RunState) -> None:
    """Enter into the state which parameters the optimizers hold, and which are trainable."""
    state.optimizer_count = len(host.optimizers)
    state.players.begin(known_optimizers(host))
    state.coverage = optimizer_coverage(host, state.progress.travelled)
    state.frozen.check(host.module, state.step)


def check_host(host: Host, state: RunState, snapshots: Snapshots) -> None:
    """Note what was frozen since the last check, and read the run itself if it is going to be judged.

    Args:
        host: the run.
        state: the state of the run.
        snapshots: earlier weights of the run.
    """
    state.frozen.check(host.module, state.step)
    if state.stalled or state.diverged:
        read_optimizers(host, state)
        state.kept_gradients = host.from_first_rank(state.kept_gradients)
        history = host.from_first_rank(weight_history(host, state, snapshots))
        state.host_readings = (*host_readings(host, snapshots.point("initial"), state.frozen), history)


def weight_history(host: Host, state: RunState, snapshots: Snapshots) -> WeightHistory:
    """Return where the weights have been since the plateau began, or in the last steps where there is none."""
    best_step, best_loss = snapshots.best or (None, None)
    weights = weights_of(host.module)
    trainable = [weights[name] for name in trainable_in(host.module, weights)]
    progress, rates, stretch = state.progress, state.progress.rates, snapshots.samples.fastest_stretch()
    window = 0 if progress.trend is None else progress.trend.window
    found = snapshots.samples.reach(trainable, state.step - window if progress.since is None else progress.since)
    samples, since, reach = found or (0, None, None)
    fastest_step, fastest = (None if best_step is None else snapshots.samples.fastest(best_step)) or (None, None)
    return WeightHistory(
        best_step=best_step,
        best_loss=best_loss,
        since=since,
        steps=0 if since is None else state.step - since,
        samples=samples,
        reach=reach,
        step_length=progress.update_ratio,
        fastest_step=fastest_step,
        fastest=fastest,
        best_rate=None if best_step is None else rates.at(best_step),
        rate=rates.at(state.step),
        largest_rate_when_fastest=None if stretch is None else rates.largest_between(*stretch),
    )
