"""Plateaus, their exceptions and divergence, from hand-made records of optimizer steps."""

import json
import random
from math import exp, inf, isnan, log, nan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_landscape.tracking.progress import Progress
from lightning_landscape.tracking.step_record import StepRecord

HORIZON = 800
ATTRIBUTES = (
    *("trend", "level", "stalled", "since", "proven", "plateau_length", "hold", "divergence", "schedule"),
    *("travelled", "update_ratio"),
)


def record(step, loss, **known):
    """Return the record of a step, by default at a learning rate of 0.1."""
    return StepRecord(step=step, optimizer=0, loss=loss, **({"learning_rate": 0.1, "stepped": True} | known))


def fed(losses, horizon=HORIZON, progress=None, **known):
    """Return a progress with these losses added, one per step."""
    progress = progress or Progress(horizon)
    for loss in losses:
        progress.update(record(progress._records, None if loss is None else float(loss), **known))
    return progress


def watched(losses, horizon=HORIZON, floor=0.0):
    """Return the steps at which a plateau began, those at which one was proven, and the progress at the end."""
    progress, begun, proven = Progress(horizon), [], []
    progress.floor = floor
    for step, loss in enumerate(losses.tolist()):
        before, sure = progress.since, progress.proven
        progress.update(record(step, loss))
        if progress.since is not None and progress.since != before:
            begun.append(step)
        if progress.proven and not sure:
            proven.append(step)
    return begun, proven, progress


def seen(progress):
    """Return all public attributes as text, since NaN is not equal to itself."""
    return repr([getattr(progress, name) for name in ATTRIBUTES])


# Plateaus


def test_there_is_no_trend_before_the_first_window_is_complete():
    progress = fed([1.0] * 39)
    assert progress.trend is None
    assert not progress.stalled
    assert progress.plateau_length == 0
    assert Progress().schedule is None


def test_a_constant_loss_is_a_plateau_from_its_first_step():
    progress = fed([2.3] * 40)
    assert progress.stalled
    assert progress.proven
    assert (progress.since, progress.plateau_length) == (0, 40)
    fed([2.3] * 7, progress=progress)
    assert (progress.since, progress.plateau_length) == (0, 47)


def test_a_falling_loss_is_no_plateau():
    progress = fed(2.0 * 0.998**step for step in range(HORIZON))
    assert not progress.stalled
    assert progress.trend.falling


def test_a_plateau_begins_when_the_loss_stops_falling():
    losses = [*np.linspace(3.0, 1.0, 400), *[1.0] * 100]
    progress = fed(losses)
    assert progress.stalled
    assert 380 <= progress.since <= 420


def test_a_plateau_ends_when_the_loss_falls_again_and_another_begins():
    stuck, fall = [2.0] * 200, np.linspace(2.0, 1.0, 200)
    progress = fed([*stuck, *fall])
    assert not progress.stalled
    assert progress.plateau_length == 0
    fed([1.0] * 100, progress=progress)
    assert progress.stalled
    assert progress.since >= 360


def test_a_loss_that_stays_above_its_start_is_on_a_plateau_even_in_noise():
    rng = np.random.default_rng(0)
    losses = np.concatenate([2.0 + 0.01 * rng.standard_normal(10), 8.0 + 3.0 * rng.standard_normal(390)])
    begun, proven, progress = watched(losses)
    assert len(begun) == 1
    assert proven
    assert progress.level.share_of_start > 3


def test_since_is_a_step_of_the_loggers_and_the_length_is_in_optimizer_steps():
    progress = Progress(HORIZON)
    for step in range(1000, 1120, 2):
        progress.update(record(step, 1.0))
    assert (progress.since, progress.plateau_length) == (1000, 60)


def test_the_level_has_the_first_the_lowest_and_the_present_loss():
    progress = fed([*[4.0] * 40, *[1.0] * 40, *[2.0] * 40])
    assert (progress.level.start, progress.level.best, progress.level.now) == (4.0, 1.0, 2.0)


def test_the_schedule_has_the_rate_its_peak_and_the_share_of_the_run():
    progress = fed([1.0] * 10, learning_rate=0.3)
    fed([1.0] * 10, progress=progress, learning_rate=0.2)
    assert progress.schedule.learning_rate == 0.2
    assert progress.schedule.peak == 0.3
    assert progress.schedule.elapsed == 20 / HORIZON
    assert fed([1.0], horizon=None).schedule.elapsed is None


