"""Findings on one of several optimizers: the finders on hand-made readings, and the docs' examples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lightning_landscape.diagnosis import diagnose
from lightning_landscape.diagnosis.findings import FINDERS, players
from lightning_landscape.evidence import Cause, Evidence, Plateau, Player, Players
from tests.findings.until_verdict import examples, watched

GENERATOR = Player(
    index=0, networks=("generator",), kind="Adam", steps=300, with_gradient=300, measured=30, learning_rate=2e-4,
    scheduled=False, loss_start=0.7, loss_now=1.2, loss_spread=0.2, grad_largest=1.0, grad_now=0.8, update_ratio=3e-3,
    travel=3.0, predicted=9.0, weight_norm=6.0,
)  # fmt: skip
CRITIC = replace(GENERATOR, index=1, networks=("critic",), loss_start=1.4, loss_now=0.9)
STILL = replace(GENERATOR, learning_rate=1e-7, update_ratio=1.5e-6, travel=5e-4, predicted=0.01)
SLOW = replace(STILL, travel=1e-2, predicted=0.01)
WINNER = replace(CRITIC, near_zero_since=100, loss_now=1e-3)
LOSER = replace(GENERATOR, grad_now=0.001)
OURS = (
    *(players.not_finite_weights, players.optimizer_without_updates, players.optimizer_stands_still),
    players.discriminator_wins,
)


def found(*of_players, elapsed=0.5, step=299):
    """Return the findings on these optimizers, by name."""
    evidence = Evidence(Plateau(step, 0), Players(of_players, elapsed))
    return {finding.name: finding for finder in OURS if (finding := finder(evidence)) is not None}


def test_two_optimizers_that_move_are_not_judged():
    assert found(GENERATOR, CRITIC) == {}
    assert diagnose(Evidence(Plateau(299, 0), Players((GENERATOR, CRITIC), 0.5))) is None


def test_without_readings_nothing_is_found():
    assert set(OURS) <= set(FINDERS)
    assert [finder(Evidence()) for finder in OURS] == [None] * len(OURS)


@pytest.mark.parametrize("still", [STILL, SLOW])
def test_an_optimizer_whose_updates_are_tiny_stands_still(still):
    finding = found(still, CRITIC)["optimizer-stands-still"]
    assert finding.cause is Cause.LEARNING_RATE_TOO_SMALL
    assert "optimizer 0 (`generator`) is 1e-07" in finding.sentence
    assert "One step of optimizer 1 (`critic`) moves its weights by 0.3%" in finding.sentence
    assert diagnose(Evidence(Plateau(299, 0), Players((still, CRITIC), 0.5))).stuck


def test_both_optimizers_may_stand_still():
    both = found(STILL, replace(STILL, index=1, networks=("critic",)))
    assert "optimizer 0 (`generator`) and of optimizer 1 (`critic`)" in both["optimizer-stands-still"].sentence


@pytest.mark.parametrize(
    "moving",
    [
        replace(SLOW, predicted=0.1),  # a large model, whose small updates change the loss
        replace(SLOW, predicted=None),
        replace(STILL, travel=0.03),
        replace(STILL, learning_rate=None),  # it has none, so none can be too small
        replace(STILL, learning_rate=0.0),
        replace(STILL, grad_now=0.0),  # a discriminator that is switched on later
        replace(STILL, grad_now=1e-6),  # the gradient is too small, and not the rate
        replace(STILL, measured=2),
        replace(STILL, steps=29),
    ],
)
def test_an_optimizer_does_not_stand_still_if_it_moves_or_has_no_gradient(moving):
    assert found(moving, CRITIC) == {}


def test_nothing_is_said_in_the_first_tenth_of_the_run():
    assert found(STILL, CRITIC, elapsed=0.09) == {}
    assert found(*(replace(player, steps=299) for player in (STILL, CRITIC)), elapsed=None) == {}
    assert found(STILL, CRITIC, elapsed=None)


def test_an_optimizer_that_never_gets_a_gradient_is_reported_from_the_middle_of_the_run_on():
    detached = replace(GENERATOR, with_gradient=0, grad_now=None, grad_largest=None, measured=0, travel=None)
    finding = found(detached, CRITIC)["optimizer-without-updates"]
    assert finding.cause is Cause.NOT_UPDATING
    assert "No gradient has reached the weights of optimizer 0 (`generator`) in 300 steps" in finding.sentence
    assert found(detached, CRITIC, elapsed=0.49) == {}


def test_a_learning_rate_of_0_is_reported_at_once_unless_a_scheduler_may_raise_it():
    at_rest = replace(GENERATOR, learning_rate=0.0, travel=0.0, update_ratio=0.0)
    assert "is 0" in found(at_rest, CRITIC, elapsed=0.2)["optimizer-without-updates"].sentence
    assert found(replace(at_rest, scheduled=True), CRITIC, elapsed=0.2) == {}
    assert found(replace(at_rest, scheduled=True), CRITIC, elapsed=0.6)


def test_weights_that_are_not_finite_have_diverged():
    finding = found(GENERATOR, replace(CRITIC, not_finite_since=70))["not-finite-weights"]
    assert finding.cause is Cause.DIVERGED
    assert "optimizer 1 (`critic`) are NaN or infinite since step 70" in finding.sentence


def test_a_discriminator_wins_if_its_loss_is_0_and_the_gradient_of_the_generator_is_gone():
    finding = found(LOSER, WINNER)["discriminator-wins"]
    assert finding.cause is Cause.FLAT_REGION
    assert "optimizer 1 (`critic`) has been at 0 since step 100" in finding.sentence
    assert "optimizer 0 (`generator`) has fallen to 0.1% of what it was" in finding.sentence


@pytest.mark.parametrize(
    ("loser", "winner"),
    [
        (replace(LOSER, loss_now=0.3), WINNER),  # both have solved their tasks
        (replace(LOSER, grad_now=0.1), WINNER),
        (replace(LOSER, grad_now=None), WINNER),
        (LOSER, replace(WINNER, near_zero_since=None)),
        (LOSER, replace(WINNER, near_zero_since=200)),  # too short: a sixth of the run
        (LOSER, replace(WINNER, loss_start=0.0)),  # switched on later
    ],
)
def test_no_discriminator_wins_otherwise(loser, winner):
    assert found(loser, winner) == {}


# The examples of the docs.

EXAMPLES = examples("players.md")


@pytest.mark.slow
@pytest.mark.parametrize("code", EXAMPLES)
def test_the_broken_example_gets_the_finding_and_the_mended_one_gets_none(code):
    names = EXAMPLES[code]
    monitor, warnings = watched(names["broken"], names["ring"]())
    assert [verdict.code for verdict in monitor.verdicts] == [code]
    assert any(f"[{code}]" in warning for warning in warnings)

    monitor, warnings = watched(names["mended"], names["ring"]())
    assert not warnings
    assert code not in monitor.report
