"""Parts of a model that stand still, shrink or grow: the finders on hand-made evidence, and the docs' examples."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from lightning_landscape.diagnosis.findings import FINDERS, midway, step_sizes
from lightning_landscape.diagnosis.findings import parts as finders
from lightning_landscape.evidence import (
    Activity,
    BestConstant,
    Cause,
    Clipping,
    Evidence,
    GradientScale,
    HeldTensors,
    KeptGradients,
    LossLevel,
    LostGradients,
    OptimizerGroup,
    Outputs,
    Part,
    Parts,
    Plateau,
    Restart,
    Schedule,
    Scheduler,
    Schedulers,
    StartingPoint,
    Trend,
    Trials,
    UpdateStatistics,
    WeightHistory,
    Wiring,
)
from lightning_landscape.evidence.wiring import GraphCut
from tests.findings.until_verdict import examples, watched

PLATEAU = Plateau(step=300, since=100)
STALLED = Trend(window=100, level=2.3, progress=0.0, margin=0.01, tolerance=0.012)
UNLEARNED = LossLevel(start=2.3, best=2.29, now=2.3)
HALF = LossLevel(start=2.3, best=1.1, now=1.1)
SOLVED = LossLevel(start=2.3, best=0.1, now=0.1)
MOVING = UpdateStatistics(update_ratio=1e-3, travelled=0.5, no_grad_share=0.0, not_in_optimizer=0.0)


def trials(**gains):
    """Return trials with these gains; underscores in their names stand for spaces."""
    named = {name.replace("_", " "): gain for name, gain in gains.items()}
    return Trials(named, steps=40, relative_gradient=0.5, decay_pull=0.0, samples=64)


NOTHING = trials(adam=0.0, this_optimizer=0.0)
BASE = Evidence(PLATEAU, STALLED, UNLEARNED, MOVING)

GROUP = OptimizerGroup(0, 0, learning_rate=0.1, base_rate=None, weight_decay=0.0, parts=("head",))
HEAD = Part(
    name="head",
    share=0.2,
    trainable=True,
    frozen_since=None,
    group=0,
    learning_rate=0.1,
    reached=True,
    grad_norm=0.1,
    norm=1.0,
    initial_norm=1.0,
    distance=0.5,
)
STILL = replace(HEAD, name="body", share=0.8, distance=0.0, group=1, learning_rate=0.0)
UNREACHED = replace(STILL, group=0, learning_rate=0.1, reached=False, grad_norm=None)
FROZEN = replace(HEAD, name="body", share=0.8, trainable=False, frozen_since=90)


TWO_GROUPS = (GROUP, replace(GROUP, index=1, learning_rate=0.0, parts=("body",)))


def parts(*members, groups=TWO_GROUPS, step=300):
    return Parts((HEAD, *members), groups, step)


def weight(finder, *readings, base=BASE):
    finding = finder(base.including(*readings))
    return None if finding is None else finding.weight


# Stale optimizers and parameters that no optimizer holds.

STALE = HeldTensors(("body",), 0.8, 0.8, outside=4, outside_share=1.0, replaced=("body",))
UNHELD = HeldTensors(("body",), 0.8, 0.8)


def test_an_optimizer_with_replaced_tensors_is_a_certain_mistake_before_any_loss_is_known():
    assert weight(finders.stale_optimizer, STALE, base=Evidence()) == "certain"
    assert finders.unheld_parameters(Evidence(STALE)) is None
    finding = finders.stale_optimizer(Evidence(STALE))
    assert "4 tensors (100% of its elements)" in finding.sentence
    assert "`body`" in finding.sentence


def test_further_tensors_in_the_optimizer_are_no_mistake():
    assert finders.stale_optimizer(Evidence(replace(STALE, replaced=()), PLATEAU)) is None
    assert finders.unheld_parameters(Evidence(HeldTensors((), 0.0, 0.0, outside=4, outside_share=0.5))) is None


def test_unheld_parameters_explain_a_plateau_if_the_others_cannot_lower_the_loss():
    assert weight(finders.unheld_parameters, UNHELD, NOTHING) == "evidence"
    assert weight(finders.unheld_parameters, UNHELD, replace(MOVING, travelled=0.0)) == "evidence"


def test_unheld_parameters_explain_a_loss_that_has_fallen_only_to_that_of_a_constant_prediction():
    constant = Outputs((), 64, 1.1, best_constant=BestConstant("mse_loss", loss=1.1, constant=1.1))
    assert weight(finders.unheld_parameters, UNHELD, NOTHING, HALF, constant) == "evidence"
    better = replace(constant, best_constant=BestConstant("mse_loss", loss=1.1, constant=1.3))
    assert weight(finders.unheld_parameters, UNHELD, NOTHING, HALF, better) == "note"


@pytest.mark.parametrize(
    ("own", "adam", "found"), [(0.18, 0.88, "evidence"), (0.18, 0.35, "note"), (0.6, 0.88, "note")]
)
def test_unheld_parameters_explain_a_plateau_if_adam_with_all_parameters_does_twice_as_well(own, adam, found):
    gains = {"this optimizer": 0.0, "learning rate x1000": own, "adam": adam}
    assert weight(finders.unheld_parameters, UNHELD, replace(NOTHING, gains=gains)) == found


def test_a_part_that_is_unfrozen_and_not_given_to_the_optimizer_is_a_certain_mistake():
    finding = finders.unheld_parameters(Evidence(replace(UNHELD, unfrozen=("body",))))
    assert (finding.cause, finding.weight) == (Cause.NOT_UPDATING, "certain")
    assert "`body` was frozen at the start and gets a gradient now" in finding.sentence
    assert "add_param_group" in finding.advice


@pytest.mark.parametrize(
    "readings",
    [
        (UNHELD,),  # no trial has shown yet that the others cannot
        (UNHELD, NOTHING, HALF),
        (UNHELD, trials(this_optimizer=0.2)),
        (UNHELD, trials(learning_rate_x10=0.2)),
        (replace(UNHELD, unheld_with_gradient=0.0), NOTHING),  # a target network, or a teacher
        (replace(UNHELD, unheld_with_gradient=0.29), NOTHING),
    ],
)
def test_unheld_parameters_are_a_note_otherwise(readings):
    assert weight(finders.unheld_parameters, *readings) == "note"
    assert weight(finders.unheld_parameters, *readings, base=Evidence()) == "note"


# A learning rate of 0, and updates that are rounded away.


def test_a_learning_rate_of_0_explains_a_plateau_if_nothing_was_learned():
    assert weight(finders.zero_learning_rate, parts(STILL), NOTHING) == "evidence"
    assert "`body` (80% of the model) is 0" in finders.zero_learning_rate(Evidence(parts(STILL))).sentence


@pytest.mark.parametrize(
    ("level", "gain", "share", "expected"),
    [
        (HALF, 0.16, 0.8, "evidence"),
        (HALF, 0.14, 0.8, "note"),
        (HALF, 0.39, 0.45, "note"),
        (HALF, 0.41, 0.45, "evidence"),
        (SOLVED, 0.39, 0.8, "note"),
        (SOLVED, 0.41, 0.8, "evidence"),
    ],
)
def test_after_learning_the_trial_with_all_weights_must_lower_the_loss(level, gain, share, expected):
    still = parts(replace(STILL, share=share))
    assert weight(finders.zero_learning_rate, still, level, trials(adam=gain)) == expected
    assert weight(finders.zero_learning_rate, still, level, trials(adam=gain, this_optimizer=0.2)) == "note"
    assert weight(finders.zero_learning_rate, still, level) == "note"


@pytest.mark.parametrize(
    ("share", "level", "gain", "proven", "expected"),
    [
        (0.8, HALF, -0.7, True, "evidence"),
        (0.8, HALF, -0.7, False, "note"),
        (0.8, HALF, -0.1, True, "note"),
        (0.8, SOLVED, -0.7, True, "note"),
        (0.45, HALF, -0.7, True, "note"),
    ],
)
def test_a_trial_that_makes_the_loss_worse_does_not_excuse_a_rate_of_0_for_most_of_the_model(
    share, level, gain, proven, expected
):
    still, plateau = parts(replace(STILL, share=share)), replace(PLATEAU, proven=proven)
    readings = plateau, replace(STALLED, margin=0.5), still, level, trials(adam=gain)
    assert weight(finders.zero_learning_rate, *readings) == expected


def test_a_small_part_or_parts_that_were_read_before_the_plateau_are_a_note():
    assert weight(finders.zero_learning_rate, parts(replace(STILL, share=0.3)), NOTHING) == "note"
    assert weight(finders.zero_learning_rate, parts(STILL, step=100), NOTHING) == "note"
    assert weight(finders.zero_learning_rate, parts(STILL), base=Evidence()) == "note"


@pytest.mark.parametrize(
    "part",
    [
        replace(STILL, trainable=False),  # frozen on purpose
        replace(STILL, distance=1e-9),  # it has moved before
        replace(STILL, distance=None),
        replace(STILL, group=None, learning_rate=None),
        replace(STILL, learning_rate=1e-9),
    ],
)
def test_no_learning_rate_of_0_is_found_in_parts_that_are_frozen_moved_or_unknown(part):
    assert finders.zero_learning_rate(BASE.including(parts(part), NOTHING)) is None


@pytest.mark.parametrize(("elapsed", "found"), [(0.49, False), (0.5, True), (None, False)])
def test_a_schedule_that_may_still_raise_the_rate_is_no_mistake(elapsed, found):
    groups = (GROUP, replace(GROUP, learning_rate=0.0, base_rate=0.1))
    readings = parts(STILL, groups=groups), NOTHING, Schedule(0.1, 0.1, elapsed)
    assert (finders.zero_learning_rate(BASE.including(*readings)) is not None) is found
    constant = parts(STILL, groups=(GROUP, replace(GROUP, learning_rate=0.0, base_rate=0.0)))
    assert finders.zero_learning_rate(BASE.including(constant, *readings[1:])) is not None


def test_updates_are_lost_if_no_bit_of_a_part_with_a_rate_and_a_gradient_has_changed():
    lost = replace(STILL, learning_rate=1e-9)
    assert weight(finders.lost_updates, parts(lost), NOTHING) == "evidence"
    assert weight(finders.lost_updates, parts(lost), NOTHING, HALF) == "note"
    for other in (replace(lost, grad_norm=0.0), replace(lost, grad_norm=None), replace(lost, distance=1e-30), STILL):
        assert finders.lost_updates(BASE.including(parts(other), NOTHING)) is None
    resting = Parts((replace(HEAD, distance=0.0), lost), parts(lost).groups, 300)
    assert finders.lost_updates(BASE.including(resting, NOTHING)) is None
    assert finders.lost_updates(Evidence(parts(lost))) is None


@pytest.mark.parametrize(
    ("interval", "named"),
    [("epoch", "`LambdaLR` begins at 0 and is stepped once per epoch"), ("step", "have not moved.")],
)
def test_a_run_at_a_learning_rate_of_zero_names_a_scheduler_that_is_stepped_once_per_epoch(interval, named):
    resting = replace(HEAD, share=1.0, distance=0.0, learning_rate=0.0)
    by = Schedulers((Scheduler("LambdaLR", interval, 1),))
    finding = finders.zero_learning_rate(BASE.including(Parts((resting,), TWO_GROUPS, 300), by))
    assert (finding.name, finding.weight) == ("zero-learning-rate", "evidence")
    assert named in finding.sentence
    assert ("'interval': 'step'" in finding.advice) is (interval == "epoch")


# Parts without a gradient, and parts that were frozen during the run.


CUT_OFF = Wiring(cuts=(GraphCut("detach", "", ("encoder.weight",), 0.6, "encoder", "head", feeds_layers=True),))


@pytest.mark.parametrize(
    ("level", "share", "expected"),
    [(UNLEARNED, 0.31, "evidence"), (UNLEARNED, 0.3, "note"), (HALF, 0.51, "evidence"), (HALF, 0.5, "note")],
)
def test_a_large_part_without_gradient_explains_a_plateau_if_no_trial_helps(level, share, expected):
    unreached = parts(replace(UNREACHED, share=share))
    assert weight(finders.part_without_gradient, unreached, level, NOTHING, CUT_OFF) == expected
    assert weight(finders.part_without_gradient, unreached, level, trials(adam=0.16), CUT_OFF) == "note"
    assert weight(finders.part_without_gradient, unreached, level, CUT_OFF) == "note"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (replace(UNREACHED, share=0.51), True),
        (replace(UNREACHED, share=0.5), False),
        (replace(UNREACHED, share=0.51, in_training_mode=False), False),
    ],
    ids=["most of the model", "half of it", "perhaps meant"],
)
def test_a_note_that_no_gradient_reaches_most_of_the_model_is_printed_in_the_first_steps(part, said):
    finding = finders.part_without_gradient(BASE.including(parts(part)))
    assert finding.weight == "note"
    assert finders.is_said_at_once(finding.sentence) is said


def test_parameters_that_the_step_does_not_use_explain_nothing_once_the_loss_has_fallen():
    unreached = parts(replace(UNREACHED, share=0.6))
    assert weight(finders.part_without_gradient, unreached, UNLEARNED, NOTHING) == "evidence"
    assert weight(finders.part_without_gradient, unreached, HALF, NOTHING) == "note"
    assert weight(finders.part_without_gradient, unreached, HALF, NOTHING, Wiring()) == "note"


@pytest.mark.parametrize(
    "readings",
    [
        (parts(replace(UNREACHED, in_training_mode=False)), NOTHING),  # a backbone that the user has set to eval()
        (parts(UNREACHED), SOLVED, NOTHING),
        (parts(UNREACHED, step=100), NOTHING),
    ],
)
def test_a_part_without_gradient_is_a_note_if_it_may_be_meant(readings):
    assert weight(finders.part_without_gradient, *readings) == "note"


@pytest.mark.parametrize(
    "part",
    [
        replace(UNREACHED, distance=0.1),  # an expert that is off for a while
        replace(UNREACHED, trainable=False),
        replace(UNREACHED, group=None),  # a teacher
        replace(UNREACHED, reached=None),
        replace(UNREACHED, reached=True, grad_norm=0.0),  # dead units
    ],
)
def test_parts_that_have_moved_or_are_not_trained_need_no_gradient(part):
    assert finders.part_without_gradient(BASE.including(parts(part), NOTHING)) is None


def test_a_gradient_of_exactly_0_is_noted_on_a_plateau_and_not_in_the_first_steps():
    zero = replace(STILL, group=0, learning_rate=0.1, reached=True, grad_norm=0.0)
    finding = finders.zero_gradient(BASE.including(parts(zero)))
    assert (finding.name, finding.weight) == ("part-without-gradient", "note")
    assert "The gradient of `body` (80% of the model) is exactly 0" in finding.sentence
    assert "padding_idx" in finding.advice
    assert finders.zero_gradient(Evidence(parts(zero))) is None
    for other in (replace(zero, grad_norm=1e-30), replace(zero, distance=0.1), replace(zero, trainable=False), STILL):
        assert finders.zero_gradient(BASE.including(parts(other))) is None


@pytest.mark.parametrize(("since", "near"), [(-11, False), (-10, True), (250, True)])
def test_freezing_explains_a_plateau_that_begins_afterwards_or_within_a_window_before_it(since, near):
    readings = parts(FROZEN), NOTHING, HALF, replace(PLATEAU, since=since)
    assert weight(midway.frozen_midway, *readings) == ("evidence" if near else "note")


@pytest.mark.parametrize(
    "readings",
    [
        (parts(FROZEN), NOTHING, SOLVED),
        (parts(FROZEN), trials(this_optimizer=0.2), HALF),
        (parts(FROZEN), HALF),
        (parts(replace(FROZEN, share=0.3)), NOTHING, HALF),
        (parts(FROZEN, replace(FROZEN, frozen_since=200)), NOTHING, HALF),  # one layer after the other
    ],
)
def test_freezing_is_a_note_otherwise(readings):
    assert weight(midway.frozen_midway, *readings) == "note"


@pytest.mark.parametrize(("since", "explains"), [(100, True), (190, True), (191, False)])
def test_a_loss_that_has_fallen_a_lot_must_have_stopped_when_the_part_was_frozen(since, explains):
    low = replace(HALF, now=0.5)  # 22% of its start
    readings = parts(FROZEN), NOTHING, low, replace(PLATEAU, since=since)
    assert weight(midway.frozen_midway, *readings) == ("evidence" if explains else "note")


ALIVE = Activity(dead=0.1, dead_layer="relu", saturated=0.0, saturated_layer=None, layers=1, samples=64)
SILENT = replace(HEAD, name="body", share=0.8, reached=False, grad_norm=None)
SINCE_90 = LostGradients({"body": 90}, measured=20)


@pytest.mark.parametrize("part", [SILENT, replace(SILENT, reached=True, grad_norm=0.0)])
def test_a_part_whose_gradient_was_lost_when_the_loss_stopped_falling_is_named(part):
    found = midway.detached_midway(BASE.including(parts(part), SINCE_90, NOTHING, HALF))
    assert (found.name, found.weight) == ("detached-midway", "evidence")
    assert "`body` (80% of the model)" in found.sentence
    assert "step 90" in found.sentence


@pytest.mark.parametrize(
    "readings",
    [
        (parts(SILENT), SINCE_90, trials(this_optimizer=0.2), HALF),
        (parts(SILENT), SINCE_90, NOTHING, SOLVED),
        (parts(replace(SILENT, share=0.3)), SINCE_90, NOTHING, HALF),
        (parts(SILENT), replace(SINCE_90, last={"body": 201}), NOTHING, HALF),  # the plateau had begun long before
    ],
)
def test_a_lost_gradient_is_a_note_otherwise(readings):
    assert weight(midway.detached_midway, *readings) == "note"


def test_dead_units_give_a_gradient_of_zeros_and_are_not_detached():
    zeros, dead = replace(SILENT, reached=True, grad_norm=0.0), replace(ALIVE, dead=1.0)
    assert midway.detached_midway(BASE.including(parts(zeros), SINCE_90, NOTHING, HALF, dead)) is None
    assert midway.detached_midway(BASE.including(parts(SILENT), SINCE_90, NOTHING, HALF, dead)) is not None


@pytest.mark.parametrize(
    "readings",
    [
        (parts(SILENT), NOTHING, HALF),
        (parts(replace(SILENT, trainable=False)), SINCE_90, NOTHING, HALF),  # that is `frozen-midway`
        (parts(replace(SILENT, reached=True, grad_norm=0.1)), SINCE_90, NOTHING, HALF),  # it is trained again
        (parts(replace(SILENT, group=None)), SINCE_90, NOTHING, HALF),
    ],
)
def test_a_part_that_is_not_silent_any_more_or_is_not_to_be_trained_is_not_mentioned(readings):
    assert midway.detached_midway(BASE.including(*readings)) is None


def test_what_was_frozen_from_the_start_is_not_mentioned():
    assert midway.frozen_midway(BASE.including(parts(replace(FROZEN, frozen_since=None)), NOTHING)) is None


# Weights, gradients and steps of the wrong size.

DECAYING = (replace(GROUP, weight_decay=0.5),)
SHRUNK = replace(HEAD, name="body", share=0.8, norm=0.09)
GROWN = replace(HEAD, name="body", share=0.8, norm=10.1)
LOST = LossLevel(start=2.3, best=1.0, now=2.3)
BETTER = Restart(gain=0.1, seeds=2, steps=300)


def test_shrunk_weights_explain_a_plateau_with_a_restart_a_lost_loss_or_if_nothing_is_left():
    shrunk = parts(SHRUNK, groups=DECAYING)
    assert weight(step_sizes.weights_shrunk, shrunk) == "note"
    assert weight(step_sizes.weights_shrunk, shrunk, BETTER) == "evidence"
    assert weight(step_sizes.weights_shrunk, shrunk, replace(BETTER, gain=0.09)) == "note"
    assert weight(step_sizes.weights_shrunk, shrunk, LOST) == "evidence"
    assert weight(step_sizes.weights_shrunk, parts(replace(SHRUNK, norm=0.009), groups=DECAYING)) == "evidence"


@pytest.mark.parametrize(
    "readings",
    [
        (parts(SHRUNK),),  # no weight decay
        (parts(SHRUNK, groups=DECAYING), HALF),
        (parts(replace(SHRUNK, norm=0.1), groups=DECAYING),),
        (parts(replace(SHRUNK, share=0.5), groups=DECAYING),),
        (parts(replace(SHRUNK, initial_norm=0.0), groups=DECAYING),),
        (parts(replace(SHRUNK, initial_norm=None), groups=DECAYING),),
        (parts(SHRUNK, groups=DECAYING, step=100),),
    ],
)
def test_weights_are_not_shrunk_without_decay_after_learning_or_if_unknown(readings):
    assert step_sizes.weights_shrunk(BASE.including(*readings, BETTER)) is None


def test_grown_weights_explain_a_plateau_if_smaller_steps_or_a_restart_help():
    grown = parts(GROWN)
    assert weight(step_sizes.weights_blown_up, grown, ALIVE, NOTHING) == "note"
    assert weight(step_sizes.weights_blown_up, grown, ALIVE, BETTER) == "note"  # before the trials
    assert weight(step_sizes.weights_blown_up, grown, ALIVE, BETTER, NOTHING) == "evidence"
    smaller = Trials({"learning rate x0.1": 0.16}, steps=40, relative_gradient=1.0, decay_pull=0.0, samples=64)
    assert weight(step_sizes.weights_blown_up, grown, smaller) == "evidence"
    risen = LossLevel(2.3, 2.3, 2.8)
    assert weight(step_sizes.weights_blown_up, grown, ALIVE, NOTHING, risen) == "evidence"
    recovering = trials(this_optimizer=0.16)
    assert weight(step_sizes.weights_blown_up, grown, ALIVE, recovering, risen) == "note"


@pytest.mark.parametrize("tried", [(), (NOTHING,)], ids=["before the trials", "after them"])
@pytest.mark.parametrize(
    "flat",
    [replace(ALIVE, saturated=0.91), GradientScale(0.3, 0.3, {"first": 1e-6, "last": 0.3})],
    ids=["saturated", "vanishing gradient"],
)
def test_grown_weights_explain_a_plateau_if_they_have_made_the_surface_flat(flat, tried):
    assert weight(step_sizes.weights_blown_up, parts(GROWN), flat, *tried) == "evidence"
    assert weight(step_sizes.weights_blown_up, parts(GROWN), ALIVE, *tried) == "note"


def test_a_loss_that_has_only_come_down_to_that_of_a_constant_prediction_does_not_excuse_grown_weights():
    constant = Outputs((), samples=64, loss=1.3, best_constant=BestConstant("cross_entropy", loss=1.3, constant=1.3))
    fallen = LossLevel(start=1.6, best=1.3, now=1.3)
    finding = step_sizes.weights_blown_up(BASE.including(parts(GROWN), fallen, constant, BETTER, NOTHING))
    assert "the model predicts no better than a constant" in finding.sentence
    better = replace(constant, best_constant=BestConstant("cross_entropy", loss=1.2, constant=1.3))
    assert step_sizes.weights_blown_up(BASE.including(parts(GROWN), fallen, better, BETTER, NOTHING)) is None


def test_a_smaller_rate_is_advised_than_that_at_which_the_weights_moved_fastest():
    def advice(**rates):
        history = WeightHistory(None, None, **rates)
        return step_sizes.weights_blown_up(BASE.including(parts(GROWN), BETTER, NOTHING, history)).advice

    assert advice() == advice(largest_rate_when_fastest=0.1) == "a learning rate of 0.01 in place of 0.1, or a warm-up."
    assert advice(largest_rate_when_fastest=3.0).startswith("a learning rate of 0.3 in place of the 3 at which")


def test_grown_weights_explain_nothing_where_a_layer_is_dead():
    dead = replace(ALIVE, dead=1.0)
    assert weight(step_sizes.weights_blown_up, parts(GROWN), BETTER, dead, NOTHING) == "note"
    killed_at_once = (StartingPoint(2.3, 2.3), LossLevel(5.0, 2.3, 2.3))
    assert weight(step_sizes.weights_blown_up, parts(GROWN), BETTER, dead, NOTHING, *killed_at_once) == "evidence"


@pytest.mark.parametrize(
    "readings",
    [
        (parts(GROWN), HALF),  # weights before a normalisation layer
        (parts(replace(GROWN, norm=10.0)),),
        (parts(replace(GROWN, share=0.5)),),
        (parts(replace(GROWN, initial_norm=0.0)),),
        (parts(GROWN), trials(learning_rate_x10=0.2)),  # larger steps would help
    ],
)
def test_weights_may_grow_if_the_loss_falls_or_larger_steps_help(readings):
    assert step_sizes.weights_blown_up(BASE.including(BETTER, *readings)) is None


TIGHT = Clipping(median=0.009, largest=0.02, steps=50)
HARDLY = replace(MOVING, travelled=4e-3)
SCALE = GradientScale(norm=2.5, relative=1.0, groups={})


def test_clipping_is_too_tight_if_the_weights_hardly_move_and_larger_steps_help():
    finding = step_sizes.clipped_too_tight(BASE.including(TIGHT, HARDLY, SCALE, trials(adam=0.16)))
    assert finding.weight == "evidence"
    assert "gradient_clip_val=2" in finding.advice
    assert weight(step_sizes.clipped_too_tight, TIGHT, HARDLY, SCALE) == "note"
    assert weight(step_sizes.clipped_too_tight, TIGHT, HARDLY, trials(adam=0.39), HALF) == "note"
    decayed = Schedule(0.004, 0.1, 0.9)
    assert weight(step_sizes.clipped_too_tight, TIGHT, HARDLY, trials(adam=0.5), decayed) == "note"


@pytest.mark.parametrize("reading", [replace(TIGHT, median=0.01), MOVING, replace(MOVING, travelled=None)])
def test_clipping_is_not_mentioned_if_it_is_loose_or_the_weights_move(reading):
    assert step_sizes.clipped_too_tight(BASE.including(TIGHT, HARDLY, trials(adam=0.9), reading)) is None


def test_gradients_that_are_never_zeroed_are_a_certain_mistake():
    assert weight(step_sizes.gradients_not_zeroed, KeptGradients(0, 4), base=Evidence()) == "certain"
    assert "steps of optimizer 1," in step_sizes.gradients_not_zeroed(Evidence(KeptGradients(1, 4))).sentence
    assert step_sizes.gradients_not_zeroed(BASE) is None


def test_without_readings_nothing_is_found():
    called = [
        *(finders.stale_optimizer, finders.unheld_parameters, finders.zero_learning_rate, finders.lost_updates),
        *(finders.part_without_gradient, midway.frozen_midway, midway.detached_midway, step_sizes.gradients_not_zeroed),
        *(step_sizes.weights_shrunk, step_sizes.weights_blown_up, step_sizes.clipped_too_tight),
    ]
    assert set(called) <= set(FINDERS)
    assert [finder(Evidence()) for finder in called] == [None] * len(called)
    assert [finder(BASE) for finder in called] == [None] * len(called)


# The examples of the docs, and healthy runs that look alike.

EXAMPLES = examples("parts.md")


@pytest.mark.slow
@pytest.mark.parametrize("code", EXAMPLES)
def test_the_broken_example_gets_the_finding_and_the_mended_one_gets_none(code):
    names = EXAMPLES[code]
    monitor, warnings = watched(names["broken"], names["points"]())
    assert monitor.verdict is not None
    assert monitor.verdict.code == code
    assert monitor.verdict.stuck
    assert any(f"[{code}]" in warning for warning in warnings)

    monitor, warnings = watched(names["mended"], names["points"]())
    assert not warnings
    assert code not in monitor.report


def narrow(**methods):
    """Return a function that makes the page's narrow network, with an encoder of random features and these methods."""
    names = next(iter(EXAMPLES.values()))
    return lambda: type("Healthy", (names["Narrow"],), methods)(encoder_lr=0.01)


