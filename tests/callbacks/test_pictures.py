"""The figures that a run gets by default: their data, and names in them that are hostile or many."""

from __future__ import annotations

import json
import math
import re
import warnings

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.errors import LandscapeWarning
from tests.reporting.test_loggers import NO_LOGGER, Stuck

HOSTILE = ("a/b", "c\nd", "<script>alert(1)</script>", "größe→∞", "x" * 300, "{}$_^\\")


def train(module, monitor, inputs, targets, steps, logger=NO_LOGGER):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = L.Trainer(max_steps=steps, accelerator="cpu", logger=logger, callbacks=[monitor], **quiet)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LandscapeWarning)
        trainer.fit(module, DataLoader(TensorDataset(inputs, targets), batch_size=32))
    return trainer


class Regression(L.LightningModule):
    """A linear regression far from its minimum, where the noise of the gradient is known."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4))

    def training_step(self, batch, batch_idx):
        return ((batch[0] @ self.weight - batch[1]) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(640, 8, generator=generator)


def test_a_healthy_run_measures_its_gradient_noise_and_draws_no_plane():
    inputs, monitor = data(), LandscapeMonitor(every_n_steps=20)
    trainer = train(Regression(), monitor, inputs[:, :4], inputs[:, :4].sum(1), 100)
    scale = monitor.report.document["gradients"]["noise_scale"]
    # At w = 0 a sample's gradient is -2xs, where s is the sum of x: its mean has the squared norm 16, its covariance
    # the trace 80, so that the noise scale is 5 samples (and not 5/32 batches). The few batches estimate it within a
    # factor of three.
    assert 5.0 / 3 < scale < 5.0 * 3
    assert 5.0 / 3 < float(trainer.callback_metrics["landscape/noise_scale"]) < 5.0 * 3  # of the check before
    assert monitor.planes == ()


@pytest.mark.slow
def test_a_stuck_run_gets_the_plane_of_its_alarm_and_without_probes_no_plane():
    inputs = data()
    targets = inputs[:, :3].argmax(1)
    torch.manual_seed(7)
    with_probes, without_probes = LandscapeMonitor(max_batches=4), LandscapeMonitor(probes=())
    train(Stuck(), with_probes, inputs, targets, 300)
    ((step, plane),) = with_probes.planes
    assert step == with_probes.verdicts[0].step
    assert any(name.endswith("now") for name in plane.points)
    assert all(math.isfinite(loss) for row in plane.losses for loss in row)
    assert plane.samples == 32
    torch.manual_seed(7)
    train(Stuck(), without_probes, inputs, targets, 300)
    assert without_probes.planes == ()


class ManyParameters(L.LightningModule):
    """Ten thousand parameters, some of which have hostile names."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({name.replace(".", ""): nn.Linear(1, 1) for name in HOSTILE})
        self.many = nn.ParameterList([torch.zeros(1) for _ in range(10_000)])

    def training_step(self, batch, batch_idx):
        out = sum(layer(batch[0][:, :1]) for layer in self.layers.values()) + torch.cat(list(self.many)).sum()
        return ((out[:, 0] - batch[1]) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-6)


@pytest.mark.slow
def test_of_ten_thousand_parameters_with_hostile_names_tags_and_files_are_few_and_harmless(tmp_path):
    inputs, logger = data(), TensorBoardLogger(tmp_path, name="", version="run")
    monitor = LandscapeMonitor(probes=())
    train(ManyParameters(), monitor, inputs[:, :1], inputs[:, 0], 22, logger)
    assert not [note for note in monitor.report.to_dict()["notes"] if "failed" in note]
    events = EventAccumulator(str(tmp_path / "run"), size_guidance={"tensors": 0})
    events.Reload()
    tags = [tag for tags in events.Tags().values() if isinstance(tags, list) for tag in tags]
    assert 0 < len(tags) < 40
    assert all(re.fullmatch(r"[\w/ .-]+", tag) for tag in tags)
    record = json.loads(events.Tensors("lightning_landscape/gradients")[-1].tensor_proto.string_val[0])
    assert len(record["groups"]) <= 64
    assert all(len(group) <= 120 and group.isprintable() for group in record["groups"])
    page = (tmp_path / "run/landscape/landscape_report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert page.count("<script") == 1
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 2_000_000
