"""A loss that stands at its start: at a saddle, on a slope that the run goes down later, or at too small a rate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_landscape.diagnosis import diagnose
from lightning_landscape.evidence import Cause, Schedule
from tests.diagnosis.test_diagnosis import (
    BASE,
    MIDWAY,
    NO_BETTER,
    PLATEAU,
    UNLEARNED,
    UNUSED,
    cause,
    curved,
    relative_gain,
)

ON_SLOPE = relative_gain(adam=0.7, learning_rate_x10=0.15, relative_gradient=0.25)
"""as of a convolutional network with SGD at half a good rate, in the first tenth of its run"""
PAUSE = replace(PLATEAU, step=110, since=80), replace(MIDWAY, steps=110, elapsed=0.2)
"""a plateau that has lasted for 30 of 550 steps"""
LASTING = replace(PLATEAU, step=110, since=20, proven=True), replace(MIDWAY, steps=110, elapsed=0.2)
REDRAWN = replace(NO_BETTER, gain=0.9, seeds=1, own=None, adam=replace(NO_BETTER.adam, gain=0.9))


@pytest.mark.parametrize("plateau", [PAUSE, LASTING], ids=["pause", "lasting"])
def test_a_slow_start_on_a_slope_is_no_alarm_although_adam_would_be_faster(plateau):
    verdict = diagnose(BASE.including(UNUSED, ON_SLOPE, *plateau))
    assert (verdict.cause, verdict.stuck) == (Cause.SLOW, False)
    assert "relative gradient is 0.25 (threshold 0.1)" in verdict.reason
    assert "by 70%" in verdict.advice


@pytest.mark.parametrize(("slope", "found"), [(0.0999, Cause.SADDLE_POINT), (0.1, Cause.SLOW)])
def test_a_gain_of_adam_shows_a_saddle_only_near_a_critical_point(slope, found):
    assert cause(UNUSED, relative_gain(adam=0.7, relative_gradient=slope)) is found


def test_on_a_slope_curvature_still_proves_a_saddle():
    assert cause(UNUSED, ON_SLOPE, curved(drop=0.0501)) is Cause.SADDLE_POINT


def test_new_weights_prove_no_saddle_where_the_same_optimizer_comes_down_from_the_present_ones():
    assert cause(UNUSED, ON_SLOPE, REDRAWN) is Cause.SLOW
    found_there_only = relative_gain(adam=-0.02, learning_rate_x10=0.1, relative_gradient=0.3)
    verdict = diagnose(BASE.including(UNUSED, found_there_only, REDRAWN))
    assert verdict.cause is Cause.SADDLE_POINT
    assert "no way down was found from the present weights" in verdict.reason


def test_no_sentence_denies_a_way_down_that_a_trial_has_found():
    faster = relative_gain(adam=-0.02, learning_rate_x100=0.9, relative_gradient=0.3)
    verdict = diagnose(BASE.including(UNUSED, faster, REDRAWN))
    assert verdict.cause is Cause.SADDLE_POINT
    assert "no way down was found" not in verdict.reason


@pytest.mark.parametrize(
    ("gain", "plateau", "found"),
    [
        (0.4101, LASTING, Cause.LEARNING_RATE_TOO_SMALL),
        (0.3999, LASTING, Cause.SLOW),
        (0.4101, PAUSE, Cause.SLOW),
    ],
)
def test_a_rate_is_too_small_where_ten_times_of_it_does_far_better_for_a_tenth_of_the_run(gain, plateau, found):
    trials = relative_gain(adam=0.7, learning_rate_x10=gain, relative_gradient=0.25)
    verdict = diagnose(BASE.including(UNUSED, trials, *plateau))
    assert verdict.cause is found
    assert verdict.stuck is (found is Cause.LEARNING_RATE_TOO_SMALL)


def test_far_too_small_a_rate_is_named_also_where_the_loss_is_so_large_that_its_gradient_seems_small():
    trials = relative_gain(adam=0.0, learning_rate_x10=0.03, learning_rate_x100=0.97, relative_gradient=0.009)
    redrawn = replace(REDRAWN, gain=0.12, adam=replace(REDRAWN.adam, gain=0.12))
    verdict = diagnose(BASE.including(UNUSED, trials, redrawn, *LASTING))
    assert (verdict.cause, verdict.stuck) == (Cause.LEARNING_RATE_TOO_SMALL, True)
    assert "lowers it by 97%" in verdict.reason


def test_a_run_above_its_start_does_not_start_slowly():
    risen = replace(UNLEARNED, now=3.0)
    assert cause(UNUSED, ON_SLOPE, risen) is not Cause.SLOW


def test_in_the_first_tenth_of_the_run_a_slope_is_not_called_slow():
    early = Schedule(learning_rate=0.1, peak=0.1, elapsed=0.09, steps=50)
    assert cause(UNUSED, ON_SLOPE, early) is Cause.UNDECIDED