def test_the_sum_of_all_updates_is_extrapolated_from_the_measured_steps():
    progress = Progress(HORIZON)
    for step in range(80):
        sampled = {"update_norm": 0.04, "weight_norm": 2.0} if step % 10 == 0 else {}
        progress.update(record(step, 1.0, **sampled))
    assert progress.update_ratio == pytest.approx(0.02)
    assert progress.travelled == pytest.approx(0.02 * 0.05 * HORIZON)
    assert fed([1.0] * 80).travelled is None


@pytest.mark.parametrize("horizon", [0, -5])
def test_a_horizon_below_one_is_refused(horizon):
    with pytest.raises(ValueError, match=str(horizon)):
        Progress(horizon)


# Steps and losses that do not count


def test_steps_without_a_loss_are_ignored():
    with_gaps = fed([2.3, None, None] * 40)
    assert with_gaps.plateau_length == 40
    assert with_gaps.trend == fed([2.3] * 40).trend


def test_a_single_loss_that_is_not_finite_is_ignored():
    progress = fed([2.3] * 30 + [nan, 2.3, inf, -inf, 2.3] + [2.3] * 10)
    assert progress.divergence is None
    assert progress.stalled
    assert progress.level.now == pytest.approx(2.3)


@pytest.mark.parametrize("bad", [nan, inf, -inf, 1e200])
def test_three_losses_in_a_row_that_are_not_finite_are_a_divergence(bad):
    progress = fed([2.0] * 20 + [bad] * 3)
    assert (progress.divergence.step, progress.divergence.finite) == (20, False)
    assert progress.divergence.start == 2.0


def test_a_last_loss_that_is_not_finite_is_a_divergence():
    progress = fed([2.0] * 20 + [nan])
    assert progress.divergence is None
    progress.finish()
    assert progress.divergence.step == 20
    ended_well = fed([2.0] * 20)
    ended_well.finish()
    assert ended_well.divergence is None


def test_a_divergence_is_said_to_start_at_the_first_loss_unless_the_loss_is_below_it_again():
    assert fed([3.0] + [2.0] * 20 + [nan] * 3).divergence.start == 3.0
    falling_then_growing = [3.0, *(0.1 * 1.05**step for step in range(120))]
    divergence = fed(falling_then_growing).divergence
    assert divergence.start == (3.0 if divergence.now > 3.0 else pytest.approx(np.mean(falling_then_growing[:10])))
    assert divergence.start < divergence.now


def test_a_run_without_any_finite_loss_diverges_with_an_unknown_start():
    progress = fed([nan] * 3)
    assert progress.divergence.step == 0
    assert isnan(progress.divergence.start)
    assert progress.level is None


def test_steps_that_a_scaler_skips_are_ignored():
    progress = fed([2.0] * 20)
    fed([nan] * 10 + [9.0] * 10, progress=progress, stepped=False)
    fed([2.0] * 20, progress=progress)
    assert progress.divergence is None
    assert progress.plateau_length == 40
    assert progress.level.now == 2.0


def test_a_run_that_skips_every_step_is_on_a_plateau():
    rng = np.random.default_rng(0)
    progress = fed(2 + rng.standard_normal(90), stepped=False)
    assert progress.stalled
    assert progress.trend.predicted == 0.0
    assert progress.proven


def test_a_run_that_skips_every_step_at_a_loss_of_nan_has_diverged():
    assert fed([nan] * 50, stepped=False).divergence is not None


# Stalled losses that are no plateau


def test_no_plateau_begins_while_the_learning_rate_rises():
    progress = Progress(HORIZON)
    for step in range(400):
        progress.update(record(step, 2.3, learning_rate=min(1.0, (step + 1) / 200)))
        if progress.hold:
            assert (progress.hold, progress.stalled) == ("learning-rate warm-up", False)
    assert progress.stalled


