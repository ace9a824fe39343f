"""The progress of a run of which only the last few steps were watched."""

import pytest

from lightning_landscape.tracking.step_record import StepRecord
from lightning_landscape.tracking.unwatched import Unwatched, progress_after


def records(losses, first=500):
    moved = {"update_norm": 0.02, "weight_norm": 2.0, "predicted": 1e-4}
    return [StepRecord(first + i, 0, loss, 0.1, stepped=True, **moved) for i, loss in enumerate(losses)]


def flat(count=32):
    return [1.0 + 0.01 * (-1) ** i for i in range(count)]


def test_the_trend_stays_unknown_and_the_level_is_that_of_the_watched_steps():
    progress = progress_after(Unwatched(500, horizon=1000, start=2.3), records(flat()), floor=0.0)
    assert (progress.trend, progress.since, progress.proven) == (None, None, False)
    assert progress.level.start == 2.3
    assert progress.level.now == pytest.approx(1.0)
    assert progress.divergence is None


def test_the_updates_are_measured_however_long_the_run_is():
    progress = progress_after(Unwatched(500, horizon=1_000_000), records(flat()), floor=None)
    assert progress.update_ratio == pytest.approx(0.01)
    assert progress.travelled == pytest.approx(0.05 * 1_000_000 * 0.01)


def test_the_share_of_the_run_that_has_passed_counts_the_steps_that_were_not_watched():
    schedule = progress_after(Unwatched(500, 1000, peak_rate=0.4), records(flat()), floor=0.0).schedule
    assert schedule.elapsed == 0.5
    assert schedule.share_of_peak == pytest.approx(0.25)


def test_a_loss_far_above_the_initial_one_that_grows_is_a_divergence():
    growing = [10.0 * 1.1**i for i in range(32)]
    progress = progress_after(Unwatched(500, 1000, start=2.0), records(growing), floor=0.0)
    assert progress.divergence.finite
    assert progress.divergence.start == 2.0
    assert progress_after(Unwatched(500, 1000, start=2.0), records([10.0] * 32), floor=0.0).divergence is None


def test_losses_that_are_not_finite_are_a_divergence():
    progress = progress_after(Unwatched(500, 1000, start=2.0), records([float("nan")] * 32), floor=None)
    assert not progress.divergence.finite
