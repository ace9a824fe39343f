"""Every probe says what it is going to take, and keeps to it: evaluations of a real module are counted."""

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
from tests.faults.runs import Flat, fit, loader, said_by

pytestmark = pytest.mark.slow
PROBES = (
    *EXAMINATION,
    *FOLLOW_UP_PROBES,
    *(LossLine("initial"), LossLine("best", 5), gradient_noise),
    HessianSpectrum(runs=1, iterations=6, products=8),
)
NAMES = [getattr(probe, "__name__", None) or repr(probe) for probe in PROBES]


class Saddle(L.LightningModule):
    """Starts at weights from which a direction of negative curvature leads down, so that every probe has work to do."""

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
    """What a probe said that it would take, what was counted, and whether it had anything to say."""

    said: float | None
    taken: float
    spoke: bool


class Counts(L.Callback):
    """Runs every probe at the end of a run, for each number of gradients that it may take."""

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
                        said = cost_of(probe, known)
                        spoke = said is not None and (left is None or said <= left) and probe(known) is not None
                        self.found[name, left] = Count(said, meter.gradients - before, spoke)


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
def test_no_probe_takes_more_than_a_fifth_above_what_it_says(batches, gradients):
    found = {name: count for (name, _), count in counts(batches, gradients).items()}
    assert len(found) == len(PROBES)
    assert [name for name, count in found.items() if count.said is None] == []
    assert {name: count for name, count in found.items() if count.taken > EXCESS * (count.said or 0.0)} == {}


def test_no_price_is_so_high_that_it_keeps_a_probe_from_running_where_it_would_fit():
    spoke = {name: count for (name, _), count in counts(16, None).items() if count.spoke and count.taken}
    assert len(spoke) >= len(PROBES) - 3
    assert {name: count for name, count in spoke.items() if count.said > 3 * count.taken} == {}


def test_where_gradients_are_short_a_probe_asks_for_less_or_says_that_they_do_not_suffice():
    few = (60, 120, 250, 500, 1500)
    found = counts(8, *few)
    for name in dict.fromkeys(NAMES):
        asked = [found[name, gradients].said for gradients in few]
        enough = [said <= gradients for said, gradients in zip(asked, few, strict=True)]
        assert asked == sorted(asked), name
        assert enough == sorted(enough), name  # what once suffices goes on to do so
        assert enough[-1], name


@costs(lambda surface: 2.0)
def understated(surface):
    """Says two gradients and takes as many as it is given."""
    for _ in range(1000):
        surface.loss(surface.here)


def unstated(surface):
    for _ in range(10_000):
        surface.loss(surface.here)


@pytest.mark.parametrize("probe", [understated, unstated])
def test_a_probe_that_takes_more_than_it_says_is_ended_and_named_and_the_verdict_is_reached(probe):
    monitor = LandscapeMonitor(probes=[probe], max_batches=2)
    said = said_by(lambda: fit(Flat(), monitor, steps=120))
    assert monitor.verdict is not None
    assert len(said) == 1
    assert f"{probe.__name__} (it was stopped after" in monitor.report
    assert monitor._examination.limits.account.spent <= 2 * 500


@costs(lambda surface: 10_000.0)
def dear(surface):
    raise AssertionError("it must not run")


def test_a_probe_that_costs_more_than_is_left_is_not_run_and_the_report_names_the_setting_that_allows_more():
    monitor = LandscapeMonitor(probes=[dear], max_batches=2)
    said_by(lambda: fit(Flat(), monitor, steps=120))
    assert "left out: dear (needs 10000 gradients of one batch, 49" in monitor.report
    assert ": set effort='thorough'" in monitor.report


@pytest.mark.parametrize("price", [-5.0, float("nan"), float("inf")])
def test_a_cost_that_is_no_number_of_gradients_is_refused_with_its_value(price):
    @costs(lambda surface: price)
    def odd(surface):
        raise AssertionError("it must not run")

    monitor = LandscapeMonitor(probes=[odd], max_batches=2)
    said = said_by(lambda: fit(Flat(), monitor, steps=120))
    assert any(f"cost must return a number of gradients, 0 or more, got {price!r}" in text for text in said)
    assert monitor.verdict is not None


def test_a_probe_that_says_that_it_takes_nothing_is_ended_at_its_first_evaluation():
    @costs(lambda surface: 0.0)
    def free(surface):
        surface.loss(surface.here)

    monitor = LandscapeMonitor(probes=[free], max_batches=2)
    said_by(lambda: fit(Flat(), monitor, steps=120))
    assert "free (it was stopped after 0 gradients of one batch, of 0 that it had announced)" in monitor.report