def test_no_plateau_begins_when_the_data_become_harder():
    fall = [*np.linspace(4.0, 1.0, 200), *[2.0] * 20]
    progress = fed(fall)
    assert progress.hold is None
    assert not progress.stalled
    fed([2.0] * 20, progress=progress)
    assert progress.stalled, "a whole short window of the new data has not fallen"


def test_no_plateau_begins_if_the_loss_rose_in_a_step_within_every_stalled_window():
    harder = np.repeat([1.0, 1.8], [40, 40]) + 0.2 * np.random.default_rng(1).standard_normal(80)
    progress = fed([*np.linspace(4.0, 1.0, 200), *harder])
    assert progress.trend.stalled
    assert (progress.hold, progress.stalled) == ("level shift", False)


def test_no_plateau_begins_below_a_tenth_of_the_starting_loss():
    progress = fed([*np.geomspace(4.0, 0.2, 400), *[0.2] * 400])
    assert (progress.hold, progress.stalled) == ("solved", False)


@pytest.mark.parametrize(("level", "stalled"), [(2.3, True), (0.2, False)])
def test_a_loss_that_fell_from_a_height_is_on_a_plateau_where_a_constant_prediction_has_the_same_loss(level, stalled):
    progress = Progress(horizon=1000)
    progress.enter_constant(2.3)
    progress = fed([500.0, 40.0, *[level] * 400], progress=progress)
    assert (progress.stalled, progress.hold) == (stalled, None if stalled else "solved")
    resumed = Progress(horizon=1000)
    resumed.load_state_dict(progress.state_dict())
    assert resumed.level == fed([level] * 10, progress=resumed).level


# Divergence of a loss that falls


def fallen(loss, steps=1000, slope=1.0, floor=None):
    """Return the progress of a run whose first update promises a fall by `slope` if it were as long as the weights."""
    progress = Progress(steps)
    progress.floor = floor
    for step in range(steps):
        moved = {"update_norm": 0.01, "weight_norm": 1.0, "predicted": 0.01 * slope} if step % 10 == 0 else {}
        progress.update(record(step, loss(step), **moved))
    return progress


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("floor", [None, -inf, 0.0])
def test_a_loss_without_a_known_lowest_value_that_falls_ever_faster_diverges_in_any_unit(unit, floor):
    progress = fallen(lambda step: -unit * (2.3 + (step / 10) ** 3), slope=unit, floor=floor)
    assert progress.divergence.downwards
    assert "no lowest value of it is known, and it falls ever faster" in progress.divergence.sentence


def test_a_loss_that_runs_down_in_a_straight_line_is_noticed_before_it_counts_as_a_divergence():
    progress = fallen(lambda step: -2.3 - step)
    assert progress.level.runs_down
    assert progress.divergence is None


@pytest.mark.parametrize(
    "loss",
    [
        lambda step: 60 - 3000 * (1 - exp(-step / 200)),  # the likelihood of a density of many dimensions
        lambda step: 0.01 - 300 * log(1 + step),
        lambda step: 3000 - 3.2 * step,
        lambda step: 2.3 - step / 500,
    ],
)
def test_a_loss_that_levels_off_or_is_not_far_down_does_not_run_down(loss):
    progress = fallen(loss)
    assert not progress.level.runs_down
    assert progress.divergence is None


def test_where_the_slope_was_not_measured_a_falling_loss_is_no_divergence():
    progress = fed([-2.3 - (step / 10) ** 3 for step in range(1000)])
    assert (progress.divergence, progress.level.runs_down) == (None, False)


def test_a_resumed_run_knows_how_large_its_loss_was_at_the_start():
    progress, resumed = fallen(lambda step: -2.3 - step, steps=500), Progress(500)
    resumed.load_state_dict(progress.state_dict())
    for step in range(500, 520):
        resumed.update(record(step, -2.3 - step))
    assert resumed.level.runs_down


# Divergence at a finite loss


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("start", [1.0, -1.0])
def test_a_loss_that_keeps_growing_far_above_its_start_has_diverged_in_any_unit(start, unit):
    growth = [unit * (start + 0.1 * (1.05**step - 1)) for step in range(120)]
    progress = fed(growth)
    assert progress.divergence.finite
    assert progress.divergence.now > progress.divergence.start + 2 * abs(unit)


