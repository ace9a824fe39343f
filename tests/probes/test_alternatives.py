"""Other ways to go on, on surfaces that are known by hand."""

from __future__ import annotations

import pytest
import torch

from lightning_landscape.probes import CopyTrials, LossLine, RedrawnRestart, TryAlternatives
from lightning_landscape.probes.alternatives import PERTURBATION, perturbed
from lightning_landscape.probes.trials import MIN_RESTART_STEPS, MIN_STEPS
from lightning_landscape.surface import LossSurface, RunContext, cost_of


def bowl(params):
    return 1 + 0.5 * (params["w"] ** 2).sum()


def saddle(params):
    return 3 + params["w"][0] ** 2 - params["w"][1] ** 2


def descend(rate):
    def continued(factor):
        def step(point, gradient):
            for weight, slope in zip(point.values(), gradient, strict=True):
                weight.sub_(rate * factor * slope)

        return step

    return continued


def surface(loss, *values, **known):
    own = {name: known.pop(name) for name in ("batch_losses", "anchors") if name in known}
    run = RunContext(**{"optimizer_copy": descend(0.05), **known})
    return LossSurface(loss, {"w": torch.tensor(values)}, held_out=loss, **own, run=run)


def test_three_times_the_rate_goes_as_far_as_gradient_descent_does():
    found = TryAlternatives(steps=10)(surface(bowl, 2.0, 0.0))
    assert found.gains["learning rate x3"] == pytest.approx(1 - (1 + 2 * (1 - 0.15) ** 20) / 3, rel=1e-5)
    assert (found.steps, found.batches) == (10, 1)


def test_from_an_exact_saddle_only_the_perturbation_leads_down():
    found = TryAlternatives()(surface(saddle, 0.0, 0.0))
    # One dimension is no matrix, so the usual length of a step from zero is zero as well.
    assert found.gains == {"learning rate x3": 0.0, "a perturbation": 0.0}
    beside = TryAlternatives()(surface(lambda p: saddle({"w": p["w"][0]}), (0.0, 0.0), (1.0, 1.0)))
    assert beside.gains["learning rate x3"] == 0.0
    assert beside.gains["a perturbation"] > 0.1


def test_a_larger_batch_averages_over_four():
    seen = []

    def part(name):
        def loss(params):
            seen.append(name)
            return bowl(params)

        return loss

    found = TryAlternatives(steps=10)(surface(bowl, 2.0, batch_losses=tuple(map(part, "abcde"))))
    assert found.gains["batch x4"] == pytest.approx(1 - (1 + 2 * (1 - 0.05) ** 20) / 3, rel=1e-5)
    assert seen[20:28] == ["a", "b", "c", "d", "e", "a", "b", "c"]
    assert len(seen) == 10 + 10 + 40


def test_with_less_than_four_batches_there_is_no_larger_one():
    assert "batch x4" not in TryAlternatives()(surface(bowl, 2.0, batch_losses=(bowl,) * 3)).gains


def test_without_an_optimizer_to_copy_or_other_batches_nothing_is_claimed():
    here = {"w": torch.ones(1)}
    assert TryAlternatives()(LossSurface(bowl, here, held_out=bowl)) is None
    assert TryAlternatives()(LossSurface(bowl, here, run=RunContext(optimizer_copy=descend(0.1)))) is None


def test_a_perturbation_has_its_length_and_its_seed():
    here = {"w": torch.ones(3, 4)}
    moved = perturbed(here)["w"] - here["w"]
    assert float(moved.norm()) == pytest.approx(PERTURBATION * 12**0.5, rel=1e-5)
    assert torch.equal(perturbed(here)["w"], perturbed(here)["w"])
    assert not torch.equal(perturbed(here, seed=1)["w"], perturbed(here)["w"])


@pytest.mark.parametrize(("gradients", "steps"), [(None, 40), (167, 40), (87, 20), (40, MIN_STEPS), (0, MIN_STEPS)])
def test_trials_are_shortened_to_what_is_left_but_never_to_nothing(gradients, steps):
    # Besides four walks: a gradient here, seven points of a line search, and six ends beside the present loss.
    assert CopyTrials()(surface(bowl, 2.0, gradient_budget=gradients)).steps == steps


@pytest.mark.parametrize(
    ("probe", "least"),
    [
        (CopyTrials(), 4 * MIN_STEPS + 1 + 7 / 3 + 7 / 3),
        (TryAlternatives(), 2 * 40 + 3 / 3),
        (RedrawnRestart(), MIN_RESTART_STEPS + 2 / 3 + 2 / 3),
        (LossLine("there", points=11), 12 / 3),
    ],
)
def test_what_cannot_do_with_less_says_what_it_takes_however_little_is_left(probe, least):
    known = {"anchors": {"there": {"w": torch.zeros(2)}}, "reinitialize": lambda seed: {"w": torch.zeros(2)}}
    assert cost_of(probe, surface(bowl, 2.0, 1.0, gradient_budget=1, **known)) == pytest.approx(least)


def test_a_restart_that_is_plainly_better_is_not_repeated():
    def redrawn(seed):
        return {"w": torch.full((1,), float(seed))}

    better = surface(bowl, 30.0, reinitialize=redrawn)
    assert RedrawnRestart(seeds=3, steps=5)(better).seeds == 1
    no_better = surface(bowl, 0.0, reinitialize=redrawn)
    assert RedrawnRestart(seeds=3, steps=5)(no_better).seeds == 3


def test_steps_that_are_affordable_are_counted_by_their_price():
    assert surface(bowl, 1.0).steps_within_budget(40, 7) == 40
    assert surface(bowl, 1.0, gradient_budget=100).steps_within_budget(40, 7) == 14
    assert surface(bowl, 1.0, gradient_budget=0).steps_within_budget(40) == 0
