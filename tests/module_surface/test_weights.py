"""One copy of the weights serves all evaluations and is lent to trials; those of the run are never touched."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from lightning_landscape.errors import SurfaceError
from lightning_landscape.module_surface.weights import Weights, _all_finite
from lightning_landscape.surface import LARGE_WEIGHTS, LossSurface, RunContext


class WithFrozen(nn.Module):
    """One trainable and one frozen layer."""

    def __init__(self):
        super().__init__()
        self.trained, self.frozen = nn.Linear(3, 2), nn.Linear(2, 2)
        self.frozen.weight.requires_grad = self.frozen.bias.requires_grad = False


@pytest.fixture
def module():
    torch.manual_seed(0)
    return WithFrozen()


def addresses(module):
    return {name: parameter.data_ptr() for name, parameter in module.named_parameters()}


def values(module):
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_a_lent_copy_is_moved_in_place_and_has_the_present_values_again_afterwards(module):
    before, weights = values(module), Weights(module)
    for _ in range(2):
        with weights.lent() as point:
            assert equal(point, {name: before[name] for name in point})
            for weight in point.values():
                weight.add_(1.0)
            weights.set_to(point)
            assert equal(values(module), {name: w + (name in point) for name, w in before.items()})
        weights.rest()
        assert equal(values(module), before)
    weights.restore()
    assert equal(values(module), before)


def test_the_present_point_takes_no_memory_but_an_evaluation_there_cannot_write_to_it(module):
    own, weights = addresses(module), Weights(module)
    here = weights.present_point
    assert {name: weight.data_ptr() for name, weight in here.items()} == {name: own[name] for name in here}
    for point in (here, {}, {name: weight.detach().requires_grad_() for name, weight in here.items()}):
        weights.set_to(point)
        assert set(addresses(module).values()).isdisjoint(own.values())
    weights.restore()
    assert addresses(module) == own


def test_the_present_point_has_its_values_while_the_copy_is_lent(module):
    before, weights = values(module), Weights(module)
    here = weights.present_point
    with weights.lent() as point:
        point["trained.weight"].fill_(9.0)
        for present in (here, {}):
            weights.set_to(present)
            assert equal(values(module), before)
        with weights.lent() as second:
            second["trained.weight"].fill_(5.0)
            assert float(point["trained.weight"].max()) == 9.0


def test_a_lent_copy_is_restored_after_an_error(module):
    before, weights = values(module), Weights(module)

    def fails():
        with weights.lent() as point:
            point["trained.bias"].fill_(9.0)
            raise SurfaceError("no more")

    with pytest.raises(SurfaceError, match="no more"):
        fails()
    weights.rest()
    assert equal(values(module), before)


def test_weights_that_a_step_writes_are_found_without_a_further_copy(module):
    before, weights = values(module), Weights(module)
    doubled = weights.doubled_point({})
    assert {name: doubled[name].data_ptr() for name in doubled} == {n: weights.copies[n].data_ptr() for n in doubled}
    weights.set_to(doubled)
    module.trained.weight.data.clamp_(-0.1, 0.1)
    module.frozen.bias.data.add_(1.0)
    weights.record_writes(doubled, {})
    assert weights.written_by_step == {"trained.weight", "frozen.bias"}
    weights.set_to({})
    module.trained.weight.data.zero_()  # writes to a copy of its own from now on
    weights.set_to({})
    assert equal(values(module), before)


def test_a_surface_without_a_module_lends_copies_that_begin_at_any_point():
    here = {"x": torch.tensor([1.0, 2.0])}
    surface = LossSurface(lambda at: at["x"].sum(), here, anchors={"initial": {"x": torch.tensor([5.0, 6.0])}})
    with surface.working_copy() as point:
        point["x"].zero_()
    with surface.at_anchor("initial") as initial:
        assert initial["x"].tolist() == [5.0, 6.0]
        initial["x"].zero_()
    assert here["x"].tolist() == [1.0, 2.0]
    assert surface.anchors["initial"]["x"].tolist() == [5.0, 6.0]


@pytest.mark.parametrize(
    ("size", "state", "large", "room"),
    [(100, 0, False, True), (LARGE_WEIGHTS, 0, True, False), (LARGE_WEIGHTS, 2 * LARGE_WEIGHTS + 8, True, True)],
)
def test_adam_is_tried_on_large_weights_only_if_the_optimizer_has_as_large_a_state(size, state, large, room):
    here = {"x": torch.empty(size // 4 + 1, device="meta")}
    surface = LossSurface(lambda at: at["x"].sum(), here, run=RunContext(optimizer_bytes=state))
    assert (surface.large, surface.has_room_for_adam) == (large, room)


@pytest.mark.parametrize(
    ("values", "finite"),
    [([1.0, -2.0], True), ([3e38, 3e38], True), ([1.0, math.nan], False), ([math.inf, -math.inf], False), ([], True)],
)
def test_weights_are_finite_though_their_sum_overflows(values, finite):
    assert _all_finite([torch.zeros(2), torch.tensor(values)]) is finite