@pytest.mark.parametrize(
    "losses",
    [
        [*[1.0] * 100, 50.0, *[1.0] * 100],
        [*[1.0] * 100, *[5.0] * 8, *[1.0] * 100],
        np.random.default_rng(0).standard_normal(HORIZON),
        np.abs(np.random.default_rng(0).standard_cauchy(HORIZON)),
        np.linspace(1.0, 2.5, HORIZON),
    ],
    ids=["spike", "bump", "about zero", "heavy tails", "slow rise"],
)
def test_a_loss_that_comes_back_or_rises_little_is_no_divergence(losses):
    progress = Progress(HORIZON)
    for step, loss in enumerate(losses):
        progress.update(record(step, float(loss)))
        assert progress.divergence is None


NOISE = 1 + 0.1 * np.random.default_rng(3).standard_normal(HORIZON)


@pytest.mark.parametrize("ahead", [100, 300])
@pytest.mark.parametrize("level", [1.0, 0.5], ids=["at its start", "below its start"])
def test_a_spike_is_dated_by_its_own_block_and_not_by_the_quiet_time_before(ahead, level):
    quiet = np.concatenate([NOISE[:40], level * NOISE[40:ahead]])
    spike = 50_000.0 * np.exp(-np.arange(60) / 100)
    divergence = fed([*quiet, *spike]).divergence
    assert ahead - 4 < divergence.step <= ahead
    assert divergence.before == pytest.approx(level, rel=0.1)


@pytest.mark.parametrize("ahead", [100, 300])
def test_a_slow_growth_is_dated_by_the_first_loss_above_the_level_before(ahead):
    growth = 1.06 ** np.arange(120.0)
    divergence = fed([*NOISE[:ahead], *(NOISE[ahead : ahead + 120] * growth)]).divergence
    assert ahead <= divergence.step <= ahead + 12  # 12 steps raise the loss twofold
    assert divergence.before == pytest.approx(1.0, rel=0.2)


def test_a_growth_from_the_first_step_on_is_dated_by_the_first_step():
    divergence = fed([1.05**step for step in range(80)]).divergence
    assert (divergence.step, divergence.before) == (0, 1.0)


def test_a_divergence_ends_when_the_loss_comes_back():
    growth = [1.05**step for step in range(80)]
    progress = fed(growth)
    assert progress.divergence is not None
    fed([1.0] * 16, progress=progress)
    assert progress.divergence is None


# Unit and sign


@pytest.mark.parametrize("unit", [2.0**-20, 2.0**20, 1e-6, 1e6])
def test_the_unit_of_the_loss_changes_no_decision(unit):
    rng = np.random.default_rng(6)
    for fall in (0.0, 0.3, 0.6):
        losses = np.clip(1 - fall * np.arange(HORIZON) / 300, 1 - fall, 1) + 0.02 * rng.standard_normal(HORIZON)
        assert watched(losses)[:2] == watched(losses * unit)[:2]


@pytest.mark.parametrize("constant", [1000.0, -1000.0, -1.5])
@pytest.mark.parametrize("known", [True, False])
def test_a_constant_in_the_loss_changes_no_decision(constant, known):
    noise = 0.01 * np.random.default_rng(7).standard_normal(HORIZON)
    for loss in (1 + noise, 2 - np.arange(HORIZON) / HORIZON + noise, 1 + np.exp(-np.arange(HORIZON) / 60) + noise):
        plain, moved = (watched(loss + c, floor=c if known else None) for c in (0.0, constant))
        assert plain[:2] == moved[:2]


@pytest.mark.parametrize("floor", [0.0, None])
def test_a_loss_that_stands_still_has_stalled_and_one_that_falls_has_not_whether_its_floor_is_known_or_not(floor):
    noise = 0.01 * np.random.default_rng(8).standard_normal(HORIZON)
    assert watched(1 + noise, floor=floor)[0] != []
    assert watched(2 - np.arange(HORIZON) / HORIZON + noise, floor=floor)[0] == []


def test_a_loss_clearly_below_its_floor_has_another_one():
    progress = watched(np.linspace(1.0, -3.0, HORIZON))[2]
    assert not progress.level.floor_measured
    assert progress.level.floor < progress.level.best


# An unknown horizon


