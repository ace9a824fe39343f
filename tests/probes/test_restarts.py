"""Restarts on surfaces in closed form: what each kind of run shows, when it is run, and how it goes on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_landscape.evidence import Evidence, Restart
from lightning_landscape.probes import Restarts
from lightning_landscape.surface import LossSurface, RunContext, cost_of


def at(*values: float) -> dict[str, Tensor]:
    return {"w": torch.tensor(values)}


def descend(rate: float):
    """Plain gradient descent as the optimizer of the run."""

    def optimizer(factor: float):
        def step(point, gradient):
            for weight, slope in zip(point.values(), gradient, strict=True):
                weight -= factor * rate * slope

        return step

    return optimizer


def surface(loss, here, *, rate: float | None = 0.05, **known: Any) -> LossSurface:
    """A surface with the same loss on all batches; arguments that are no field of it go to its `RunContext`."""
    own = {
        name: known.pop(name) for name in ("batch_losses", "held_out_losses", "anchors", "held_out") if name in known
    }
    if rate is not None:
        known = {"fresh_optimizer": descend(rate), "optimizer_copy": descend(rate)} | known
    return LossSurface(loss, here, **{"held_out": loss} | own, run=RunContext(**known))


def bowl(params) -> Tensor:
    return 1 + 0.5 * (params["w"] ** 2).sum()


def two_valleys(params) -> Tensor:
    w = params["w"][0]
    return 1.5 + (w**2 - 1) ** 2 + 0.3 * w


OTHER_VALLEY = 1 - float(two_valleys(at(-1.0352))) / float(two_valleys(at(0.96)))
"""gain of the lower valley over the higher one, 0.33"""


def test_new_weights_with_the_optimizer_of_the_run_reach_the_other_valley():
    found = Restarts()(surface(two_valleys, at(0.96), reinitialize=lambda seed: at(-0.5)))
    assert found.own_gain == found.gain == pytest.approx(OTHER_VALLEY, abs=1e-3)
    assert found.adam is None  # new weights alone settle it
    assert found.going_on_gain == pytest.approx(0.0, abs=1e-2)
    assert found.own.stopped_at <= found.own.steps == found.steps == 300


def test_what_only_adam_reaches_is_not_credited_to_the_new_weights():
    found = Restarts()(surface(two_valleys, at(0.96), rate=1e-6, reinitialize=lambda seed: at(-0.5)))
    assert found.own_gain < 0.05
    assert found.adam_gain == found.gain == pytest.approx(OTHER_VALLEY, abs=1e-2)


def test_in_the_lower_valley_no_restart_gains_anything():
    here = at(-1.0352)
    found = Restarts()(surface(two_valleys, here, reinitialize=lambda seed: at(0.5), anchors={"initial": at(0.6)}))
    assert max(found.own_gain, found.adam_gain, found.smaller_rate_gain) < 0.01
    assert found.own.seeds == found.adam.seeds == 2
    assert found.going_on is None
    assert found.left == ()


def test_where_the_rate_is_too_large_the_initial_weights_learn_at_a_tenth_of_it():
    known = {"reinitialize": lambda seed: at(3.0), "anchors": {"initial": at(3.0)}}
    found = Restarts()(surface(bowl, at(9.0), rate=2.5, **known))  # |1 - rate| > 1, so the loss grows without bound
    assert found.own_gain is None
    assert found.smaller_rate_gain == pytest.approx(1 - 1 / float(bowl(at(9.0))), rel=1e-3)
    assert found.smaller_rate_factor == 0.1
    hundredfold = Restarts()(surface(bowl, at(9.0), rate=25.0, **known))
    assert not hundredfold.tenth.trained
    assert hundredfold.smaller_rate_factor == 0.01
    assert hundredfold.smaller_rate_gain > 0.9


def test_a_smaller_rate_is_not_tried_where_steps_at_the_rate_of_the_run_hardly_move():
    known = {"reinitialize": lambda seed: at(3.0), "anchors": {"initial": at(3.0)}}
    assert Restarts()(surface(bowl, at(2.0), rate=1e-7, **known)).tenth is None
    assert Restarts()(surface(bowl, at(2.0), rate=1e-2, **known)).tenth is None  # new weights alone settle it
    assert Restarts()(surface(bowl, at(0.0), rate=1e-2, **known)).tenth is not None


def test_a_run_is_stopped_on_one_half_of_the_held_out_batches_and_judged_on_the_other():
    """The run goes from 3 to 0; one half of the held-out batches is best at 2, and the other one at 1."""

    def best_at(target: float):
        return lambda params: 1 + ((params["w"] - target) ** 2).sum()

    halves = (best_at(2.0), best_at(1.0))
    found = Restarts(seeds=1)(
        surface(
            bowl, at(3.0), rate=0.005, reinitialize=lambda seed: at(3.0), held_out_losses=halves, held_out_batches=2
        )
    )
    passed = 3.0 * 0.995**found.own.stopped_at
    assert found.own.stopped_at < 300
    assert found.own_gain == pytest.approx(1 - float(halves[1](at(passed))) / float(halves[1](at(3.0))), rel=1e-3)
    assert found.held_out_batches == 2
    single = Restarts(seeds=1)(surface(bowl, at(3.0), reinitialize=lambda seed: at(3.0)))
    assert single.held_out_batches == 1


def test_a_run_whose_loss_blows_up_shows_nothing():
    def cliff(params):
        return torch.where(params["w"].sum() < 0.995, 9.0, 1.0) + 0.1 * params["w"].sum()

    found = Restarts(seeds=2, steps=50)(surface(cliff, at(1.1), rate=None, reinitialize=lambda seed: at(1.0)))
    assert found.fallen < -5
    assert not found.trained
    assert found.adam_gain is None


def test_a_run_that_learns_its_own_batch_has_trained_even_if_the_held_out_loss_rises():
    def steep(params):
        return 0.3 + 2 * (params["w"] - 1.0).abs().sum()

    found = Restarts(seeds=1, steps=50)(
        surface(
            lambda p: 0.5 * (p["w"] ** 2).sum(), at(1.0), rate=None, held_out=steep, reinitialize=lambda seed: at(1.0)
        )
    )
    assert found.gain < 0
    assert found.fallen > 0.5
    assert found.trained


def test_a_run_whose_loss_is_not_finite_ends_at_once():
    calls = []

    def overflow(params):
        calls.append(1)
        return (params["w"] * params["w"]).sum().exp()

    found = Restarts(seeds=1)(surface(overflow, at(0.0), rate=1e3, reinitialize=lambda seed: at(2.0)))
    assert found.own_gain is None
    assert len(calls) < 300 + 60  # the run with Adam, and the first eighth of the other


def test_without_new_weights_or_held_out_batches_there_is_no_restart():
    assert Restarts()(surface(bowl, at(1.0))) is None
    assert Restarts()(replace(surface(bowl, at(3.0), reinitialize=lambda seed: at(0.0)), held_out=None)) is None
    assert cost_of(Restarts(), surface(bowl, at(1.0))) == 0


def test_no_restart_changes_the_weights_or_the_random_state():
    here, state = at(3.0, 4.0), torch.get_rng_state()
    known = surface(bowl, here, reinitialize=lambda seed: here, anchors={"initial": here})
    assert Restarts(steps=5)(known) == Restarts(steps=5)(known)
    assert here["w"].tolist() == [3.0, 4.0]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("seeds", "steps"), [(0, 300), (2, 0)])
def test_bad_settings_are_refused_at_construction(seeds, steps):
    with pytest.raises(ValueError, match=f"at least 1, got {seeds} and {steps}"):
        Restarts(seeds=seeds, steps=steps)


SETTLED = {"reinitialize": lambda seed: at(3.0), "anchors": {"initial": at(3.0)}}


def counted(budget: int | None, kept: dict[str, Any] | None = None, held_out: int = 6):
    """Return the reading at a minimum of the loss with this budget, the gradients that it took, and the steps."""
    forward, steps = [], []

    def loss(params):
        forward.append(params["w"].requires_grad)
        return bowl(params)

    def optimizer(factor):
        return lambda point, gradient: steps.append(factor) or descend(0.05)(factor)(point, gradient)

    known = SETTLED | {"fresh_optimizer": optimizer, "optimizer_copy": optimizer}
    on = surface(loss, at(0.0), **known, held_out_losses=(loss,) * held_out, held_out_batches=held_out, kept=kept)
    on = on.with_budget(budget)
    price = cost_of(Restarts(), on)
    found = Restarts()(on)
    work = sum(1.0 if gradient else 1 / 3 for gradient in forward)
    assert work <= price + 1e-6
    assert budget is None or work <= max(budget, price) + 1e-6
    return found, work, steps


def test_within_200_gradients_both_the_new_and_the_initial_weights_are_run_long_enough():
    found, work, _ = counted(200)
    assert work <= 200
    assert found.own.steps >= 100
    assert found.tenth.steps >= 60


def test_the_price_is_kept_at_every_budget():
    for budget in (60, 110, 150, 250, 500, 1500):
        assert counted(budget)[1] <= budget
        assert counted(budget, {})[1] <= budget


def test_a_run_that_the_budget_does_not_cover_goes_on_at_the_next_diagnosis():
    kept: dict[str, Any] = {}
    first, _, steps = counted(60, kept)
    assert first is None
    assert 40 <= len(steps) < 60
    second, _, more = counted(60, kept)
    assert second.own.steps == len(steps) + len(more) - more.count(0.1) == 100
    whole, _, _ = counted(130)
    assert second.own_gain == pytest.approx(whole.own_gain, abs=1e-3)


def test_results_of_earlier_diagnoses_are_not_measured_again():
    kept: dict[str, Any] = {}
    first, _, _ = counted(200, kept)
    second, _, steps = counted(200, kept)
    assert second.tenth == first.tenth
    assert steps.count(0.1) == 0
    assert (first.own.seeds, second.own.seeds) == (1, 2)  # what is left of the budget goes to other new weights


def test_without_anything_kept_a_run_is_begun_only_if_the_budget_covers_it():
    _, work, steps = counted(60)
    assert steps == []
    assert work <= 6


def test_what_is_kept_consists_of_builtins_and_tensors_and_survives_a_checkpoint(tmp_path):
    kept: dict[str, Any] = {}
    counted(60, kept)
    torch.save(kept, tmp_path / "kept.pt")
    loaded = torch.load(tmp_path / "kept.pt", weights_only=True)
    assert counted(60, loaded)[0] == counted(60, kept)[0]


def test_kept_weights_of_another_model_are_not_used():
    kept: dict[str, Any] = {}
    counted(60, kept)
    kept["restarts"]["course"]["point"] = {"other": torch.zeros(1)}
    assert counted(200, kept)[0].own.steps >= 100


def test_the_reading_survives_its_conversion_to_builtins():
    found = Restarts(seeds=1)(surface(two_valleys, at(-1.0352), **SETTLED))
    assert Evidence.from_dict(Evidence(found).to_dict()).get(Restart) == found
    assert not math.isnan(found.gain)
