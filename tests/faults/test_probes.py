"""F07-F13: probes that raise or run out of memory, and modules that are hard to evaluate."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.autograd.function import once_differentiable

from lightning_landscape.evidence import Curvature, StartingPoint
from tests.faults.runs import MONITORS, PROBING, Net, bits, fit, fit_monitored, warnings_of

every_monitor = pytest.mark.parametrize("name", MONITORS)


def monitor_with(name, probe):
    """Return the monitor of this name with `probe` in place of its own probes, every 10 steps."""
    monitor = MONITORS[name]()
    monitor._examination._probes, monitor._examination._scheduled = (), (probe,)
    monitor._examination.schedule.every_n_steps = 10
    return monitor


def doubled(surface):
    return {key: (2 * weight).requires_grad_() for key, weight in surface.here.items()}


@every_monitor
@pytest.mark.parametrize("error", [RuntimeError("no such luck"), AssertionError(), RecursionError("too deep")])
def test_f07_a_failing_probe_warns_once_is_switched_off_after_three_failures_and_leaves_no_trace(name, error):
    calls = []

    def broken(surface):
        calls.append(1)
        loss = surface.loss(doubled(surface))  # raises below at other weights and with gradients
        torch.rand(3)
        loss.backward()
        raise error

    monitor = monitor_with(name, broken)
    messages = fit_monitored(monitor, steps=60)
    assert len(calls) == 3
    assert len(messages) == 1
    assert "[LL302] broken failed and training goes on" in messages[0]
    assert "broken failed 3 times" in monitor.report


class OutOfMemory:
    """A probe that raises an out-of-memory error if it gets more than `batches_that_fit` batches."""

    __name__ = "hungry"

    def __init__(self, batches_that_fit):
        self.batches_that_fit, self.batches = batches_that_fit, []

    def __call__(self, surface):
        self.batches.append(len(surface.batch_losses))
        surface.loss(doubled(surface))
        if len(surface.batch_losses) > self.batches_that_fit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return StartingPoint(1.0, 1.0)


@every_monitor
def test_f08_a_probe_that_runs_out_of_memory_gets_half_of_the_batches_without_a_warning(name, caplog):
    probe = OutOfMemory(batches_that_fit=1)
    monitor = monitor_with(name, probe)
    monitor._examination.probe_set.max_batches = 4  # of which a probe measures with two, and two are held out
    with caplog.at_level(logging.INFO, "lightning_landscape"):
        assert fit_monitored(monitor, steps=20) == []
    assert probe.batches == [2, 1, 2, 1]
    assert "hungry ran out of memory on 4 batches" in caplog.text
    assert not monitor._guard.failures


@every_monitor
def test_f08_a_probe_that_runs_out_of_memory_on_half_of_the_batches_warns_once_and_is_switched_off(name):
    probe, calls = OutOfMemory(batches_that_fit=0), []
    monitor = monitor_with(name, probe)
    monitor._examination._scheduled = (probe, lambda surface: calls.append(1))
    messages = fit_monitored(monitor, steps=40)
    assert len(probe.batches) == 2
    assert len(messages) == 1
    assert "out of memory" in messages[0]
    assert len(calls) == 3  # at the checks after the first


@pytest.mark.parametrize("name", PROBING)
def test_f08_a_training_step_that_runs_out_of_memory_in_a_probe_ends_all_probing(name):
    calls = []  # not an attribute of the class, because these are restored after an evaluation

    class OutOfMemoryInProbe(Net):
        def training_step(self, batch, batch_idx):
            if "log" in vars(self):  # a probe is evaluating the step
                calls.append(1)
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().training_step(batch, batch_idx)

    monitor = MONITORS[name]()
    messages = fit_monitored(monitor, OutOfMemoryInProbe, steps=60)
    assert len(messages) <= 2
    assert all("the loss surface" in text for text in messages)
    assert 0 < len(calls) <= 8  # two attempts with a few evaluations each
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
def test_f10_without_second_derivatives_curvature_comes_from_finite_differences_or_is_skipped_with_a_reason(name):
    monitor = MONITORS[name]()
    messages = fit_monitored(monitor, OnceDifferentiable)
    assert not monitor._guard.failures
    assert all("is skipped" in text for text in messages)
    if name == "curvature":
        assert monitor._state.readings.latest(Curvature) is not None or messages


class UnusualParameters(Net):
    """Tied, frozen, unused and lazy parameters, the user's hooks, and a buffer that changes in place."""

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
        parameters = [p for p in self.parameters() if not isinstance(p, nn.UninitializedParameter)]
        return torch.optim.SGD(parameters, lr=self.lr)


class OptimizesLazy(UnusualParameters):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def bits_without_lazy(value):
    return bits({key: part for key, part in value.items() if not isinstance(part, nn.UninitializedParameter)})


@every_monitor
@pytest.mark.parametrize("make", [UnusualParameters, OptimizesLazy])
def test_f11_the_gradient_norm_is_right_with_tied_frozen_unused_lazy_and_hooked_parameters(name, make):
    norms = []

    class RecordsNorms(make):
        def on_before_optimizer_step(self, optimizer):
            parameters = {id(p): p for p in self.parameters() if p.grad is not None}.values()
            norms.append(float(torch.stack([p.grad.norm() for p in parameters]).norm()))

    monitor, alone, monitored = MONITORS[name](), RecordsNorms(), RecordsNorms()
    fit(alone)
    assert not [text for text in warnings_of(lambda: fit(monitored, monitor)) if "is skipped" not in text]
    assert bits_without_lazy(alone.state_dict()) == bits_without_lazy(monitored.state_dict())
    assert not monitor._guard.failures
    assert monitor._state.steps == 40
    steps, columns = monitor._state.gradients.steps, monitor._state.gradients.history
    for step, column in zip(steps, columns, strict=True):
        total = sum(norm**2 for norm in column if norm is not None) ** 0.5
        assert total == pytest.approx(norms[40 + step], rel=1e-4)


@pytest.mark.parametrize("name", PROBING)
def test_f12_probes_change_neither_batch_norm_statistics_nor_dropout(name):
    monitor = MONITORS[name]()
    assert fit_monitored(monitor) == []
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

    fit_monitored(MONITORS[name](), make, steps=20)
    alone, monitored = (counter.frame_count for counter in counts)
    assert monitored == alone > 0
