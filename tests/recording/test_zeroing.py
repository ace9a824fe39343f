"""Whether gradients that are never zeroed are found, and only these."""

from __future__ import annotations

import copy
import pickle

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

from lightning_landscape.diagnosis import found
from lightning_landscape.evidence import Evidence, KeptGradients
from lightning_landscape.examination.frozen import FrozenSince
from lightning_landscape.examination.host_readings import host_readings
from lightning_landscape.recording.zeroing import Zeroing
from lightning_landscape.trainer.lightning_host import LightningHost
from tests.zoo import SPECIMENS, train


class Run:
    """A small network that is trained by hand, with calls of `before_backward` before each backward pass."""

    def __init__(self, **settings):
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, **settings)
        self.zeroing = Zeroing([self.optimizer])

    def backward(self, *, create_graph=False):
        loss = F.cross_entropy(self.net(torch.randn(8, 3)), torch.randint(0, 2, (8,)))
        self.zeroing.before_backward()
        loss.backward(create_graph=create_graph)


def never(run):
    run.backward()
    run.optimizer.step()


def never_but_clipped(run):
    run.backward()
    nn.utils.clip_grad_norm_(run.net.parameters(), 0.1)
    run.optimizer.step()


def never_with_two_backward_passes(run):
    run.backward()
    run.backward()
    run.optimizer.step()


@pytest.mark.parametrize("step", [never, never_but_clipped, never_with_two_backward_passes])
def test_gradients_that_are_never_zeroed_are_found_after_four_steps(step):
    run = Run()
    for _ in range(4):
        assert run.zeroing.kept is None
        step(run)
    step(run)
    assert run.zeroing.kept == KeptGradients(optimizer=0, steps=4)
    assert not run.optimizer._optimizer_step_post_hooks


def before(run):
    run.optimizer.zero_grad()
    never(run)


def before_in_place(run):
    run.optimizer.zero_grad(set_to_none=False)
    never(run)


def after(run):
    never(run)
    run.optimizer.zero_grad()


def by_hand(run):
    for parameter in run.net.parameters():
        parameter.grad = None
    never(run)


def in_one_tensor_only(run):
    run.net[0].bias.grad = None
    never(run)


def decayed(run):  # the gradients are a momentum
    for parameter in run.net.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(0.9)
    never(run)


def accumulated(run):
    run.optimizer.zero_grad()
    for _ in range(3):
        run.backward()
    run.optimizer.step()


def between_two_backward_passes(run):  # as in a GAN: the loss of the other player reaches these parameters first
    run.backward()
    run.optimizer.zero_grad()
    never(run)


def between_two_backward_passes_in_place(run):
    run.backward()
    run.optimizer.zero_grad(set_to_none=False)
    never(run)


def directly(run):  # a call of `loss.backward()` that is not seen
    run.optimizer.zero_grad()
    F.cross_entropy(run.net(torch.randn(8, 3)), torch.zeros(8).long()).backward()
    never(run)


def directly_and_in_place(run):
    run.optimizer.zero_grad(set_to_none=False)
    F.cross_entropy(run.net(torch.randn(8, 3)), torch.zeros(8).long()).backward()
    never(run)


def directly_after_the_other_player(run):
    run.backward()
    run.optimizer.zero_grad(set_to_none=False)
    F.cross_entropy(run.net(torch.randn(8, 3)), torch.zeros(8).long()).backward()
    run.optimizer.step()


def with_a_graph(run):  # a gradient penalty; torch then makes new tensors
    run.backward(create_graph=True)
    run.optimizer.step()


def in_a_closure(run):
    def closure():
        run.optimizer.zero_grad()
        run.backward()

    run.optimizer.step(closure)


def without_backward(run):
    run.optimizer.step()


@pytest.mark.filterwarnings("ignore:Using backward\\(\\) with create_graph=True")
@pytest.mark.parametrize(
    "step",
    [
        *(before, before_in_place, after, by_hand, in_one_tensor_only, decayed, accumulated, in_a_closure),
        *(between_two_backward_passes, between_two_backward_passes_in_place, directly, directly_and_in_place),
        *(directly_after_the_other_player, with_a_graph, without_backward),
    ],
)
def test_gradients_that_are_zeroed_or_changed_in_any_way_are_no_mistake(step):
    run = Run()
    for _ in range(8):
        step(run)
    run.zeroing.before_backward()
    assert run.zeroing.kept is None


def test_gradients_that_are_zero_anyway_are_no_mistake():
    run = Run()
    nn.init.zeros_(run.net[2].weight)
    for _ in range(8):
        run.zeroing.before_backward()
        (0.0 * run.net(torch.randn(8, 3)).sum()).backward()
        run.optimizer.step()
    assert run.zeroing.kept is None


def test_one_clearing_is_enough_and_nothing_is_observed_afterwards():
    run = Run()
    never(run)
    before(run)
    assert not run.optimizer._optimizer_step_post_hooks
    for _ in range(8):
        never(run)
    assert run.zeroing.kept is None


def test_the_optimizer_that_keeps_its_gradients_is_named():
    run, other = Run(), Run()
    zeroing = Zeroing([run.optimizer, other.optimizer])
    run.zeroing = other.zeroing = zeroing
    for _ in range(6):
        before(run)
        never(other)
    assert zeroing.kept == KeptGradients(optimizer=1, steps=4)


def test_a_copy_keeps_what_was_found_without_objects_of_the_run():
    run = Run()
    for _ in range(3):
        never(run)
    assert copy.deepcopy(run.zeroing)._watches == []
    never(run)
    never(run)
    assert pickle.loads(pickle.dumps(run.zeroing)).kept == KeptGradients(0, 4)
    run.zeroing.stop()
    assert run.zeroing.kept is not None


def test_an_optimizer_that_ends_early_is_released():
    run = Run()
    never(run)
    run.zeroing.stop()
    assert not run.optimizer._optimizer_step_post_hooks


class Looking(L.Callback):
    """Observes the gradients, and reads what the optimizers hold after each batch."""

    def on_train_start(self, trainer, pl_module):
        self.zeroing, self.frozen, self.certain = Zeroing(trainer.optimizers), FrozenSince(), set()
        self.frozen.check(pl_module, 0)
        self.initial = {name: p.detach().clone() for name, p in pl_module.named_parameters() if not is_lazy(p)}

    def on_before_backward(self, trainer, pl_module, loss):
        self.zeroing.before_backward()

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.frozen.check(pl_module, trainer.global_step)
        readings = host_readings(LightningHost(trainer, pl_module), self.initial, self.frozen)
        kept = () if self.zeroing.kept is None else (self.zeroing.kept,)
        findings = found(Evidence(*readings, *kept))
        self.certain |= {finding.name for finding in findings if finding.weight != "note"}


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECIMENS)
def test_nothing_is_found_in_the_modules_of_the_zoo(name):
    looking = Looking()
    train(SPECIMENS[name], looking)
    assert not looking.certain