def test_windows_grow_with_a_run_of_unknown_length():
    progress, windows = Progress(None), set()
    for step in range(10_000):
        progress.update(record(step, 1.0 + 0.01 * (-1) ** step))
        windows.add(progress.trend.window if progress.trend else 0)
    assert progress.plateau_length == 10_000
    assert max(windows) == 3200
    assert progress.schedule.elapsed is None


def test_an_early_plateau_is_found_without_a_horizon():
    assert fed([2.3] * 100, horizon=None).plateau_length == 100


# Simulated rates


def noise_of(kind, rng, runs):
    """Noise of variance 1 as (runs, HORIZON)."""
    if kind == "white":
        return rng.standard_normal((runs, HORIZON))
    if kind == "heavy-tailed":
        return rng.standard_t(3, (runs, HORIZON)) / sqrt(3)
    if kind == "epochs of 25 steps":
        repeated = np.stack([np.resize(rng.standard_normal(25), HORIZON) for _ in range(runs)])
        return 0.8 * repeated + 0.6 * rng.standard_normal((runs, HORIZON))
    noise = rng.standard_normal((runs, HORIZON))
    for step in range(1, HORIZON):
        noise[:, step] = 0.9 * noise[:, step - 1] + sqrt(0.19) * noise[:, step]
    return noise


SIZES = {"white": 0.02, "AR(0.9)": 0.006, "heavy-tailed": 0.02, "epochs of 25 steps": 0.02}
"""standard deviation, as a share of the loss, at which the longest window detects a fall of twice its threshold"""


@pytest.mark.parametrize("kind", SIZES)
def test_noise_without_a_trend_is_a_plateau_in_95_of_100_runs(kind):
    noise = SIZES[kind] * noise_of(kind, np.random.default_rng(8), runs=100)
    runs = [watched(1 + series) for series in noise]
    assert np.mean([bool(proven) for _, proven, _ in runs]) >= 0.95
    assert np.mean([len(begun) == 1 for begun, _, _ in runs]) >= 0.95, "and once only"


@pytest.mark.parametrize("kind", SIZES)
def test_a_detectable_slope_is_proven_to_be_a_plateau_in_0_of_160_runs(kind):
    # In every window of every length, the loss falls by at least twice the threshold.
    time = np.arange(HORIZON) / HORIZON
    shapes = [1 - 0.6 * time, np.exp(-0.75 * time), (1 + 20 * time) ** -0.55, 0.82 ** np.floor(25 * time)]
    noise = SIZES[kind] * noise_of(kind, np.random.default_rng(9), runs=160).reshape(4, 40, HORIZON)
    runs = [watched(shape * (1 + series)) for shape, group in zip(shapes, noise, strict=True) for series in group]
    assert sum(bool(proven) for _, proven, _ in runs) == 0
    assert sum(bool(begun) for begun, _, _ in runs) <= 3  # each costs a diagnosis, and alarms only with a cause


def test_a_flat_loss_in_much_noise_is_a_probable_plateau_that_is_not_proven_and_has_no_length():
    begun, proven, progress = watched(1 + 0.5 * np.random.default_rng(3).standard_normal(HORIZON))
    assert begun
    assert not proven
    assert (progress.stalled, progress.plateau_length) == (True, 0)


# Stop and resume