def under_no_grad(module, batch, batch_idx):
    """A head on a backbone that is used as it is, the way that Lightning's documentation shows it."""
    module.encoder.eval()
    with torch.no_grad():
        hidden = module.encoder(batch[0])
    return F.cross_entropy(module.head(hidden), batch[1])


def head_only(module):
    return torch.optim.Adam(module.head.parameters(), lr=0.03)


def frozen_from_the_start(module):
    module.encoder.requires_grad_(requires_grad=False)
    return torch.optim.Adam(module.parameters(), lr=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    "methods",
    [
        {"training_step": under_no_grad},
        {"configure_optimizers": head_only},
        {"configure_optimizers": frozen_from_the_start},
    ],
    ids=["under no_grad", "not in the optimizer", "frozen"],
)
def test_a_head_on_a_backbone_that_is_left_alone_on_purpose_gives_no_alarm(methods):
    names = next(iter(EXAMPLES.values()))
    monitor, warnings = watched(narrow(**methods), names["points"](), steps=400)
    assert monitor.verdicts
    assert not warnings
    assert all(verdict.finding is None for verdict in monitor.verdicts)


@pytest.mark.slow
def test_an_encoder_that_is_warmed_up_later_than_its_head_gives_no_alarm():
    def configure_optimizers(module):
        groups = [{"params": module.encoder.parameters()}, {"params": module.head.parameters()}]
        optimizer = torch.optim.Adam(groups, lr=0.01)
        late = torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda step: float(step >= 150), lambda step: 1.0])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": late, "interval": "step"}}

    names = next(iter(EXAMPLES.values()))
    monitor, warnings = watched(narrow(configure_optimizers=configure_optimizers), names["points"](), steps=400)
    assert not warnings
    assert all(verdict.finding is None for verdict in monitor.verdicts)
