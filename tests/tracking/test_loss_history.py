"""The history of the losses of a run in 40 blocks."""

import json

import pytest

from lightning_landscape.functional.trend import merge, summarize
from lightning_landscape.tracking.loss_history import FIRST_HORIZON, LossHistory


def recorded(horizon, losses, history=None):
    """Return a history with these losses added."""
    history = history or LossHistory(horizon)
    for loss in losses:
        history.add(history.count, float(loss), 0.1, predicted=None)
        if history.full:
            history.close()
    return history


@pytest.mark.parametrize(("horizon", "width"), [(1, 4), (800, 4), (801, 5), (2000, 10), (1_000_000, 5000), (None, 10)])
def test_a_block_is_half_a_percent_of_the_run_and_at_least_four_steps(horizon, width):
    assert LossHistory(horizon).width == width


def test_blocks_summarize_the_losses():
    losses = [step % 7 for step in range(60)]
    history = recorded(800, losses)
    assert merge(history.blocks()) == pytest.approx(summarize([float(loss) for loss in losses]))
    assert [recorded.step for recorded in history.recorded] == list(range(0, 60, 4))


def test_the_start_is_the_first_ten_losses():
    history = recorded(800, range(50))
    assert (history.start.n, history.start.mean, history.start.m2) == pytest.approx((10, 4.5, 82.5))


@pytest.mark.parametrize("horizon", [1000, None])
def test_memory_is_bounded(horizon):
    history = recorded(horizon, range(5000))
    small = len(json.dumps(history.state_dict()))
    recorded(horizon, range(20_000), history)
    assert len(history.recorded) <= 40
    assert len(json.dumps(history.state_dict())) < 1.5 * small


def test_blocks_widen_as_a_run_of_unknown_length_grows():
    history = recorded(None, range(FIRST_HORIZON - 1))
    assert (history.assumed_horizon, history.width) == (2000, 10)
    recorded(None, [0.0], history)
    assert (history.assumed_horizon, history.width, len(history.recorded)) == (4000, 20, 20)
    assert merge(history.blocks()).n == 400
    recorded(None, range(6000), history)
    assert (history.assumed_horizon, history.width) == (16_000, 80)


def test_a_longer_horizon_merges_the_stored_blocks_from_the_newest():
    short = recorded(800, range(100))
    long = LossHistory(2400)
    long.load_state_dict(short.state_dict())
    assert [block.n for block in long.blocks()] == [12] * 8
    assert long.recorded[-1].step == 100 - 12
    assert merge(long.blocks()) == pytest.approx(merge(short.blocks(24)))


def test_a_shorter_horizon_keeps_the_stored_blocks():
    long = recorded(2400, range(120))
    short = LossHistory(800)
    short.load_state_dict(long.state_dict())
    recorded(800, range(8), short)
    assert [block.n for block in short.blocks()] == [12] * 10 + [4, 4]


def test_updates_that_are_not_finite_are_ignored():
    history = LossHistory(800)
    for update_norm, weight_norm in [(1.0, 2.0), (float("nan"), 2.0), (1.0, float("inf")), (3.0, 0.0)]:
        history.add(history.count, 1.0, 0.1, predicted=float("nan"))
        history.add_movement(update_norm, weight_norm)
    history.close()
    first = history.recorded[0]
    assert (first.travelled, first.update_ratio, first.measured) == (0.5 + 3.0, 0.5, 2)
    assert first.block.sampled == 0


def test_a_typical_step_is_not_that_of_a_short_spike_of_the_learning_rate():
    history = LossHistory(1000)
    for step in range(100):
        history.add(step, 1.0, 0.1, predicted=float("nan"))
        history.add_movement(0.1 if 50 <= step < 60 else 0.001, 1.0)
        if history.full:
            history.close()
    travelled, typical = history.movement(10)
    assert travelled > 0.01
    assert typical == pytest.approx(0.001)
