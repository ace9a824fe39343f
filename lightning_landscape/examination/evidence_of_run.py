"""All that is known of a run at one step, as the evidence of a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_landscape.evidence import Evidence, Plateau, UpdateStatistics, Wiring, merged

if TYPE_CHECKING:
    from lightning_landscape.examination.run_state import RunState


def evidence_of(state: RunState, readings: Sequence[object] = ()) -> Evidence:
    """Return all that is known at this step, with these readings of probes.

    Of a run with several optimizers whose loss is finite, that is the course of each optimizer only: their losses need
    not fall, so nothing may be concluded from the trend of one.
    """
    progress, players = state.progress, state.of_players
    if players is not None and (progress.divergence is None or progress.divergence.finite):
        began = [player.near_zero_since for player in players.players if player.near_zero_since is not None]
        return Evidence(Plateau(state.step, min(began, default=0)), players)
    since = progress.since if progress.divergence is None else progress.divergence.step
    if since is None and state.unclear and progress.trend is not None:
        since = max(0, state.step - progress.trend.window)
    # Noise may hide the trend later in a plateau, so the trend at its beginning is used until the loss falls.
    trend = progress.opening if progress.stalled else progress.trend
    level = None if progress.level is None else state.start.added_to(progress.level)
    wiring = state.readings.latest(Wiring)  # of the first check, which holds until it is read again
    floor = 0.0 if level is None else level.floor
    measured = (state.gradients.scale(floor), state.gradients.clipping(), state.gradients.lost(), state.kept_gradients)
    known = (wiring, trend, level, progress.divergence, progress.schedule, *measured, players)
    updates = UpdateStatistics(
        update_ratio=progress.update_ratio,
        travelled=progress.travelled,
        no_grad_share=state.no_grad_share,
        not_in_optimizer=state.coverage.not_in_optimizer,
        frozen=state.coverage.frozen,
        left_by_decay=state.coverage.left_by_decay,
    )
    return Evidence(
        Plateau(state.step, state.step if since is None else since, progress.proven, state.asked),
        *(reading for reading in known if reading is not None),
        updates,
        *state.host_readings,
        *reversed(merged(readings)),  # evidence keeps the last reading of each class, which is to be the first
    )
