"""`first_not_finite` on surfaces in closed form: with which weights it begins, and how far it goes."""

import math

import pytest
import torch

from lightning_landscape.evidence import NotFinite
from lightning_landscape.observations import StepEvaluation
from lightning_landscape.probes import first_not_finite
from lightning_landscape.surface import LossSurface, RunContext, cost_of

FOUND = NotFinite("forward", "log", inputs=(0.0,))


def surface(here, anchors=None, *, fails_below=0.0, batches=1, rate=0.5, seen=None, budget=None):
    """Return a surface with the loss w, whose step is not finite below a value of w; each call is entered in `seen`."""
    seen = [] if seen is None else seen

    def evaluate_step(point):
        seen.append(float(point["w"]))
        failed = not point["w"] >= fails_below
        return StepEvaluation((torch.ones(()),), finite=not failed, first=FOUND if failed else None)

    def optimizer_step(point, gradient):
        with torch.no_grad():
            point["w"] -= rate * gradient[0]

    def at(value):
        return {"w": torch.tensor(float(value))}

    evaluations = (evaluate_step,) * batches
    run = RunContext(step_evaluations=evaluations, optimizer_copy=lambda factor: optimizer_step, gradient_budget=budget)
    return LossSurface(
        lambda point: point["w"], at(here), {name: at(w) for name, w in (anchors or {}).items()}, run=run
    )


def test_finite_present_weights_are_evaluated_first():
    reading = first_not_finite(surface(-1.0, {"initial": 1.0, "step 30": 2.0}))
    assert (reading.operation, reading.step, reading.repeated) == ("log", None, 0)


def test_without_finite_present_weights_the_latest_finite_anchor_is_evaluated():
    anchors = {"step 0": 1.0, "step 30": -1.0, "step 60": math.nan}
    reading = first_not_finite(surface(math.nan, anchors))
    assert (reading.step, reading.repeated, reading.growth) == (30, 0, 1.0)


def test_from_there_optimizer_steps_are_repeated_until_a_value_is_not_finite():
    reading = first_not_finite(surface(math.nan, {"initial": 2.0}))
    assert (reading.step, reading.repeated) == (0, 5)  # 2, 1.5, 1, 0.5, 0 are finite, and -0.5 is not


def test_a_step_that_makes_the_weights_infinite_is_found():
    reading = first_not_finite(surface(math.nan, {"initial": 2.0}, fails_below=-math.inf, rate=math.inf))
    assert (reading.where, reading.repeated, reading.largest) == ("weights", 1, 2.0)


def test_where_all_values_are_finite_nothing_is_found_after_at_most_60_gradients():
    seen = []
    assert first_not_finite(surface(math.nan, {"initial": 1.0}, fails_below=-99.0, batches=32, seen=seen)) is None
    assert len(seen) == 56
    assert cost_of(first_not_finite, surface(1.0, batches=32)) <= 60


@pytest.mark.parametrize("budget", [2, 10, 30])
def test_a_small_budget_shortens_the_search(budget):
    seen = []
    examined = surface(math.nan, {"initial": 1.0}, fails_below=-99.0, batches=8, seen=seen, budget=budget)
    assert first_not_finite(examined) is None
    assert 1 <= len(seen) < budget
    assert cost_of(first_not_finite, examined) <= budget


def test_without_finite_weights_or_steps_to_evaluate_there_is_no_reading():
    assert first_not_finite(surface(math.nan, {"initial": math.inf})) is None
    without = LossSurface(lambda point: point["w"], {"w": torch.ones(())})
    assert first_not_finite(without) is None
    assert cost_of(first_not_finite, without) == 0


def test_the_weights_of_the_anchor_are_not_changed():
    examined = surface(math.nan, {"initial": 2.0})
    assert isinstance(first_not_finite(examined), NotFinite)
    assert float(examined.anchors["initial"]["w"]) == 2.0
