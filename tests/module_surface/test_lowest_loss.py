"""The lowest loss that a loss function allows, with free outputs: 0, a constant, an entropy, or none."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_landscape.module_surface.lowest_loss import EVALUATIONS
from lightning_landscape.probes import loss_floor
from tests.module_surface.test_outputs import Step, probed


def lowest(loss, width=3, **layers):
    torch.manual_seed(0)
    layers = layers or {"net": nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, width))}
    return probed(loss_floor, Step(lambda self, x, y: loss(self.net(x), x, y), **layers)).lowest


CROSS_ENTROPY = (lambda out, x, y: functional.cross_entropy(out, y), 3)
SQUARES = (lambda out, x, y: functional.mse_loss(out, x.sin()[:, :1]), 1)
ABSOLUTE = (lambda out, x, y: functional.l1_loss(out, 10 * x[:, :1]), 1)
BINARY = (lambda out, x, y: functional.binary_cross_entropy_with_logits(out[:, 0], (y > 1).float()), 1)


@pytest.mark.parametrize("loss", [CROSS_ENTROPY, SQUARES, ABSOLUTE, BINARY], ids=["ce", "mse", "l1", "bce"])
def test_it_is_0_for_losses_that_can_be_0_and_the_constant_with_a_constant(loss):
    function, width = loss
    assert lowest(function, width) == 0
    assert lowest(lambda *args: function(*args) + 500.0, width) == pytest.approx(500.0, abs=0.5)
    assert lowest(lambda *args: function(*args) - 500.0, width) == pytest.approx(-500.0, abs=0.5)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_the_unit_of_the_loss_does_not_matter(factor):
    found = lowest(lambda out, x, y: factor * (functional.mse_loss(out, x[:, :1]) + 3.0), 1)
    assert found == pytest.approx(3.0 * factor, rel=1e-2)


def test_smoothed_labels_leave_their_entropy():
    found = lowest(lambda out, x, y: functional.cross_entropy(out, y, label_smoothing=0.3))
    assert found == pytest.approx(-0.8 * math.log(0.8) - 0.2 * math.log(0.1), rel=1e-2)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_smoothed_labels_leave_their_entropy_however_far_off_the_outputs_are(reduction):
    far_off = nn.Linear(4, 3)
    nn.init.constant_(far_off.bias, 50.0)
    nn.init.normal_(far_off.weight, std=100.0)
    smoothed = {"label_smoothing": 0.3, "reduction": reduction}
    found = lowest(lambda out, x, y: functional.cross_entropy(out, y, **smoothed).mean(), net=far_off)
    assert found == pytest.approx(-0.8 * math.log(0.8) - 0.2 * math.log(0.1), rel=1e-4)


def test_outputs_that_begin_tiny_get_to_targets_that_are_not():
    layers = {"net": nn.Linear(4, 1, bias=False)}
    nn.init.constant_(layers["net"].weight, 1e-6)
    assert lowest(lambda out, x, y: functional.mse_loss(out, 100 * x[:, :1]), **layers) == 0


def test_a_likelihood_with_a_free_variance_has_no_lowest_loss():
    likelihood = nn.GaussianNLLLoss(eps=1e-30)
    assert lowest(lambda out, x, y: likelihood(out[:, :1], x[:, :1], out[:, 1:].exp()), 2) == -math.inf


def test_outputs_that_cannot_reach_the_targets_do_not_raise_the_lowest_value_of_a_loss_function():
    """The loss function can be 0; that the network cannot get there is what a verdict may have to say."""
    dead = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    nn.init.constant_(dead[0].bias, -100.0)
    for offset in (0.0, 500.0):
        found = lowest(lambda out, x, y, offset=offset: functional.cross_entropy(out, y) + offset, net=dead)
        assert found == pytest.approx(offset, abs=1e-3)


def test_the_lowest_value_of_a_sum_is_that_of_its_parts():
    def loss(out, x, y):
        return functional.mse_loss(out[:, :1], x[:, :1]).sqrt() + (out[:, 1:] - 3.0).square().mean() + 2.0

    assert lowest(loss, 2) == pytest.approx(2.0, abs=0.2)  # the search leaves up to 2% of a fall of about 10


def test_a_penalty_on_the_weights_belongs_to_the_lowest_loss():
    net = nn.Linear(4, 1)
    penalty = float(net.weight.detach().square().sum())
    step = Step(lambda self, x, y: functional.mse_loss(self.net(x), x[:, :1]) + self.net.weight.square().sum(), net=net)
    assert probed(loss_floor, step).lowest == pytest.approx(penalty, rel=1e-3)


def test_a_loss_of_the_weights_alone_has_none():
    step = Step(lambda self, x, y: self.net.weight.square().sum(), net=nn.Linear(4, 1))
    assert probed(loss_floor, step).lowest is None


def test_it_is_not_looked_for_where_it_is_known():
    step = Step(lambda self, x, y: self.net(x).square().mean(), net=nn.Linear(4, 1))
    assert probed(lambda surface: loss_floor(surface.with_floor(0.0)) or 0, step) == 0
    assert probed(lambda surface: loss_floor.cost(surface), step) == (EVALUATIONS + 1) / 3


def test_the_search_leaves_no_trace():
    def trained(probe):
        torch.manual_seed(0)
        step = Step(lambda self, x, y: functional.cross_entropy(self.net(x), y), net=nn.Linear(4, 3))
        probed(probe, step)
        return torch.cat([weight.flatten() for weight in step.parameters()]), torch.rand(1)

    for before, after in zip(trained(lambda surface: 0), trained(loss_floor), strict=True):
        assert torch.equal(before, after)
