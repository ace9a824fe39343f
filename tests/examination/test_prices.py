"""Probes compute no more than their announced cost: their evaluations of a module are counted."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_landscape import LandscapeMonitor
from lightning_landscape.callbacks.landscape import EXAMINATION, FOLLOW_UP_PROBES
from lightning_landscape.examination.probe_runner import EXCESS
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.module_surface.during_fit import host_surface
from lightning_landscape.module_surface.meter import Meter
from lightning_landscape.module_surface.weights import snapshot
from lightning_landscape.probes import HessianSpectrum, LossLine, gradient_noise
from lightning_landscape.surface import cost_of, costs
from lightning_landscape.trainer.lightning_host import LightningHost
from tests.faults.runs import Flat, fit, loader, warnings_of

pytestmark = pytest.mark.slow
PROBES = (
    *EXAMINATION,
    *FOLLOW_UP_PROBES,
    *(LossLine("initial"), LossLine("best", 5), gradient_noise),
    HessianSpectrum(runs=1, iterations=6, products=8),
)
NAMES = [getattr(probe, "__name__", None) or repr(probe) for probe in PROBES]


class Saddle(L.LightningModule):
    """Starts near a saddle, where the curvature is negative in one direction, so that every probe has work to do."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(0.01)

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)


@dataclass(frozen=True)
class Count:
    """The gradients that a probe announced and computed, and whether it returned a reading."""

    announced: float | None
    computed: float
    has_reading: bool


class Counts(L.Callback):
    """Runs every probe at the end of a run, for each number of gradients that it may compute."""

    def __init__(self, batches, gradients):
        self.gradients, self.probe_set = gradients, ProbeSet(batches)
        self.points, self.found = {}, {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.probe_set.capture(pl_module, batch, batch_idx)
        if trainer.global_step in (0, 8):
            self.points["initial" if trainer.global_step == 0 else "best"] = snapshot(pl_module)

    def on_train_batch_end(self, trainer, pl_module, *args):
        if trainer.global_step == trainer.max_steps:
            meter = Meter()
            with host_surface(
                LightningHost(trainer, pl_module), self.probe_set, anchors=self.points, meter=meter
            ) as surface:
                for left in self.gradients:
                    for name, probe in zip(NAMES, PROBES, strict=True):
                        known, before = (
                            surface.with_budget(left),
                            meter.gradients,
                        )
                        announced = cost_of(probe, known)
                        affordable = announced is not None and (left is None or announced <= left)
                        has_reading = affordable and probe(known) is not None
                        self.found[name, left] = Count(announced, meter.gradients - before, has_reading)


@functools.cache
def counts(batches, *gradients):
    torch.manual_seed(0)
    counted = Counts(batches, gradients)
    L.Trainer(
        max_steps=16, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[counted],
    ).fit(Saddle(), loader())  # fmt: skip
    return counted.found


@pytest.mark.parametrize(("batches", "gradients"), [(16, None), (16, 500), (8, 300), (5, 150), (2, 200)])
def test_no_probe_computes_over_a_fifth_more_than_it_announces(batches, gradients):
    found = {name: count for (name, _), count in counts(batches, gradients).items()}
    assert len(found) == len(PROBES)
    assert [name for name, count in found.items() if count.announced is None] == []
    assert {name: count for name, count in found.items() if count.computed > EXCESS * (count.announced or 0.0)} == {}


def test_no_probe_announces_three_times_what_it_computes():
    found = {name: count for (name, _), count in counts(16, None).items() if count.has_reading and count.computed}
    assert len(found) >= len(PROBES) - 3
    # These two announce the most that they may need, and end as soon as they know.
    ends_early = {"loss_floor", "Restarts(seeds=2, steps=300)"}
    dear = {name for name, count in found.items() if count.announced > 3 * count.computed}
    assert dear <= ends_early


def test_with_a_larger_budget_a_probe_announces_no_less_and_remains_affordable():
    few = (60, 120, 250, 500, 1500)
    found = counts(8, *few)
    for name in dict.fromkeys(NAMES):
        announced = [found[name, gradients].announced for gradients in few]
        enough = [cost <= gradients for cost, gradients in zip(announced, few, strict=True)]
        assert announced == sorted(announced), name
        assert enough == sorted(enough), name
        assert enough[-1], name


@costs(lambda surface: 2.0)
def understated(surface):
    """Announces two gradients and computes as many as it may."""
    for _ in range(1000):
        surface.loss(surface.here)


def unstated(surface):
    for _ in range(10_000):
        surface.loss(surface.here)


@pytest.mark.parametrize("probe", [understated, unstated])
def test_a_probe_that_computes_more_than_it_announces_is_ended_and_the_verdict_is_reached(probe):
    monitor = LandscapeMonitor(probes=[probe], max_batches=2)
    said = warnings_of(lambda: fit(Flat(), monitor, steps=120))
    assert monitor.verdict is not None
    assert len(said) == 1
    assert f"{probe.__name__} (it was stopped after" in monitor.report
    assert monitor._examination.limits.account.spent <= 2 * 500


@costs(lambda surface: 10_000.0)
def expensive(surface):
    raise AssertionError("it must not run")


def test_a_probe_above_the_budget_does_not_run_and_the_report_names_the_setting_that_allows_it():
    monitor = LandscapeMonitor(probes=[expensive], max_batches=2)
    warnings_of(lambda: fit(Flat(), monitor, steps=120))
    assert "left out to save time: expensive" in monitor.report
    assert "(to include: effort='thorough')" in monitor.report


@pytest.mark.parametrize("price", [-5.0, float("nan"), float("inf")])
def test_a_cost_that_is_no_number_of_gradients_is_refused_with_its_value(price):
    @costs(lambda surface: price)
    def odd(surface):
        raise AssertionError("it must not run")

    monitor = LandscapeMonitor(probes=[odd], max_batches=2)
    said = warnings_of(lambda: fit(Flat(), monitor, steps=120))
    assert any(f"cost must return a number of gradients, 0 or more, got {price!r}" in text for text in said)
    assert monitor.verdict is not None


def test_a_probe_that_announces_no_gradients_is_ended_at_its_first_evaluation():
    @costs(lambda surface: 0.0)
    def free(surface):
        surface.loss(surface.here)

    monitor = LandscapeMonitor(probes=[free], max_batches=2)
    warnings_of(lambda: fit(Flat(), monitor, steps=120))
    assert "free (it was stopped after 0 gradients of one batch, of 0 that it had announced)" in monitor.report
