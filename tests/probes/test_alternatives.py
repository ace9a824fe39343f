"""Alternatives and the costs of trials, on surfaces whose results are known in closed form."""

from __future__ import annotations

import pytest
import torch

from lightning_landscape.probes import CopyTrials, LossLine, Restarts, TryAlternatives
from lightning_landscape.probes.alternatives import PERTURBATION, perturbed
from lightning_landscape.probes.course import STOPS
from lightning_landscape.probes.restarts import ADAM, LEAST_STEPS
from lightning_landscape.probes.trials import MIN_STEPS
from lightning_landscape.surface import LossSurface, RunContext, cost_of


def bowl(params):
    return 1 + 0.5 * (params["w"] ** 2).sum()


def saddle(params):
    return 3 + params["w"][0] ** 2 - params["w"][1] ** 2


def descend(rate):
    def optimizer_copy(factor):
        def step(point, gradient):
            for weight, slope in zip(point.values(), gradient, strict=True):
                weight.sub_(rate * factor * slope)

        return step

    return optimizer_copy


def surface(loss, *values, **known):
    own = {name: known.pop(name) for name in ("batch_losses", "anchors") if name in known}
    run = RunContext(**{"optimizer_copy": descend(0.05), **known})
    return LossSurface(loss, {"w": torch.tensor(values)}, held_out=loss, **own, run=run)


def test_three_times_the_learning_rate_gains_what_gradient_descent_at_that_rate_gains():
    found = TryAlternatives(steps=10)(surface(bowl, 2.0, 0.0))
    assert found.gains["learning rate x3"] == pytest.approx(1 - (1 + 2 * (1 - 0.15) ** 20) / 3, rel=1e-5)
    assert (found.steps, found.batches) == (10, 1)


def test_from_an_exact_saddle_only_the_perturbation_lowers_the_loss():
    found = TryAlternatives()(surface(saddle, 0.0, 0.0))
    # A perturbation is a share of the norm, which is zero; only matrices have a smallest norm above zero.
    assert found.gains == {"learning rate x3": 0.0, "a perturbation": 0.0}
    beside = TryAlternatives()(surface(lambda p: saddle({"w": p["w"][0]}), (0.0, 0.0), (1.0, 1.0)))
    assert beside.gains["learning rate x3"] == 0.0
    assert beside.gains["a perturbation"] > 0.1


def test_each_step_of_the_larger_batch_averages_over_four_batches():
    seen = []

    def batch_loss(name):
        def loss(params):
            seen.append(name)
            return bowl(params)

        return loss

    found = TryAlternatives(steps=10)(surface(bowl, 2.0, batch_losses=tuple(map(batch_loss, "abcde"))))
    assert found.gains["batch x4"] == pytest.approx(1 - (1 + 2 * (1 - 0.05) ** 20) / 3, rel=1e-5)
    assert seen[20:28] == ["a", "b", "c", "d", "e", "a", "b", "c"]
    assert len(seen) == 10 + 10 + 40


def test_with_fewer_than_four_batches_no_larger_batch_is_tried():
    assert "batch x4" not in TryAlternatives()(surface(bowl, 2.0, batch_losses=(bowl,) * 3)).gains


def test_without_an_optimizer_copy_or_held_out_batches_there_is_no_reading():
    here = {"w": torch.ones(1)}
    assert TryAlternatives()(LossSurface(bowl, here, held_out=bowl)) is None
    assert TryAlternatives()(LossSurface(bowl, here, run=RunContext(optimizer_copy=descend(0.1)))) is None


def test_a_perturbation_has_a_tenth_of_the_norm_and_depends_on_its_seed():
    here = {"w": torch.ones(3, 4)}
    moved = perturbed(here)["w"] - here["w"]
    assert float(moved.norm()) == pytest.approx(PERTURBATION * 12**0.5, rel=1e-5)
    assert torch.equal(perturbed(here)["w"], perturbed(here)["w"])
    assert not torch.equal(perturbed(here, seed=1)["w"], perturbed(here)["w"])


@pytest.mark.parametrize(("gradients", "steps"), [(None, 40), (167, 40), (87, 20), (40, MIN_STEPS), (0, MIN_STEPS)])
def test_trials_are_shortened_to_the_gradient_budget_but_not_below_a_minimum(gradients, steps):
    # Other costs than the four trials: a gradient, seven losses of a line search, and seven held-out losses.
    assert CopyTrials()(surface(bowl, 2.0, gradient_budget=gradients)).steps == steps


@pytest.mark.parametrize(
    ("probe", "least"),
    [
        (CopyTrials(), 4 * MIN_STEPS + 1 + 7 / 3 + 7 / 3),
        (TryAlternatives(), 2 * 40 + 3 / 3),
        (Restarts(), LEAST_STEPS[ADAM] + 2 / 3 + len(STOPS) * 2 / 3),
        (LossLine("there", points=11), 12 / 3),
    ],
)
def test_the_cost_is_never_below_that_of_the_shortest_measurement_however_small_the_budget(probe, least):
    known = {"anchors": {"there": {"w": torch.zeros(2)}}, "reinitialize": lambda seed: {"w": torch.zeros(2)}}
    assert cost_of(probe, surface(bowl, 2.0, 1.0, gradient_budget=1, **known)) == pytest.approx(least)


def test_steps_within_the_budget_depend_on_the_cost_of_a_step():
    assert surface(bowl, 1.0).steps_within_budget(40, 7) == 40
    assert surface(bowl, 1.0, gradient_budget=100).steps_within_budget(40, 7) == 14
    assert surface(bowl, 1.0, gradient_budget=0).steps_within_budget(40) == 0
