"""Every probe says what it is going to take, and keeps to it: evaluations of a real module are counted."""

from __future__ import annotations

from dataclasses import replace

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_landscape import LandscapeMonitor
from lightning_landscape.callbacks.batches import ProbeSet
from lightning_landscape.callbacks.landscape import AFTERWARDS, EXAMINATION
from lightning_landscape.callbacks.module_surface import module_surface
from lightning_landscape.callbacks.probing import EXCESS
from lightning_landscape.callbacks.weights import snapshot
from lightning_landscape.callbacks.work import Meter
from lightning_landscape.probes import (
    AnchorPlane,
    CurvaturePlane,
    HessianSpectrum,
    LossLine,
    RandomPlane,
    TrajectoryPlane,
    gradient_noise,
)
from lightning_landscape.surface import cost_of, costs
from tests.faults.runs import Flat, fit, loader, said_by

PROBES = (
    *EXAMINATION,
    *AFTERWARDS,
    *(LossLine("initial"), LossLine("best", 5), gradient_noise),
    *(AnchorPlane(resolution=5), TrajectoryPlane(resolution=5)),
    *(RandomPlane(resolution=5), CurvaturePlane(resolution=5)),
    HessianSpectrum(runs=1, iterations=6, products=4),
)
NAMES = [getattr(probe, "__name__", None) or type(probe).__name__ for probe in PROBES]


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


class Counted(L.Callback):
    """Runs one probe at the end of the run, and notes what it said, what was counted and what it read."""

    def __init__(self, probe, batches, gradients):
        self.probe, self.gradients, self.probe_set = probe, gradients, ProbeSet(batches)
        self.points = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.probe_set.capture(pl_module, batch, batch_idx)
        if trainer.global_step in (0, 8):
            self.points["initial" if trainer.global_step == 0 else "best"] = snapshot(pl_module)

    def on_train_batch_end(self, trainer, pl_module, *args):
        if trainer.global_step == trainer.max_steps:
            meter = Meter()
            with module_surface(trainer, pl_module, self.probe_set, anchors=self.points, meter=meter) as surface:
                surface = replace(surface, gradients=self.gradients)
                self.said, before = cost_of(self.probe, surface), meter.gradients
                self.reading = self.probe(surface)
                self.taken = meter.gradients - before


@pytest.mark.parametrize(("batches", "gradients"), [(16, None), (16, 500), (8, 300), (5, 150), (2, 200)])
@pytest.mark.parametrize("probe", PROBES, ids=NAMES)
def test_a_probe_takes_no_more_than_a_fifth_above_what_it_says(probe, batches, gradients):
    torch.manual_seed(0)
    counted = Counted(probe, batches, gradients)
    L.Trainer(
        max_steps=16, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[counted],
    ).fit(Saddle(), loader())  # fmt: skip
    assert counted.said is not None
    assert counted.taken <= EXCESS * counted.said
    if counted.reading is not None and counted.taken:
        assert counted.said <= 4 * counted.taken, "a price that frightens probes away that would fit"


@pytest.mark.parametrize("probe", [probe for probe in PROBES if not hasattr(probe, "resolution")], ids=repr)
def test_where_gradients_are_short_a_probe_asks_for_less_or_says_that_they_do_not_suffice(probe):
    torch.manual_seed(0)
    asked = {}
    for gradients in (60, 120, 250, 500, 1500):
        counted = Counted(probe, 8, gradients)
        L.Trainer(
            max_steps=16, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[counted],
        ).fit(Saddle(), loader())  # fmt: skip
        asked[gradients] = counted.said
    enough = [gradients for gradients, said in asked.items() if said <= gradients]
    assert enough, asked
    assert enough == [gradients for gradients in asked if gradients >= enough[0]]
    assert list(asked.values()) == sorted(asked.values())


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
    monitor = LandscapeMonitor(probes=[probe], batches=2)
    said = said_by(lambda: fit(Flat(), monitor, steps=120))
    assert monitor.verdict is not None
    assert len(said) == 1
    assert f"{probe.__name__} (it was ended after" in monitor.report
    assert monitor._examination.account.spent <= 2 * 500


@costs(lambda surface: 10_000.0)
def dear(surface):
    raise AssertionError("it must not run")


def test_a_probe_that_costs_more_than_is_left_is_not_run_and_the_report_names_the_setting_that_allows_more():
    monitor = LandscapeMonitor(probes=[dear], batches=2)
    said_by(lambda: fit(Flat(), monitor, steps=120))
    assert "left out: dear (takes 10000 gradients of one batch, 49" in monitor.report
    assert "effort='thorough' takes three times the work" in monitor.report
