"""The shares of parameters that training does not change, for gradients that are known by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightning_landscape.trainer.lightning_host import LightningHost
from lightning_landscape.trainer.optimizer_coverage import left_by_decay, optimizer_coverage


def left(optimizer, gradient, weights=(3.0, -4.0), **settings):
    """Return the share of this gradient that the decay leaves at these weights."""
    parameter = nn.Parameter(torch.tensor(weights))
    parameter.grad = torch.tensor(gradient)
    return left_by_decay([optimizer([parameter], lr=0.1, **settings)])


@pytest.mark.parametrize(
    ("gradient", "share"),
    [((-0.3, 0.4), 0.0), ((0.3, -0.4), 2.0), ((0.4, 0.3), 2**0.5), ((-0.6, 0.8), 0.5), ((-300.0, 400.0), 0.999)],
    ids=["against the decay", "along it", "across it", "twice as large", "far larger"],
)
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
def test_the_decay_cancels_an_opposite_gradient_of_equal_size(optimizer, gradient, share):
    assert left(optimizer, gradient, weight_decay=0.1) == pytest.approx(share, abs=1e-6)


def test_an_optimizer_that_maximizes_reverses_the_gradient_and_not_the_decay():
    assert left(torch.optim.SGD, (0.3, -0.4), weight_decay=0.1, maximize=True) == pytest.approx(0.0, abs=1e-6)


def test_a_decoupled_decay_is_compared_with_a_step_of_1_for_each_weight():
    assert left(torch.optim.AdamW, (-7.0, 0.01), (2.0, -2.0), weight_decay=0.5) == 0.0
    assert left(torch.optim.AdamW, (7.0, -0.01), (2.0, -2.0), weight_decay=0.5) == 2.0


def test_nothing_is_left_of_the_gradient_where_adamw_and_its_decay_cancel_out():
    # The gradient increases the weights without a limit, and the decay stops them at 1/0.5.
    parameter = nn.Parameter(torch.tensor([1.0, 1.0]))
    optimizer = torch.optim.AdamW([parameter], lr=0.02, betas=(0.9, 0.99), weight_decay=0.5)
    for _ in range(2000):
        optimizer.zero_grad()
        ((parameter - torch.tensor([100.0, -50.0])) ** 2).sum().backward()
        optimizer.step()
    assert parameter.tolist() == pytest.approx([2.0, -2.0], rel=1e-3)
    assert left_by_decay([optimizer]) < 0.01


def test_without_a_decay_or_a_gradient_the_share_is_none():
    assert left(torch.optim.SGD, (0.3, -0.4)) is None
    assert left(torch.optim.SGD, (0.0, 0.0), weight_decay=0.1) is None
    assert left_by_decay([torch.optim.SGD([nn.Parameter(torch.ones(2))], lr=0.1, weight_decay=0.1)]) is None
    assert left_by_decay([]) is None


def test_parameters_outside_optimizers_count_separately_if_they_have_a_gradient():
    net, teacher, frozen = nn.Linear(1, 1), nn.Linear(1, 1), nn.Linear(1, 1).requires_grad_(requires_grad=False)
    module, trainer = nn.ModuleList([net, teacher, frozen]), SimpleNamespace(optimizers=[])
    assert optimizer_coverage(LightningHost(trainer, module)).outside_optimizers == 0.0  # no optimizer is known
    trainer.optimizers.append(torch.optim.SGD([net.weight], lr=0.1))
    (net(torch.ones(1, 1)) - teacher(torch.ones(1, 1)).detach()).sum().backward()
    coverage = optimizer_coverage(LightningHost(trainer, module))
    assert (coverage.outside_optimizers, coverage.not_in_optimizer) == (0.75, 0.25)
    assert coverage.frozen == pytest.approx(1 / 3)
