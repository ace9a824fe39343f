"""The finding of a loss with the wrong sign, on traced steps that have one and on steps whose minus is right."""

import pytest
import torch
import torch.nn.functional as F
from torch import distributions, nn

from lightning_landscape.diagnosis import found
from lightning_landscape.evidence import Evidence
from lightning_landscape.probes import wiring
from tests.module_surface.test_tracing import CLASSES, Stepped, X, findings, mlp, probed

FOUND = {"wrong-sign": "certain"}


def subtracted_in_place(module, inputs, labels):
    total = torch.zeros(())
    total -= F.cross_entropy(module.net(inputs), labels)
    return total


@pytest.mark.parametrize(
    "step",
    [
        lambda module, x, y: -F.cross_entropy(module.net(x), y),
        lambda module, x, y: nn.CrossEntropyLoss()(module.net(x), y) * -1.0,
        lambda module, x, y: F.cross_entropy(module.net(x), y) / -2,
        lambda module, x, y: 0 - F.cross_entropy(module.net(x), y),
        lambda module, x, y: 1 - F.nll_loss(module.net(x).log_softmax(1), y),
        lambda module, x, y: -F.cross_entropy(module.net(x), y, reduction="none").sum() / 8,
        lambda module, x, y: -(F.cross_entropy(module.net(x), y, reduction="none") * (y >= 0)).mean(),
        lambda module, x, y: -F.mse_loss(module.net(x)[:, 0], y.float()),
        lambda module, x, y: -F.binary_cross_entropy_with_logits(module.net(x)[:, 0], (y > 1).float()),
        lambda module, x, y: -F.kl_div(module.net(x).log_softmax(1), F.one_hot(y, 3).float(), reduction="batchmean"),
        lambda module, x, y: -((module.net(x)[:, 0] - y) ** 2).mean(),
        lambda module, x, y: -(F.cross_entropy(module.net(x), y) + F.l1_loss(module.net(x), x[:, :3])),
        lambda module, x, y: -torch.stack([F.cross_entropy(module.net(x), y)] * 2).mean(),
        lambda module, x, y: -F.cross_entropy(module.net(x), y) + 1e-3 * module.net[0].weight.square().sum(),
        subtracted_in_place,
    ],
)
def test_a_loss_function_times_a_negative_number_is_found(step):
    assert findings(step, X, CLASSES, net=mlp(6, 3))[0] == FOUND


@pytest.mark.parametrize(
    "step",
    [
        lambda module, x, y: torch.neg(-F.cross_entropy(module.net(x), y)),
        lambda module, x, y: -(-F.mse_loss(module.net(x), x[:, :3]) - module.net(x).square().mean()),
        lambda module, x, y: -(-F.cross_entropy(module.net(x), y, reduction="none") * x[:, 0]).mean(),
        lambda module, x, y: -(F.cross_entropy(module.net(x), y, reduction="none") * x[:, 0]).mean(),
        lambda module, x, y: F.cross_entropy(module.net(x), y) * (x[0, 0].item() - 9),
        lambda module, x, y: F.cross_entropy(module.net(x), y) - 0.1 * F.mse_loss(module.net(x)[:, 0], x[:, 0]),
        lambda module, x, y: (
            F.cross_entropy(module.net(x), y) - 0.1 * distributions.Categorical(logits=module.net(x)).entropy().mean()
        ),
    ],
)
def test_a_minus_that_something_works_against_is_no_mistake(step):
    assert findings(step, X, CLASSES, net=mlp(6, 3))[0] == {}


@pytest.mark.parametrize(
    "step",
    [
        lambda module, x, y: -F.binary_cross_entropy_with_logits(module.net(x), torch.zeros(8, 3)),
        lambda module, x, y: -F.mse_loss(module.net(x), module.net(x + 1)),
        lambda module, x, y: -F.mse_loss(module.net(x), module.net(x + 1).detach()),
        lambda module, x, y: (
            -F.cross_entropy(logits := module.net(x), distributions.Categorical(logits=logits).sample())
        ),
    ],
)
def test_a_target_that_the_step_makes_may_be_one_to_avoid(step):
    assert findings(step, X, CLASSES, net=mlp(6, 3))[0] == {}


class Maximizing(Stepped):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-3, maximize=True)


def test_an_optimizer_that_maximizes_turns_the_sign_round():
    def names(sign):
        def step(module, inputs, labels):
            return sign * F.cross_entropy(module.net(inputs), labels)

        reading = probed(wiring, Maximizing(step, net=mlp(6, 3)), X, CLASSES)
        return {finding.name: finding.weight for finding in found(Evidence(reading))}

    assert (names(1), names(-1)) == (FOUND, {})


def test_a_step_with_manual_optimization_may_have_an_adversary():
    def step(module, inputs, labels):
        loss = -F.cross_entropy(module.net(inputs), labels)
        optimizer = module.optimizers()
        optimizer.zero_grad()
        module.manual_backward(loss)
        optimizer.step()
        return loss

    assert "wrong-sign" not in findings(step, X, CLASSES, net=mlp(6, 3), manual=True)[0]


def test_inputs_that_are_to_mislead_a_frozen_model_are_a_note():
    def step(module, inputs, labels):
        return -F.cross_entropy(module.net(module.change(inputs)), labels)

    names, _ = findings(step, X, CLASSES, net=mlp(6, 3).requires_grad_(requires_grad=False), change=nn.Linear(6, 6))
    assert names["wrong-sign"] == "note"


def test_a_trained_model_that_is_to_forget_is_a_note():
    def step(module, inputs, labels):
        return -F.cross_entropy(module.net(inputs) + 5 * F.one_hot(labels, 3), labels)

    assert findings(step, X, CLASSES, net=mlp(6, 3))[0] == {"wrong-sign": "note"}
