"""Trials on a copy of the weights, on surfaces whose results are known in closed form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook as after_every_step
from torch.optim.optimizer import register_optimizer_step_pre_hook as before_every_step

from lightning_landscape.diagnosis.advice import trials_sentence
from lightning_landscape.evidence import Evidence, InputUse
from lightning_landscape.probes.symmetry import duplicate_share, symmetry
from lightning_landscape.probes.trials import (
    ADAM_LEARNING_RATE,
    CopyTrials,
    adam,
    input_use,
    run_trial,
    starting_point,
)
from lightning_landscape.surface import LossSurface, Pairing, Roles, RunContext, cost_of


def at(*values: float) -> dict[str, Tensor]:
    return {"w": torch.tensor(values)}


def surface(loss, here, **known) -> LossSurface:
    """A surface with the same loss on all batches; arguments that are no field of it go to its `RunContext`."""
    own = {name: known.pop(name) for name in ("batch_losses", "pairing", "anchors") if name in known}
    return LossSurface(loss, here, held_out=loss, **own, run=RunContext(**known))


def bowl(params) -> Tensor:
    return 0.5 * (params["w"] ** 2).sum()


def by_torch(optimizer, loss, here, steps: int) -> float:
    """The gain of an optimizer of torch on a parameter of its own."""
    leaf = torch.nn.Parameter(here["w"].clone())
    stepper = optimizer([leaf])
    before = float(loss({"w": leaf}).detach())
    for _ in range(steps):
        stepper.zero_grad()
        loss({"w": leaf}).backward()
        stepper.step()
    return (before - float(loss({"w": leaf}).detach())) / abs(before)


def test_on_a_bowl_the_line_search_takes_its_longest_step_and_adam_gains_what_torch_gains():
    found = CopyTrials(steps=40)(surface(bowl, at(3.0, 4.0), samples=7))
    assert found.gains["line search"] == pytest.approx(1 - 0.7**2, rel=1e-5)  # 30% of the weights' norm
    expected = by_torch(lambda p: torch.optim.Adam(p, lr=ADAM_LEARNING_RATE), bowl, at(3.0, 4.0), 40)
    assert found.gains["adam"] == pytest.approx(expected, rel=1e-4)
    assert found.relative_gradient == pytest.approx(5 * 5 / 12.5)
    assert (found.steps, found.samples, found.decay_pull) == (40, 7, 0.0)
    assert found.gains.keys() == {"adam", "line search"}


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_adam_decays_the_weights_like_the_optimizer_of_the_run(kind, decay):
    found = CopyTrials(steps=30)(
        surface(bowl, at(0.3, -2.0), weight_decay=decay, decoupled_decay=kind is torch.optim.AdamW)
    )
    expected = by_torch(lambda p: kind(p, lr=ADAM_LEARNING_RATE, weight_decay=decay), bowl, at(0.3, -2.0), 30)
    assert found.gains["adam"] == pytest.approx(expected, rel=1e-4)


def test_from_an_exact_saddle_no_trial_gains_anything():
    found = CopyTrials()(surface(lambda p: 2 + p["w"][0] ** 2 - p["w"][1] ** 2, at(0.0, 0.0)))
    assert set(found.gains.values()) == {0.0}
    assert found.relative_gradient == found.best == 0.0


def test_beside_a_saddle_adam_lowers_the_loss():
    found = CopyTrials()(surface(lambda p: 1 + p["w"][0] ** 2 - p["w"][1] ** 2, at(0.0, 1e-3)))
    assert found.gains["adam"] > 0.15
    assert found.relative_gradient == pytest.approx(2e-3, rel=1e-3)


def test_on_a_flat_surface_nothing_is_gained():
    found = CopyTrials()(surface(lambda p: 3 + 0 * p["w"].sum(), at(1.0, 2.0), weight_decay=0.1))
    assert set(found.gains.values()) == {0.0}
    assert found.decay_pull == 0.0


def test_at_the_bottom_of_a_bowl_a_line_search_gains_nothing():
    found = CopyTrials()(surface(lambda p: 1 + bowl(p), at(1e-4, 0.0)))
    assert found.gains["line search"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("decay", [0.01, 0.5])
def test_in_balance_with_the_weight_decay_the_pull_is_1_and_adam_gains_nothing(decay):
    balance = at(1 / (1 + decay))  # (w - 1) + λw = 0
    found = CopyTrials()(surface(lambda p: 1 + 0.5 * (p["w"][0] - 1) ** 2, balance, weight_decay=decay))
    assert found.decay_pull == pytest.approx(1.0, rel=1e-4)
    assert found.gains["adam"] == pytest.approx(0.0, abs=1e-3)  # Adam enlarges rounding errors


def test_a_decoupled_decay_is_compared_with_steps_of_about_1_for_each_weight():
    found = CopyTrials()(surface(bowl, at(3.0, 4.0), weight_decay=0.1, decoupled_decay=True))
    assert found.decay_pull == pytest.approx(0.1 * 5 / math.sqrt(2))


def test_gains_are_those_on_the_held_out_batches():
    def held_out(params):
        return 1 + 0.5 * ((params["w"] - 3) ** 2).sum()

    found = CopyTrials()(LossSurface(bowl, at(3.0), held_out=held_out))
    assert found.gains["adam"] < 0
    assert found.gains["line search"] < 0
    assert found.best == 0.0


def test_without_held_out_batches_there_is_no_reading():
    assert CopyTrials()(LossSurface(bowl, at(3.0))) is None


def test_a_trial_takes_the_batches_in_turn():
    seen = []

    def batch_loss(name):
        def loss(params):
            seen.append(name)
            return bowl(params)

        return loss

    CopyTrials(steps=5)(surface(bowl, at(1.0), batch_losses=(batch_loss("a"), batch_loss("b"))))
    assert seen == ["a", "b", "a", "b", "a"]


@pytest.mark.parametrize(("constant", "sign"), [(-100.0, 1), (0.0, 0), (100.0, 1)])
def test_a_loss_may_be_negative_or_zero(constant, sign):
    here = at(3.0) if constant else at(0.0)
    found = CopyTrials()(surface(lambda p: constant + bowl(p), here))
    assert math.copysign(1, found.gains["line search"]) * (found.gains["line search"] != 0) == sign
    assert found.relative_gradient > 0
    assert math.isinf(found.relative_gradient) is (constant == 0)


def descend(rate):
    """Plain gradient descent as the optimizer of the run."""

    def optimizer_copy(factor):
        def step(point, gradient):
            for weight, slope in zip(point.values(), gradient, strict=True):
                weight -= factor * rate * slope

        return step

    return optimizer_copy


def test_the_runs_own_optimizer_is_tried_at_three_rates_and_the_mean_of_its_points_is_evaluated():
    # On a bowl, w ← (1 - rate) w.
    found = CopyTrials(steps=2)(surface(bowl, at(1.0), optimizer_copy=descend(0.05)))
    assert found.gains["this optimizer"] == pytest.approx(1 - 0.95**4)
    assert found.gains["learning rate x0.1"] == pytest.approx(1 - 0.995**4, rel=1e-4)
    assert found.gains["learning rate x10"] == pytest.approx(1 - 0.5**4)
    assert found.gains["mean of the path"] == pytest.approx(1 - ((0.95 + 0.95**2) / 2) ** 2)


@pytest.mark.parametrize(
    ("rate", "tried"),
    [
        (
            0.1,
            {"learning rate x0.1", "learning rate x10"},
        ),  # ten times is best
        (1e-5, {"learning rate x0.1", "learning rate x10", "learning rate x100", "learning rate x1000"}),
        (1e-3, {"learning rate x0.1", "learning rate x10", "learning rate x100"}),
        (10.0, {"learning rate x0.1", "learning rate x10", "learning rate x0.01"}),
    ],
)
def test_rates_are_tried_outward_until_one_helps_or_breaks(rate, tried):
    found = CopyTrials(steps=40)(surface(bowl, at(1.0), optimizer_copy=descend(rate)))
    assert {name for name in found.gains if name.startswith("learning rate")} == tried


def test_further_rates_are_left_out_where_the_budget_does_not_cover_them():
    known = {"optimizer_copy": descend(1e-5), "gradient_budget": 4 * 40 + 10}
    found = CopyTrials(steps=40)(surface(bowl, at(1.0), **known))
    assert "learning rate x100" not in found.gains
    assert found.steps == 40
    assert cost_of(CopyTrials(steps=40), surface(bowl, at(1.0), **known)) <= 170


def test_the_mean_of_oscillating_steps_is_better_than_the_last_point():
    found = CopyTrials(steps=40)(surface(bowl, at(1.0), optimizer_copy=descend(1.99)))
    assert found.gains["mean of the path"] > 0.99
    assert found.gains["this optimizer"] < 0.6


def test_a_trial_whose_loss_is_not_finite_gains_less_than_any_other():
    found = CopyTrials()(surface(lambda p: 1 + p["w"].sqrt().sum(), at(0.5), optimizer_copy=descend(1.0)))
    assert found.gains["learning rate x10"] == -math.inf
    assert "ten times the learning rate makes the loss infinite or NaN" in trials_sentence(Evidence(found))
    downwards = CopyTrials()(
        surface(lambda p: p["w"].log().sum(), at(0.5), optimizer_copy=lambda f: lambda p, g: p["w"].zero_())
    )
    assert downwards.gains["this optimizer"] == -math.inf
    assert downwards.best < math.inf


def test_no_trial_changes_the_weights_or_the_random_state():
    here, state = at(3.0, 4.0), torch.get_rng_state()
    everything = surface(bowl, here, optimizer_copy=descend(0.1), reinitialize=lambda seed: here)
    assert CopyTrials()(everything) == CopyTrials()(everything)
    assert here["w"].tolist() == [3.0, 4.0]
    assert torch.equal(torch.get_rng_state(), state)


def test_trials_call_no_hooks_of_the_users_optimizers_and_leave_no_gradients_behind():
    def fail(*arguments):
        raise AssertionError("called")

    here, hooks = at(3.0, 4.0), [register(fail) for register in (before_every_step, after_every_step)]
    try:
        with run_trial(surface(bowl, here), adam(surface(bowl, here)), steps=2) as last:
            pass
    finally:
        for hook in hooks:
            hook.remove()
    assert last["w"].grad is here["w"].grad is None
    assert last["w"].requires_grad is here["w"].requires_grad is False


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: CopyTrials(steps=0), "at least 1, got 0"),
    ],
)
def test_bad_settings_are_refused_at_construction(settings, message):
    with pytest.raises(ValueError, match=message):
        settings()


def paired(*losses: tuple[float, float], targets: Any = (("y",),), vary: bool = True) -> InputUse | None:
    """The reading for batches with these losses: (with their own targets, with exchanged targets) pairs."""

    def constant(value):
        return lambda params: torch.tensor(value, dtype=torch.float64)

    own, mispaired = (tuple(map(constant, values)) for values in zip(*losses, strict=True))
    pairing = Pairing(own, lambda: Roles(targets, vary), lambda exchanged: mispaired if exchanged == targets else ())
    return input_use(LossSurface(bowl, at(1.0), pairing=pairing))


def test_a_loss_that_rises_with_other_targets_depends_on_the_inputs():
    use = paired((1.0, 2.0), (2.0, 4.0))
    assert (use.loss, use.shuffled, use.share, use.moved, use.unpaired) == (1.5, 3.0, 1.0, 2.0 / 1.5, False)
    assert paired((-2.0, -1.0)).share == 0.5
    assert paired((0.0, 1.0)).share == math.inf


@pytest.mark.parametrize("losses", [[(1.0, 1.0), (2.0, 2.0)], [(1.0, 2.0), (2.0, 1.0)], [(1.0, 1.0)], [(0.0, 0.0)]])
def test_without_a_rise_on_average_the_loss_does_not_depend_on_the_inputs(losses):
    use = paired(*losses)
    assert (use.share, use.unpaired) == (0.0, False)


def test_without_targets_nothing_is_exchanged_and_the_loss_depends_on_the_inputs_alone():
    use = paired((1.0, 5.0), (2.0, 5.0), targets=())
    assert (use.loss, use.shuffled, use.moved, use.unpaired, use.targets) == (1.5, 1.5, 0.0, True, ())


def test_the_reading_has_the_paths_of_the_targets_and_whether_inputs_vary():
    use = paired((1.0, 1.0), targets=((1, "y"), ("labels",)), vary=False)
    assert (use.targets, use.varied) == (("1.y", "labels"), False)


def test_without_pairing_or_with_losses_that_are_not_finite_there_is_no_reading():
    assert input_use(LossSurface(bowl, at(1.0))) is None
    assert paired((1.0, math.nan), (1.0, 2.0)) is None
    assert paired((math.inf, 1.0)) is None


def test_the_cost_is_a_forward_pass_for_each_entry_and_two_for_each_batch():
    pairing = Pairing((bowl, bowl), lambda: Roles(()), lambda targets: (), tries=4)
    assert cost_of(input_use, LossSurface(bowl, at(1.0), pairing=pairing)) == (4 + 2 * 2) / 3
    one_entry = replace(pairing, tries=0)
    assert cost_of(input_use, LossSurface(bowl, at(1.0), pairing=one_entry)) == 2 / 3
    assert cost_of(input_use, LossSurface(bowl, at(1.0))) == 0


def test_duplicates_are_equal_or_zero_rows_of_any_layer_but_the_last():
    start = {"a.weight": torch.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]), "a.bias": torch.zeros(4)}
    start |= {"b.weight": torch.zeros(3, 4)}
    grown = {name: torch.rand_like(weight) for name, weight in start.items()}
    found = symmetry(LossSurface(bowl, grown, anchors={"initial": start}))
    assert (found.share, found.layer) == (0.75, "a")
    assert symmetry(LossSurface(bowl, grown)).share == 0.0
    assert symmetry(LossSurface(bowl, at(1.0))) is None
    assert symmetry(LossSurface(bowl, {"only": torch.zeros(2, 2)})) is None


def test_convolution_filters_are_compared_as_a_whole():
    kernels = torch.zeros(3, 2, 2, 2)
    kernels[0, 1, 0, 0] = kernels[1, 0, 1, 1] = kernels[2, 1, 0, 0] = 1.0
    assert duplicate_share(kernels) == pytest.approx(2 / 3)


def test_the_starting_point_is_the_loss_of_the_initial_weights_on_the_same_batches():
    found = starting_point(surface(bowl, at(1.0), anchors={"initial": at(3.0)}))
    assert (found.loss, found.now) == (4.5, 0.5)
    assert starting_point(surface(bowl, at(1.0))) is None


def test_the_starting_point_includes_the_former_values_of_weights_that_are_frozen_now():
    def product(params):
        return (params["w"] * params.get("frozen", torch.tensor([7.0]))).sum()

    anchors, frozen = {"initial": at(3.0)}, {"frozen": torch.tensor([2.0])}
    found = starting_point(surface(product, at(1.0), anchors=anchors, frozen_since={"initial": frozen}.get))
    assert (found.loss, found.now) == (6.0, 7.0)
