"""Which weights training reaches, on optimizers whose gradients are known by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightning_landscape.trainer.lightning_host import LightningHost
from lightning_landscape.trainer.optimizer_coverage import left_by_decay, optimizer_coverage


def rest(optimizer, gradient, weights=(3.0, -4.0), **settings):
    """What the decay leaves of this gradient at these weights."""
    parameter = nn.Parameter(torch.tensor(weights))
    parameter.grad = torch.tensor(gradient)
    return left_by_decay([optimizer([parameter], lr=0.1, **settings)])


@pytest.mark.parametrize(
    ("gradient", "left"),
    [((-0.3, 0.4), 0.0), ((0.3, -0.4), 2.0), ((0.4, 0.3), 2**0.5), ((-0.6, 0.8), 0.5), ((-300.0, 400.0), 0.999)],
    ids=["against the decay", "along it", "across it", "twice as large", "far larger"],
)
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_a_decay_cancels_the_gradient_that_points_the_other_way_and_is_as_large(optimizer, gradient, left):
    assert rest(optimizer, gradient, weight_decay=0.1) == pytest.approx(left, abs=1e-6)


def test_an_optimizer_that_maximizes_turns_the_gradient_and_not_the_decay():
    assert rest(torch.optim.SGD, (0.3, -0.4), weight_decay=0.1, maximize=True) == pytest.approx(0.0, abs=1e-6)


def test_a_decay_beside_the_step_is_held_against_a_step_of_1_for_each_weight():
    assert rest(torch.optim.AdamW, (-7.0, 0.01), (2.0, -2.0), weight_decay=0.5) == 0.0
    assert rest(torch.optim.AdamW, (7.0, -0.01), (2.0, -2.0), weight_decay=0.5) == 2.0


def test_adamw_that_has_come_to_rest_against_its_decay_leaves_nothing():
    # The gradient drives the weights far away, and the decay stops them at 1/0.5.
    parameter = nn.Parameter(torch.tensor([1.0, 1.0]))
    optimizer = torch.optim.AdamW([parameter], lr=0.02, betas=(0.9, 0.99), weight_decay=0.5)
    for _ in range(2000):
        optimizer.zero_grad()
        ((parameter - torch.tensor([100.0, -50.0])) ** 2).sum().backward()
        optimizer.step()
    assert parameter.tolist() == pytest.approx([2.0, -2.0], rel=1e-3)
    assert left_by_decay([optimizer]) < 0.01


def test_without_a_decay_or_a_gradient_there_is_nothing_to_leave():
    assert rest(torch.optim.SGD, (0.3, -0.4)) is None
    assert rest(torch.optim.SGD, (0.0, 0.0), weight_decay=0.1) is None
    assert left_by_decay([torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1, weight_decay=0.1)]) is None
    assert left_by_decay([]) is None


def test_weights_that_no_optimizer_holds_count_as_a_fault_where_a_gradient_reaches_them():
    net, teacher, frozen = nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1).requires_grad_(requires_grad=False)
    module, trainer = nn.ModuleList([net, teacher, frozen]), SimpleNamespace(optimizers=[])
    assert (
        optimizer_coverage(LightningHost(trainer, module)).outside_optimizers == 0.0
    )  # it steps where that cannot be seen
    trainer.optimizers.append(torch.optim.SGD([net.weight], lr=0.1))
    (net(torch.ones(1, 1)) - teacher(torch.ones(1, 1)).detach()).sum().backward()
    reach = optimizer_coverage(LightningHost(trainer, module))
    assert (reach.outside_optimizers, reach.not_in_optimizer) == (0.75, 0.25)
    assert reach.frozen == pytest.approx(1 / 3)
