"""Each detector on evidence made by hand, a hair below and a hair above each of its thresholds."""

import math
from dataclasses import replace
from itertools import permutations

import pytest

from lightning_landscape.advice import ADVICE, CODES, TITLES
from lightning_landscape.diagnosis import DETECTORS, diagnose
from lightning_landscape.diagnosis.judging import INFORMATION
from lightning_landscape.evidence import (
    Activity,
    Cause,
    Divergence,
    Evidence,
    GradientScale,
    Line,
    LossLevel,
    Movement,
    Plateau,
    Schedule,
    Trend,
    Verdict,
)

PLATEAU = Plateau(step=300, since=100)
STALLED = Trend(window=100, level=2.3, progress=0.0, margin=0.01, tolerance=0.012)
UNLEARNED = LossLevel(start=2.3, best=2.29, now=2.3)
LEARNED = LossLevel(start=2.3, best=1.0, now=1.0)
MIDWAY = Schedule(learning_rate=0.1, peak=0.1, elapsed=0.5)
ENDED = Schedule(learning_rate=0.001, peak=0.1, elapsed=0.9)
MOVING = Movement(update_ratio=1e-3, travelled=0.5, without_gradient=0.0, not_held=0.0)
STILL = replace(MOVING, update_ratio=0.0, travelled=0.0)
EVEN = GradientScale(norm=0.5, relative=2.0, groups={"first": 0.5, "last": 0.5})
FADING = GradientScale(norm=0.5, relative=2.0, groups={"first": 1e-7, "middle": 1e-3, "last": 0.5})
ACTIVE = Activity(dead=0.1, dead_layer="relu", saturated=0.1, saturated_layer="tanh", layers=2, samples=64)
NAN = Divergence(step=250, finite=False, start=2.3, now=math.nan)

# Nothing is wrong with this run but that its loss stands still where it began.
BASE = Evidence(PLATEAU, STALLED, UNLEARNED, MIDWAY, MOVING, EVEN, ACTIVE)


def cause(*changed):
    verdict = diagnose(BASE.including(*changed))
    return verdict.cause if verdict is not None else None


def test_a_stalled_loss_that_nothing_explains_is_undecided():
    assert cause() is Cause.UNDECIDED


def test_no_evidence_is_no_verdict():
    assert diagnose(Evidence()) is None
    assert diagnose(Evidence(PLATEAU, MOVING, EVEN, ACTIVE, MIDWAY)) is None


@pytest.mark.parametrize(("margin", "stuck"), [(2 * 0.012 * 2.3 - 1e-9, True), (2 * 0.012 * 2.3 + 1e-9, False)])
def test_an_undecided_stall_alarms_only_where_the_test_had_the_power_to_see_a_fall(margin, stuck):
    verdict = diagnose(BASE.including(replace(STALLED, progress=-1.0, margin=margin)))
    assert verdict.cause is Cause.UNDECIDED
    assert verdict.stuck is stuck