def eventful(horizon, seed, steps):
    """Return a run with missing losses, NaN, skipped steps, a plateau, a fall and a divergence, and its results."""
    rng = np.random.default_rng(seed)
    level = np.concatenate([np.full(steps // 4, 2.0), np.linspace(2.0, 0.9, steps // 4), np.full(steps // 4, 0.9)])
    level = np.concatenate([level, 0.9 * 1.04 ** np.arange(steps - len(level))]) * (
        1 + 0.02 * rng.standard_normal(steps)
    )
    records = []
    for step, loss in enumerate(level.tolist()):
        luck = rng.random()
        loss = None if luck < 0.02 else nan if luck < 0.04 else loss
        moved = {"update_norm": 0.01 * luck, "weight_norm": 3.0, "predicted": luck} if step % 10 == 0 else {}
        rate = min(1.0, (step + 1) / 100)
        records.append(record(step, loss, stepped=not 0.04 < luck < 0.06, learning_rate=rate, **moved))
    progress, readings, visited = Progress(horizon), [], set()
    for each in records:
        progress.update(each)
        readings.append(seen(progress))
        visited |= {progress.hold, progress.stalled and "plateau", progress.divergence and "divergence"}
    return records, readings, visited


RUNS = {horizon: eventful(horizon, seed=10, steps=steps) for horizon, steps in ((400, 400), (700, 400), (None, 2300))}


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(list(RUNS)), st.data())
def test_a_resumed_run_equals_the_straight_run_at_every_later_step(horizon, data):
    records, readings, _ = RUNS[horizon]
    cut = data.draw(st.integers(0, len(records)))
    first, second = Progress(horizon), Progress(horizon)
    for each in records[:cut]:
        first.update(each)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert seen(second) == seen(first)
    for each, reading in zip(records[cut:], readings[cut:], strict=True):
        second.update(each)
        assert seen(second) == reading


def test_the_runs_of_the_test_above_have_holds_plateaus_and_divergence():
    for _, _, visited in RUNS.values():
        assert {"learning-rate warm-up", "plateau", "divergence"} <= visited


def test_a_resumed_run_keeps_its_own_horizon():
    first = fed([2.0] * 400, horizon=800)
    second = Progress(8000)
    second.load_state_dict(first.state_dict())
    assert second.plateau_length == first.plateau_length
    fed([2.0] * 80, horizon=None, progress=second)
    assert second.horizon == 8000
    assert second.plateau_length == 480
    assert second.schedule.elapsed == 480 / 8000


def test_a_steady_change_does_not_count_in_the_spread_of_the_first_losses():
    alternating, steady = Progress(horizon=1000), Progress(horizon=1000)
    for step in range(50):
        alternating.update(record(step, 1.0 + (-1) ** step))
        steady.update(record(step, 1.0 + 0.01 * step))
    assert alternating.level.start_spread == pytest.approx(2**0.5)  # successive ones differ by 2
    assert alternating.level.spread == pytest.approx(1.0)
    assert steady.level.start_spread == pytest.approx(0.01 / 2**0.5)


# Tests on the same batches


STILL = ([200, 250, 300, 350], [[1.0, 3.0, 2.0]] * 4)
FALLING = ([200, 250, 300, 350], [[1.3, 3.3, 2.3], [1.2, 3.2, 2.2], [1.1, 3.1, 2.1], [1.0, 3.0, 2.0]])


def hidden(steps=360):
    """Return the progress of a run in which noise hides the fall of the loss."""
    progress, rng = Progress(1000), random.Random(0)
    for step in range(steps):
        progress.update(StepRecord(step, 0, 2.0 - 0.003 * step + rng.gauss(0, 1.0), learning_rate=0.1, stepped=True))
    assert progress.noise_hides
    assert not progress.stalled
    return progress


def test_a_test_on_the_same_batches_begins_a_plateau_and_a_second_one_in_a_row_proves_it():
    progress = hidden()
    progress.enter_same_batches(*STILL)
    assert (progress.stalled, progress.proven, progress.since) == (True, False, 210)
    progress.enter_same_batches(*STILL)
    assert progress.proven


def test_a_fall_on_the_same_batches_ends_the_plateau():
    progress = hidden()
    for test in (STILL, STILL, FALLING):
        progress.enter_same_batches(*test)
    assert (progress.stalled, progress.proven) == (False, False)
    assert progress.on_same_batches.falling


def test_two_tests_with_another_result_between_them_prove_nothing():
    progress = hidden()
    unclear = ([200, 250, 300, 350], [[1.0, 3.0, 2.0], [2.0, 2.0, 2.5], [1.5, 3.5, 1.0], [1.0, 3.0, 2.0]])
    for test in (STILL, unclear, STILL):
        progress.enter_same_batches(*test)
    assert (progress.stalled, progress.proven) == (True, False)


def test_a_test_survives_a_checkpoint():
    progress, resumed = hidden(), Progress(1000)
    progress.enter_same_batches(*STILL)
    resumed.load_state_dict(json.loads(json.dumps(progress.state_dict())))
    assert resumed.state_dict() == progress.state_dict()
    resumed.enter_same_batches(*STILL)
    assert resumed.proven
