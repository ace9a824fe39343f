"""F07-F13: probes that fail, run out of memory or meet a module that is hard to look at."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.autograd.function import once_differentiable

from lightning_landscape.evidence import Curvature, StartingPoint
from tests.faults.runs import MONITORS, PROBING, Net, bits, fit, said_by, watched

every_monitor = pytest.mark.parametrize("name", MONITORS)


def monitor_with(name, probe):
    """The monitor, with this probe in place of all of its own."""
    monitor = MONITORS[name]()
    monitor._examination._probes, monitor._examination._scheduled = (), (probe,)
    monitor._examination.schedule.every_n_steps = 10
    return monitor


def twice(surface):
    return {key: (2 * weight).requires_grad_() for key, weight in surface.here.items()}


@every_monitor
@pytest.mark.parametrize("error", [RuntimeError("no such luck"), AssertionError(), RecursionError("too deep")])
def test_f07_a_probe_that_raises_is_told_once_switched_off_after_three_and_leaves_no_trace(name, error):
    calls = []

    def broken(surface):
        calls.append(1)
        loss = surface.loss(twice(surface))  # in the midst of its work, at other weights
        torch.rand(3)
        loss.backward()
        raise error

    monitor = monitor_with(name, broken)
    said = watched(monitor, steps=60)
    assert len(calls) == 3
    assert len(said) == 1
    assert "[LL302] broken failed and training goes on" in said[0]
    assert "broken failed 3 times" in monitor.report


class Starving:
    """A probe that needs more memory than there is for so many batches."""

    __name__ = "starving"

    def __init__(self, enough_for):
        self.enough_for, self.tried = enough_for, []

    def __call__(self, surface):
        self.tried.append(len(surface.batch_losses))
        surface.loss(twice(surface))
        if len(surface.batch_losses) > self.enough_for:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return StartingPoint(1.0, 1.0)


@every_monitor
def test_f08_a_probe_that_runs_out_of_memory_gets_half_of_the_batches_and_no_word_is_said(name, caplog):
    probe = Starving(enough_for=1)
    monitor = monitor_with(name, probe)
    monitor._examination.probe_set.max_batches = 4  # two of them are measured on
    with caplog.at_level(logging.INFO, "lightning_landscape"):
        assert watched(monitor, steps=20) == []
    assert probe.tried == [2, 1, 2, 1]
    assert "starving ran out of memory on 4 batches" in caplog.text
    assert not monitor._guard.failures


@every_monitor
def test_f08_one_that_starves_on_half_of_the_batches_too_is_told_once_and_switched_off(name):
    probe, sated = Starving(enough_for=0), []
    monitor = monitor_with(name, probe)
    monitor._examination._scheduled = (probe, lambda surface: sated.append(1))
    said = watched(monitor, steps=40)
    assert len(probe.tried) == 2
    assert len(said) == 1
    assert "out of memory" in said[0]
    assert len(sated) == 3  # at the looks after the first


@pytest.mark.parametrize("name", PROBING)
def test_f08_a_step_that_starves_where_it_is_evaluated_again_ends_all_probing(name):
    asked = []  # in a closure: attributes of the class are restored after a replay

    class Hungry(Net):
        def training_step(self, batch, batch_idx):
            if "log" in vars(self):  # it is being evaluated again
                asked.append(1)
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().training_step(batch, batch_idx)

    monitor = MONITORS[name]()
    said = watched(monitor, Hungry, steps=60)
    assert len(said) <= 2
    assert all("the loss surface" in text for text in said)
    assert 0 < len(asked) <= 8  # two attempts, of which each evaluates a few times
    assert not monitor._guard.allows("the loss surface")


class _Cubed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @once_differentiable
    def backward(ctx, outer):
        (x,) = ctx.saved_tensors
        return outer * 3 * x**2


class OnceDifferentiable(Net):
    def loss(self, batch):
        return nn.functional.cross_entropy(_Cubed.apply(self.net(batch[0])), batch[1])


@every_monitor
def test_f10_where_there_is_no_second_derivative_curvature_comes_from_differences_or_is_skipped_with_a_reason(name):
    monitor = MONITORS[name]()
    said = watched(monitor, OnceDifferentiable)
    assert not monitor._guard.failures
    assert all("is skipped" in text for text in said)
    if name == "curvature":
        assert monitor._state.readings.latest(Curvature) is not None or said


class Odd(Net):
    """Tied, frozen, never used and lazy parameters, hooks of the user's own, a buffer that changes in place."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.frozen = nn.Linear(4, 4).requires_grad_(requires_grad=False)
        self.unused, self.lazy = nn.Linear(2, 2), nn.LazyLinear(3)
        self.register_buffer("calls", torch.zeros(()))
        self.net.register_forward_hook(self.count)
        self.first.weight.register_hook(lambda gradient: gradient * 0.5)

    def count(self, module, inputs, output):
        self.calls += 1

    def loss(self, batch):
        inputs, labels = batch
        return super().loss((inputs + self.second(self.first(self.frozen(inputs))), labels))

    def configure_optimizers(self):
        held = [p for p in self.parameters() if not isinstance(p, nn.UninitializedParameter)]
        return torch.optim.SGD(held, lr=self.lr)


class HoldsLazy(Odd):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def skipping(value):
    return bits({key: part for key, part in value.items() if not isinstance(part, nn.UninitializedParameter)})


@every_monitor
@pytest.mark.parametrize("make", [Odd, HoldsLazy])
def test_f11_tied_frozen_unused_lazy_and_hooked_parameters_are_measured_right_and_left_alone(name, make):
    norms = []

    class Witness(make):
        def on_before_optimizer_step(self, optimizer):
            held = {id(p): p for p in self.parameters() if p.grad is not None}.values()
            norms.append(float(torch.stack([p.grad.norm() for p in held]).norm()))

    monitor, left, right = MONITORS[name](), Witness(), Witness()
    fit(left)
    assert not [text for text in said_by(lambda: fit(right, monitor)) if "is skipped" not in text]
    assert skipping(left.state_dict()) == skipping(right.state_dict())
    assert not monitor._guard.failures
    assert monitor._state.steps == 40
    steps, columns = monitor._state.gradients.steps, monitor._state.gradients.history
    for step, column in zip(steps, columns, strict=True):
        total = sum(norm**2 for norm in column if norm is not None) ** 0.5
        assert total == pytest.approx(norms[40 + step], rel=1e-4)


@pytest.mark.parametrize("name", PROBING)
def test_f12_batch_norm_and_dropout_are_as_if_no_probe_had_been_there(name):
    monitor = MONITORS[name]()
    assert watched(monitor) == []
    assert monitor._state.readings.lines() or monitor._state.readings.latest(Curvature)


@pytest.mark.slow
@every_monitor
def test_f13_a_compiled_module_is_not_compiled_again(name):
    counts = []

    def make():
        torch._dynamo.reset()
        counts.append(CompileCounter())

        class Compiled(Net):
            def __init__(self):
                super().__init__()
                self.net = torch.compile(self.net, backend=counts[-1])

        return Compiled()

    watched(MONITORS[name](), make, steps=20)
    alone, under_watch = (counter.frame_count for counter in counts)
    assert under_watch == alone > 0