@pytest.mark.parametrize("now", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_has_diverged_and_the_reason_shows_it(now):
    verdict = diagnose(BASE.including(replace(NAN, now=now)))
    assert verdict.cause is Cause.DIVERGED
    assert f"is {now} and does not come back (it started at 2.3)" in verdict.reason


def test_a_growing_loss_has_diverged_without_any_other_evidence():
    verdict = diagnose(Evidence(Divergence(step=250, finite=True, start=2.3, now=1e4)))
    assert verdict.cause is Cause.DIVERGED
    assert "grew from 2.3 to 1e+04" in verdict.reason


@pytest.mark.parametrize("field", ["not_held", "without_gradient"])
@pytest.mark.parametrize(
    ("share", "found"), [(0.3, Cause.UNDECIDED), (0.3001, Cause.NOT_UPDATING), (1.0, Cause.NOT_UPDATING)]
)
def test_a_third_of_the_model_out_of_reach_is_more_than_a_detail(field, share, found):
    assert cause(replace(MOVING, **{field: share})) is found


@pytest.mark.parametrize("field", ["not_held", "without_gradient"])
def test_a_frozen_part_is_no_fault_of_a_run_that_learned(field):
    assert cause(LEARNED, replace(MOVING, **{field: 1.0})) is Cause.SETTLED


@pytest.mark.parametrize(("relative", "found"), [(1e-3, Cause.UNDECIDED), (1.001e-3, Cause.NOT_UPDATING)])
def test_weights_that_stand_still_in_spite_of_a_gradient_are_not_updated(relative, found):
    assert cause(STILL, replace(EVEN, relative=relative)) is found


def test_weights_that_moved_at_all_or_were_not_measured_do_not_stand_still():
    assert cause(replace(STILL, travelled=1e-30)) is Cause.UNDECIDED
    assert cause(replace(STILL, travelled=None)) is Cause.UNDECIDED


def test_weights_that_a_schedule_has_brought_to_rest_are_no_alarm():
    ended_at_zero = Schedule(learning_rate=0.0, peak=0.1, elapsed=0.9)
    assert cause(STILL, LEARNED, ended_at_zero) is Cause.SCHEDULED_END
    assert cause(STILL, LEARNED, replace(ended_at_zero, elapsed=0.3)) is Cause.NOT_UPDATING


@pytest.mark.parametrize(
    ("rate", "elapsed", "found"),
    [
        (0.00499, 0.7, Cause.SCHEDULED_END),
        (0.00501, 0.7, Cause.UNDECIDED),
        (0.001, 0.601, Cause.SCHEDULED_END),
        (0.001, 0.6, Cause.UNDECIDED),
        (0.001, None, Cause.UNDECIDED),
    ],
)
def test_a_learning_rate_below_5_percent_of_its_peak_in_the_last_40_percent_of_the_run_is_meant(rate, elapsed, found):
    assert cause(Schedule(rate, 0.1, elapsed)) is found


@pytest.mark.parametrize(
    ("activity", "found"),
    [
        (replace(ACTIVE, dead=0.9899), Cause.UNDECIDED),
        (replace(ACTIVE, dead=0.99), Cause.FLAT_REGION),
        (replace(ACTIVE, saturated=0.8999), Cause.UNDECIDED),
        (replace(ACTIVE, saturated=0.9), Cause.FLAT_REGION),
    ],
)
def test_a_layer_that_lets_nothing_pass_makes_the_region_flat(activity, found):
    assert cause(activity) is found
    assert cause(activity, LEARNED) is Cause.SETTLED


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ({"first": 0.99e-4, "last": 1.0}, Cause.FLAT_REGION),
        ({"first": 1e-4, "last": 1.0}, Cause.UNDECIDED),
        ({"first": 0.0, "last": 1.0}, Cause.FLAT_REGION),
        ({"only": 1e-9}, Cause.UNDECIDED),
        ({"first": 1.0, "last": 1e-9}, Cause.UNDECIDED),
    ],
)
def test_a_gradient_that_fades_towards_the_input_makes_the_region_flat(groups, found):
    assert cause(replace(EVEN, groups=groups)) is found
    assert cause(replace(EVEN, groups=groups), LEARNED) is Cause.SETTLED


def test_a_gradient_of_zero_throughout_does_not_fade():
    assert cause(GradientScale(0.0, 0.0, {"first": 0.0, "last": 0.0})) is Cause.UNDECIDED


@pytest.mark.parametrize(("now", "found"), [(0.9 * 2.3, Cause.SETTLED), (0.9001 * 2.3, Cause.UNDECIDED)])
def test_a_run_that_came_down_by_a_tenth_has_settled(now, found):
    assert cause(LossLevel(2.3, now, now)) is found


