"""Dead and saturated units of layers with given outputs."""

import pytest
import torch

from lightning_landscape.observations import Activation
from lightning_landscape.probes.activity import BOUNDS, RECTIFIERS, activity
from lightning_landscape.surface import LossSurface, RunContext

# Four samples of four units: the first two units are dead, the third fires once, the fourth always.
HALF_DEAD = [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]


def activity_of(**layers):
    outputs = {name: Activation(kind, torch.tensor(values)) for name, (kind, values) in layers.items()}
    return activity(
        LossSurface(loss=lambda p: p["w"], here={"w": torch.zeros(())}, run=RunContext(activations=lambda _: outputs))
    )


@pytest.mark.parametrize("kind", RECTIFIERS)
def test_a_unit_is_dead_when_it_is_zero_on_every_sample(kind):
    reading = activity_of(relu=(kind, HALF_DEAD))
    assert (reading.dead, reading.dead_layer) == (0.5, "relu")
    assert (reading.saturated, reading.saturated_layer) == (0.0, None)
    assert (reading.layers, reading.samples) == (1, 4)


@pytest.mark.parametrize("value", [1e-30, -1e-30, torch.nan, torch.inf])
def test_a_unit_that_is_not_exactly_zero_is_alive(value):
    assert activity_of(relu=("ReLU", [[0.0], [value]])).dead == 0


@pytest.mark.parametrize("kind", BOUNDS)
def test_values_within_1_percent_of_the_range_from_a_bound_are_saturated(kind):
    low, high = BOUNDS[kind]
    reach = 0.01 * (high - low)
    values = [low, low + 0.99 * reach, low + 1.01 * reach, (low + high) / 2, high - 1.01 * reach, high]
    reading = activity_of(layer=(kind, [values]))
    assert reading.saturated == pytest.approx(3 / 6)
    assert (reading.saturated_layer, reading.dead_layer) == ("layer", None)


def test_a_bounded_layer_that_is_zero_is_not_dead_and_a_rectifier_at_6_is_not_saturated():
    reading = activity_of(tanh=("Tanh", [[0.0, 0.0]]), relu6=("ReLU6", [[6.0, 6.0]]))
    assert (reading.dead, reading.saturated) == (0.0, 0.0)


def test_the_layer_with_the_largest_share_is_named_for_dead_and_for_saturated_units():
    reading = activity_of(
        alive=("ReLU", [[1.0, 1.0]]),
        dead=("ReLU", [[0.0, 1.0]]),
        calm=("Tanh", [[0.5, 0.5]]),
        wild=("Sigmoid", [[1.0, 1.0]]),
    )
    assert (reading.dead, reading.dead_layer) == (0.5, "dead")
    assert (reading.saturated, reading.saturated_layer) == (1.0, "wild")
    assert reading.layers == 4


def test_nan_does_not_count_as_saturated():
    assert activity_of(tanh=("Tanh", [[torch.nan, 1.0]])).saturated == 0.5


@pytest.mark.parametrize("kind", ["LeakyReLU", "GELU", "Softplus", "MyOwn"])
def test_activations_that_can_be_neither_dead_nor_saturated_are_ignored(kind):
    assert activity_of(layer=(kind, [[0.0, 0.0]])) is None


def test_without_activation_layers_there_is_no_reading():
    assert activity_of() is None
    assert activity(LossSurface(loss=lambda p: p["w"], here={"w": torch.zeros(())})) is None


def test_activations_are_evaluated_at_the_present_weights():
    here = {"w": torch.tensor(3.0)}

    def at_here(params):
        assert params is here
        return {"relu": Activation("ReLU", torch.zeros(1, 1))}

    assert activity(LossSurface(loss=lambda p: p["w"], here=here, run=RunContext(activations=at_here))).dead == 1
