"""Gradient norms of runs that are written down by hand: their scale, and what is vanishing, exploding, or neither."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_landscape.evidence import Clipping
from lightning_landscape.tracking.gradient_norms import COLUMNS, EXPLODED, RECENT, VANISHED, GradientNorms
from lightning_landscape.tracking.step_record import StepRecord


def record(step, norm=1.0, loss=2.0, *, groups=(0.6, 0.8), optimizer=0, stepped=True, weights=None):
    norms = None if norm is None else groups
    return StepRecord(step, optimizer, loss, 0.1, stepped, norm, norm, norms, weight_norm=weights)


def watched(records, groups=("first", "last")):
    norms = GradientNorms(groups)
    for each in records:
        norms.update(each)
    return norms


def test_before_the_first_measurement_there_is_no_scale():
    norms = watched([record(0, norm=None), record(1, norm=None)])
    assert norms.scale() is None
    assert norms.vanishing is None
    assert not norms.exploding
    assert norms.history == []


def test_the_scale_is_the_median_over_the_last_50_measured_steps():
    wild = [record(i, 1e6, 1e6, groups=(1e6, 1e6)) for i in range(100)]
    calm = [record(i, norm, 4.0, groups=(norm, 3.0)) for i, norm in enumerate([1.0, 2.0, 3.0, 2.0, 2.0] * 10)]
    scale = watched([*wild, *calm]).scale()
    assert scale.norm == 2.0
    assert scale.groups == {"first": 2.0, "last": 3.0}


@pytest.mark.parametrize(("weights", "relative"), [(None, 0.5), (0.1, 0.5), (8.0, 4.0)])
def test_the_relative_scale_is_per_relative_step_of_at_least_1(weights, relative):
    assert watched([record(0, norm=2.0, loss=-4.0, weights=weights)]).scale().relative == relative


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_relative_scale_does_not_depend_on_the_unit_of_the_loss(unit):
    scaled = watched([record(0, norm=2.0 * unit, loss=4.0 * unit)]).scale()
    assert scaled.relative == pytest.approx(0.5)


def test_a_loss_of_zero_has_an_infinite_relative_gradient():
    assert watched([record(0, norm=2.0, loss=0.0)]).scale().relative == math.inf


def test_groups_without_gradient_are_left_out_of_the_scale():
    norms = watched([record(i, groups=(None, 0.3, 0.4)) for i in range(60)], groups=("frozen", "first", "last"))
    assert norms.scale().groups == {"first": 0.3, "last": 0.4}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("a step that was skipped", {"stepped": False}),
        ("a norm that was not measured", {"norm": None}),
        ("the second optimizer", {"optimizer": 1}),
    ],
)
def test_the_scale_does_not_change_with(kind, change):
    before = [record(i) for i in range(5)]
    other = {"groups": (9.0, 9.0), "loss": 9.0} | change
    after = [record(i, **({"norm": 9.0} | other)) for i in range(5, 60)]
    assert watched([*before, *after]).scale() == watched(before).scale(), kind


@pytest.mark.parametrize(
    ("first", "last", "vanishing"),
    [
        (0.99 * VANISHED, 1.0, True),
        (1.01 * VANISHED, 1.0, False),
        (0.0, 1.0, False),  # it does not get there at all
        (1.0, 0.99 * VANISHED, False),
        (0.0, 0.0, False),
    ],
)
def test_a_gradient_vanishes_where_the_first_layers_get_a_ten_thousandth_of_the_last(first, last, vanishing):
    norms = watched([record(i, math.hypot(first, last), groups=(first, last)) for i in range(RECENT)])
    assert (norms.vanishing is not None) is vanishing


def test_no_gradient_is_called_vanishing_before_50_steps_were_measured():
    fading = [record(i, groups=(1e-9, 1.0)) for i in range(RECENT)]
    assert watched(fading[:-1]).vanishing is None
    assert watched(fading).vanishing.groups == {"first": 1e-9, "last": 1.0}


def test_one_step_with_a_tiny_gradient_does_not_vanish():
    steps = [record(i, groups=(1e-9 if i % 3 == 0 else 0.5, 1.0)) for i in range(200)]
    assert watched(steps).vanishing is None


@pytest.mark.parametrize(("times", "count", "exploding"), [(1.1, 3, True), (1.1, 2, False), (0.9, 3, False)])
def test_a_gradient_explodes_when_it_is_100_times_its_median_three_times_in_a_row(times, count, exploding):
    calm = [record(i) for i in range(20)]
    bursts = [record(20 + i, norm=times * EXPLODED, loss=2.1) for i in range(count)]
    assert watched([*calm, *bursts]).exploding is exploding
    assert not watched([*calm, *bursts, record(30)]).exploding


def test_bursts_that_are_not_in_a_row_are_no_explosion():
    steps = [record(i, norm=500.0 if i % 3 else 1.0, loss=2.1 if i % 3 else 2.0) for i in range(20, 120)]
    assert not watched([*(record(i) for i in range(20)), *steps]).exploding


def test_a_gradient_that_grows_while_the_loss_falls_does_not_explode():
    norms = GradientNorms(("first", "last"))
    for i in range(100):
        growth = 10 ** (6 * i / 99)
        norms.update(record(i, norm=1e-6 * growth, loss=2.3 - growth * 1e-6, groups=(growth * 1e-6, growth * 1e-6)))
        assert not norms.exploding
        assert norms.vanishing is None


def test_a_gradient_that_grows_while_the_loss_rises_explodes():
    calm = [record(i, norm=1e-3) for i in range(20)]
    rising = [record(20 + i, norm=10.0**i, loss=2.1 + i) for i in range(4)]
    assert watched([*calm, *rising]).exploding


def test_no_gradient_explodes_in_the_first_steps_of_a_run():
    assert not watched([record(i, norm=10.0**i, loss=2.0 + i) for i in range(10)]).exploding


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_explodes_at_once_and_does_not_change_the_scale(norm):
    norms = watched([record(i) for i in range(5)])
    before = norms.scale()
    norms.update(record(5, norm=norm, loss=math.nan, groups=(norm, 0.8)))
    assert norms.exploding
    assert norms.scale() == before
    norms.update(record(6))
    assert not norms.exploding


def test_a_short_history_has_a_column_for_every_step():
    norms = watched([record(3 * i, groups=(float(i), None)) for i in range(COLUMNS - 1)])
    assert norms.steps == [3 * i for i in range(COLUMNS - 1)]
    assert norms.history == [[float(i), None] for i in range(COLUMNS - 1)]


@pytest.mark.parametrize("steps", [COLUMNS, 1000, 12345])
def test_a_long_history_is_bounded_and_covers_the_run(steps):
    norms = watched(record(i) for i in range(steps))
    assert COLUMNS // 2 <= len(norms.history) == len(norms.steps) < COLUMNS
    widths = {b - a for a, b in zip(norms.steps, norms.steps[1:], strict=False)}
    assert len(widths) == 1
    assert steps - norms.steps[-1] <= widths.pop()


@pytest.mark.parametrize("spike", [50.0, math.nan, math.inf])
@pytest.mark.parametrize("at", [0, 1, 499, 777])
def test_a_single_large_norm_is_kept_when_columns_are_merged(spike, at):
    norms = watched(record(i, groups=(spike if i == at else 1.0, None)) for i in range(1024))
    first = [column[0] for column in norms.history]
    assert [norm for norm in first if norm != 1.0] == pytest.approx([spike], nan_ok=True)
    assert {column[1] for column in norms.history} == {None}


NUMBERS = st.one_of(st.none(), st.floats(0, 1e6), st.just(math.nan), st.just(math.inf))
RECORDS = st.lists(
    st.builds(
        lambda norm, loss, one, other, optimizer, stepped, weights: record(
            0, norm, loss, groups=(one, other), optimizer=optimizer, stepped=stepped, weights=weights
        ),
        NUMBERS,
        NUMBERS,
        NUMBERS,
        NUMBERS,
        st.integers(0, 1),
        st.booleans(),
        st.one_of(st.none(), st.floats(0, 1e3)),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(records=RECORDS, cut=st.integers(0, 30), before=st.sampled_from([0, 150, 410]))
def test_a_run_resumed_at_any_step_has_the_state_of_a_straight_run(records, cut, before):
    run = [each._replace(step=i) for i, each in enumerate([record(0)] * before + records)]
    straight, stopped = watched(run), watched(run[: before + cut])
    resumed = GradientNorms()
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    for each in run[before + cut :]:
        resumed.update(each)
    assert repr(resumed.state_dict()) == repr(straight.state_dict())
    assert repr(resumed.scale()) == repr(straight.scale())
    assert resumed.exploding is straight.exploding


@pytest.mark.parametrize("cut", range(18, 26))
def test_an_explosion_is_detected_in_a_run_that_was_resumed_during_it(cut):
    run = [*(record(i) for i in range(20)), *(record(20 + i, norm=500.0, loss=2.1) for i in range(3))]
    resumed = GradientNorms()
    resumed.load_state_dict(watched(run[:cut]).state_dict())
    for each in run[cut:]:
        resumed.update(each)
    assert resumed.exploding


def test_later_steps_do_not_change_a_state_dict():
    norms = watched(record(i) for i in range(30))
    state = norms.state_dict()
    kept = json.dumps(state)
    for i in range(30, 60):
        norms.update(record(i, norm=7.0, groups=(7.0, 7.0)))
    assert json.dumps(state) == kept


def test_clipping_is_the_share_of_the_gradient_that_is_left_over_the_latest_steps():
    norms = GradientNorms(["a"])
    assert norms.clipping() is None
    for step, clipped in enumerate([4.0, 1.0, 2.0]):
        record = StepRecord(step, 0, 1.0, 0.1, stepped=True, grad_norm=4.0, group_norms=(4.0,))
        norms.update(record._replace(grad_norm_clipped=clipped))
    assert norms.clipping() == Clipping(median=0.5, largest=1.0, steps=3)
    restored = GradientNorms(["a"])
    restored.load_state_dict(norms.state_dict())
    assert restored.clipping() == norms.clipping()
    older = {name: value for name, value in norms.state_dict().items() if name != "left_by_clipping"}
    restored.load_state_dict(older)
    assert restored.clipping() is None


def groups_of(*groups):
    return watched([record(10 * i, groups=each) for i, each in enumerate(groups)])


def test_a_group_has_lost_its_gradient_if_it_had_one_at_every_step_before_and_none_since():
    for none in (None, 0.0):
        lost = groups_of(*[(0.3, 0.4)] * 10, *[(none, 0.4)] * 8).lost()
        assert (lost.last, lost.measured) == ({"first": 90}, 8)


@pytest.mark.parametrize(
    "groups",
    [
        [(0.3, 0.4)] * 18,
        [(None, 0.4)] * 18,  # it never had one
        [*[(0.3, 0.4)] * 10, *[(None, 0.4)] * 7],  # too few steps
        [*[(0.3, 0.4), (None, 0.4)] * 9, *[(None, 0.4)] * 8],  # it is trained in turns
        [*[(0.3, 0.4)] * 10, *[(None, 0.4)] * 8, (0.3, 0.4)],  # it has one again
    ],
)
def test_no_gradient_is_lost_otherwise(groups):
    assert groups_of(*groups).lost() is None


def test_a_long_run_loses_a_gradient_at_the_right_step():
    lost = groups_of(*[(0.3, 0.4)] * (5 * COLUMNS), *[(None, 0.4)] * (2 * COLUMNS)).lost()
    assert lost.last["first"] == pytest.approx(50 * COLUMNS, rel=0.03)