def test_of_several_explanations_the_first_in_the_list_stands():
    """Taking away the strongest explanation, one after the other, brings out the next."""
    explanations = [
        (NAN, None, Cause.DIVERGED),
        (replace(ACTIVE, dead=1.0), ACTIVE, Cause.FLAT_REGION),
        (replace(STILL, without_gradient=1.0), STILL, Cause.NOT_UPDATING),
        (ENDED, MIDWAY, Cause.SCHEDULED_END),
        (STILL, MOVING, Cause.NOT_UPDATING),
        (FADING, EVEN, Cause.FLAT_REGION),
    ]
    present = {type(reading): reading for reading in BASE}
    for bad, _, _ in reversed(explanations):
        present[type(bad)] = bad
    for bad, good, expected in explanations:
        assert diagnose(Evidence(*present.values())).cause is expected
        del present[type(bad)]
        if good is not None:
            present[type(good)] = good
    assert diagnose(Evidence(*present.values())).cause is Cause.UNDECIDED


def test_the_same_evidence_gives_the_same_verdict_in_whatever_order_it_came():
    readings = [STALLED, UNLEARNED, STILL, FADING, ENDED]
    verdicts = {diagnose(Evidence(*order)) for order in permutations(readings)}
    assert len(verdicts) == 1


def test_further_readings_change_no_verdict():
    line = Line("initial", (0.0, 0.5, 1.0, 1.5), (2.0, 9.0, 1.0, 1.0), barrier=7.5, monotone=False, samples=64)
    assert diagnose(BASE.including(line)) == diagnose(BASE)


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ([replace(MOVING, not_held=0.8)], ["80%", "threshold 30%"]),
        ([replace(MOVING, without_gradient=0.8)], ["80%", "threshold 30%"]),
        ([STILL], ["2", "threshold 0.001"]),
        ([ENDED], ["1.0% of its peak", "threshold 5%", "after 90% of the run"]),
        ([replace(ACTIVE, dead=1.0)], ["relu", "100%", "threshold 99%", "64 samples"]),
        ([replace(ACTIVE, saturated=0.95)], ["tanh", "95%", "threshold 90%"]),
        ([FADING], ["1e-07 in first", "0.5 in last", "2e-07", "threshold 0.0001"]),
        ([LEARNED], ["from 2.3 to 1 "]),
        ([], ["at 2.3"]),
    ],
)
def test_the_reason_shows_the_value_against_its_threshold(changed, shown):
    reason = diagnose(BASE.including(*changed)).reason
    assert STALLED.sentence() in reason
    assert all(part in reason for part in shown), reason


@pytest.mark.parametrize("changed", [[], [LEARNED], [ENDED], [STILL], [FADING], [NAN], [replace(ACTIVE, dead=1.0)]])
def test_a_verdict_says_where_and_since_when_and_carries_its_evidence(changed):
    known = BASE.including(*changed)
    verdict = diagnose(known)
    assert (verdict.step, verdict.since) == (300, 100)
    assert verdict.evidence == known
    assert verdict.advice == ADVICE[verdict.cause]
    assert verdict.stuck is (verdict.cause not in {Cause.SETTLED, Cause.SCHEDULED_END})


def test_the_trend_is_no_part_of_the_reason_of_a_divergence():
    assert "fallen" not in diagnose(BASE.including(NAN)).reason


def test_a_detector_of_your_own_is_a_function_and_its_place_is_its_rank():
    def mine(evidence):
        return Verdict(Cause.SLOW, 1, 1, stuck=False, reason="mine") if evidence.get(Trend) else None

    assert diagnose(BASE, [mine, *DETECTORS]).reason == "mine"
    assert diagnose(BASE, [*DETECTORS, mine]).cause is Cause.UNDECIDED
    assert diagnose(Evidence(), [mine]) is None
    assert diagnose(BASE, []) is None


def test_every_cause_has_a_code_of_its_own_a_title_and_advice():
    assert set(CODES) == set(TITLES) == set(ADVICE) == set(Cause)
    assert len(set(CODES.values())) == len(set(TITLES.values())) == len(set(ADVICE.values())) == len(Cause)
    assert all(code.startswith("LL2") and len(code) == 5 for code in CODES.values())
    assert all(text == text.strip() and text.endswith((".", "?")) for text in ADVICE.values())


def test_exactly_the_last_four_causes_are_information():
    assert frozenset(list(Cause)[-4:]) == INFORMATION
