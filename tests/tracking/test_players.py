"""The course of each of several optimizers, from hand-made records of their steps."""

import json
import math

import pytest

from lightning_landscape.tracking.players import STRETCHES, PlayerCourses
from lightning_landscape.tracking.step_record import StepRecord

KNOWN = tuple({"networks": (name,), "kind": "Adam", "scheduled": False} for name in ("generator", "critic"))


def record(step, optimizer, loss=1.0, **known):
    """Return the record of a step at which everything was measured."""
    measured = {"grad_norm": 2.0, "update_norm": 0.01, "weight_norm": 10.0, "predicted": 0.02}
    return StepRecord(step, optimizer, loss, **{"learning_rate": 1e-3, "stepped": True, **measured, **known})


def courses(records=(), known=KNOWN):
    players = PlayerCourses()
    players.begin(known)
    for one in records:
        players.update(one)
    return players


def alternating(steps, **of_critic):
    """Return the records of steps of a generator and a critic in turn."""
    pairs = ((record(i, 0, loss=1 + i), record(i, 1, **of_critic)) for i in range(steps))
    return [one for pair in pairs for one in pair]


def test_a_run_with_one_optimizer_keeps_nothing():
    players = courses([record(0, 0)], known=KNOWN[:1])
    assert players.reading(0.5) is None
    assert players.state_dict() == []


def test_each_optimizer_has_its_own_loss_gradient_and_movement():
    generator, critic = courses(alternating(40, loss=0.5, grad_norm=4.0, update_norm=0.1)).reading(0.5).players
    assert (generator.label, critic.label) == ("optimizer 0 (`generator`)", "optimizer 1 (`critic`)")
    assert (generator.steps, generator.with_gradient, generator.measured) == (40, 40, 40)
    assert generator.loss_start == pytest.approx(5.5)  # mean of 1 to 10
    assert generator.loss_now > 35
    assert generator.loss_spread == pytest.approx(math.sqrt((40**2 - 1) / 12))
    assert (critic.loss_start, critic.loss_now, critic.loss_spread) == (0.5, 0.5, 0.0)
    assert (critic.grad_largest, critic.grad_now) == (4.0, 4.0)
    assert critic.update_ratio == pytest.approx(0.01)
    assert critic.travel == pytest.approx(0.01 * 80)  # half of the run has passed
    assert critic.predicted == pytest.approx(0.02 * 80)


def test_the_travel_of_a_run_of_unknown_length_is_that_of_a_run_ten_times_as_long():
    assert courses(alternating(40)).reading(None).players[0].travel == pytest.approx(0.001 * 400)


def test_an_added_constant_changes_only_the_losses_themselves():
    plain, shifted = ([record(i, 0, loss=math.sin(i) + add) for i in range(200)] for add in (0.0, 1e4))
    one, other = (courses(records).reading(0.5).players[0] for records in (plain, shifted))
    assert one.loss_spread == pytest.approx(other.loss_spread, rel=1e-6)
    assert one.travel == other.travel


def test_the_largest_update_counts_and_not_that_of_the_first_steps():
    rising = [record(i, 0, update_norm=0.001 * (1 + 9 * (i >= 100))) for i in range(200)]
    assert courses(rising).reading(0.5).players[0].update_ratio == pytest.approx(0.001)
    spike = [record(i, 0, update_norm=0.001 if i else 1.0) for i in range(200)]
    assert courses(spike).reading(0.5).players[0].update_ratio == pytest.approx(0.0001)


def test_steps_without_a_gradient_say_nothing_about_how_far_steps_move_the_weights():
    """A critic that is trained from the middle of the run on stands still until then."""
    off = [record(i, 0, grad_norm=0.0, update_norm=0.0) for i in range(60)]
    assert courses(off).reading(0.5).players[0].travel is None
    player = courses([*off, *(record(i, 0) for i in range(60, 80))]).reading(0.5).players[0]
    assert (player.measured, player.update_ratio) == (20, pytest.approx(0.001))


def test_weights_of_norm_0_that_are_changed_have_moved():
    assert courses([record(i, 0, weight_norm=0.0) for i in range(9)]).reading(0.5).players[0].update_ratio == 1.0
    at_rest = [record(i, 0, weight_norm=0.0, update_norm=0.0) for i in range(9)]
    assert courses(at_rest).reading(0.5).players[0].update_ratio == 0.0


def test_a_loss_is_near_zero_since_the_step_after_which_it_never_left():
    losses = [*[1.0] * 20, *[0.001] * 20, *[0.5] * 4, *[-0.001] * 20]
    player = courses([record(i, 0, loss=loss) for i, loss in enumerate(losses)]).reading(0.5).players[0]
    assert player.near_zero_since == 44
    assert courses([record(i, 0, loss=1.0) for i in range(64)]).reading(0.5).players[0].near_zero_since is None


def test_weights_that_are_not_finite_have_a_first_step_and_spoil_no_mean():
    records = [record(i, 0, **({"weight_norm": math.nan, "loss": math.nan} if i > 29 else {})) for i in range(40)]
    player = courses(records).reading(0.5).players[0]
    assert player.not_finite_since == 30
    assert (player.loss_start, player.loss_now) == (1.0, 1.0)
    assert player.update_ratio == pytest.approx(0.001)


def test_what_is_unknown_is_none():
    records = [StepRecord(i, 0, None, None, stepped=False) for i in range(20)]
    generator, critic = courses(records).reading(0.5).players
    assert (generator.learning_rate, generator.loss_now, generator.grad_now, generator.travel) == (None,) * 4
    assert (generator.with_gradient, generator.near_zero_since) == (0, None)
    assert "no gradient at any of them" in generator.sentence
    assert critic.sentence == "optimizer 1 (`critic`) has taken no step so far"


def test_a_long_run_takes_bounded_memory_and_keeps_its_sums():
    players = courses(record(i, 0, loss=1.0 if i < 5000 else 0.0) for i in range(10_000))
    (state, _) = players.state_dict()
    assert len(state["stretches"]) <= STRETCHES
    player = players.reading(1.0).players[0]
    assert (player.steps, player.measured, player.loss_start, player.loss_now) == (10_000, 10_000, 1.0, 0.0)
    assert player.travel == pytest.approx(10.0)


@pytest.mark.parametrize("stop", [1, 77, 150])
def test_a_run_that_is_stopped_and_resumed_has_the_same_course(stop):
    records = alternating(100, loss=0.3)
    straight, stopped = courses(records), courses(records[:stop])
    resumed = PlayerCourses()
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    resumed.begin(KNOWN)
    for one in records[stop:]:
        resumed.update(one)
    assert resumed.reading(0.5) == straight.reading(0.5)
    assert resumed.state_dict() == straight.state_dict()
