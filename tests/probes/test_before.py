"""The best weights and the present ones on the same batches, on losses in closed form."""

from dataclasses import replace

import pytest
import torch

from lightning_landscape.observations import Activation
from lightning_landscape.probes import before_and_after
from lightning_landscape.surface import LossSurface, RunContext, mean


def surface(here, anchors, batches=(0.0,), **run):
    """Return the surface of |w - b| over batches b."""
    losses = tuple(lambda p, b=b: (p["net.w"] - b).abs().sum() for b in batches)
    points = {name: {"net.w": torch.tensor(value)} for name, value in anchors.items()}
    return LossSurface(
        lambda p: mean([loss(p) for loss in losses]),
        {"net.w": torch.tensor(here)},
        anchors=points,
        batch_losses=losses,
        run=RunContext(**run),
    )


def test_nothing_is_compared_without_the_best_weights():
    assert before_and_after(surface([1.0], {"initial": [2.0]})) is None


def test_losses_are_those_of_the_same_batches_and_their_difference_has_an_error():
    reading = before_and_after(surface([4.0], {"initial": [3.0], "best": [1.0]}, batches=(0.0, 2.0)))
    assert (reading.now, reading.best, reading.start) == (3.0, 1.0, 2.0)
    assert (reading.lost, reading.lost_share, reading.batches) == (2.0, 2.0, 2)
    assert reading.error == pytest.approx(1.0)  # the differences are 3 and 1
    assert reading.moved == 3.0


def test_a_constant_in_the_loss_does_not_change_the_share_that_is_lost():
    shifted = surface([4.0], {"initial": [5.0], "best": [1.0]})
    assert before_and_after(shifted).lost_share == pytest.approx(0.75)


def test_beside_frozen_weights_of_now_the_best_weights_may_do_no_better_as_with_a_target_network():
    def loss(point):  # the distance of the network's value from that of its frozen target network
        return (point["net.w"] - point.get("target.w", torch.tensor([9.0]))).abs().sum()

    frozen = surface([5.0], {"best": [1.0]}, frozen_since=lambda name: {"target.w": torch.tensor([1.0])})
    reading = before_and_after(replace(frozen, loss=loss, batch_losses=(loss,)))
    assert (reading.now, reading.best, reading.best_beside_frozen) == (4.0, 0.0, 8.0)
    assert reading.changed_around
    assert not before_and_after(surface([5.0], {"best": [1.0]})).changed_around


def test_norms_are_those_of_the_groups():
    reading = before_and_after(surface([3.0, 4.0], {"initial": [0.0, 2.0], "best": [0.0, 1.0]}))
    assert (reading.norms, reading.norms_at_best, reading.norms_at_start) == ({"net": 5.0}, {"net": 1.0}, {"net": 2.0})


def test_the_layer_that_died_since_the_best_weights_is_named_with_its_shares():
    def activations(point):
        dead = float(point["net.w"].sum()) > 2
        living, died = [[1.0, 1.0]], [[0.0, 0.0 if dead else 1.0]]
        return {name: Activation("ReLU", torch.tensor(rows)) for name, rows in (("a", living), ("b", died))}

    reading = before_and_after(surface([4.0], {"best": [1.0]}, activations=activations))
    assert (reading.dead_layer, reading.dead, reading.dead_at_best) == ("b", 1.0, 0.5)
    healthy = before_and_after(surface([2.0], {"best": [1.0]}, activations=activations))
    assert healthy.dead_layer is None


def test_activations_are_not_compared_if_the_best_weights_are_not_better():
    def activations(point):
        raise AssertionError("too expensive")

    assert before_and_after(surface([1.0], {"best": [4.0]}, activations=activations)).dead_layer is None


def test_the_price_covers_every_evaluation():
    calls = []
    counted = surface([4.0], {"initial": [3.0], "best": [1.0]}, batches=range(10))
    losses = tuple(lambda p, loss=loss: (calls.append(1), loss(p))[1] for loss in counted.batch_losses)
    before_and_after(LossSurface(counted.loss, counted.here, counted.anchors, batch_losses=losses))
    assert len(calls) / 3 <= before_and_after.cost(counted)
