"""Runs whose loss stops being finite get a finding that names the reason; the same runs mended get no alarm of it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import Cause, LandscapeMonitor
from lightning_landscape.evidence import NotFinite

PAGE = Path(__file__).parents[2] / "docs" / "findings" / "finite.md"
ROWS = torch.randn(512, 4, generator=torch.Generator().manual_seed(0))


def fitted(module, loader=None, steps=60, **settings):
    """Fit the module with a monitor, and return the monitor."""
    monitor = LandscapeMonitor(**settings)
    trainer = L.Trainer(
        max_steps=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, callbacks=[monitor],
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, loader or DataLoader(TensorDataset(ROWS, ROWS[:, :3].argmax(1)), batch_size=16))
    assert not monitor._guard.failures
    assert not monitor._examination.skipped
    return monitor


def divergences(monitor):
    return [verdict for verdict in monitor.verdicts if verdict.cause is Cause.DIVERGED]


def names_of(finding):
    """Return the names that the code of a section of the page defines, after that of its first section."""
    opening, *sections = re.split(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    section = next(text for text in sections if text.startswith(f"`LL208 {finding}`"))
    names = {"__name__": "example"}
    for code in re.findall(r"^```python\n(.*?)^```", opening + section, flags=re.MULTILINE | re.DOTALL):
        exec(compile(code, "finite.md", "exec"), names)
    return names


@pytest.mark.parametrize("finding", ["not-finite", "not-finite-batch", "not-finite-weights"])
def test_the_failing_example_of_the_page_gets_the_finding_and_the_mended_one_does_not(finding):
    torch.manual_seed(0)
    (verdict,) = divergences(fitted(*names_of(finding)["broken"]()))
    assert verdict.finding is not None
    assert verdict.finding.code == f"LL208 {finding}"
    assert divergences(fitted(*names_of(finding)["mended"]())) == []


class Net(L.LightningModule):
    """A network whose loss is a method of the subclass."""

    rate, optimizer = 1e-2, torch.optim.Adam

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))

    def training_step(self, batch, batch_idx):
        return self.loss(*batch)

    def configure_optimizers(self):
        return self.optimizer(self.parameters(), self.rate)


class LogOfSoftmax(Net):
    def loss(self, x, y):
        return -torch.log(torch.softmax(300 * self.net(x), -1)[range(len(y)), y]).mean()


class LogSoftmax(Net):
    def loss(self, x, y):
        return F.cross_entropy(300 * self.net(x), y)


class LogOfCount(Net):
    def loss(self, x, y):
        return self.net(x).square().mean() + torch.relu(self.net(x) - 100).sum(1).log().mean()


class LogOfClamped(Net):
    def loss(self, x, y):
        return self.net(x).square().mean() + torch.relu(self.net(x) - 100).sum(1).clamp_min(1e-8).log().mean()


class Normalised(nn.Module):
    """Divides by the norm, which is 0 for a row of zeros, unless `eps` is added."""

    def __init__(self, eps):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        return x / (x.square().sum(1, keepdim=True) + self.eps)


class ByZeroNorm(Net):
    eps = 0.0

    def __init__(self):
        super().__init__()
        self.normalised = Normalised(self.eps)

    def loss(self, x, y):
        return self.normalised(torch.relu(self.net(x) - 1.0)).sum() + self.net(x).square().mean()


class ByNormWithEps(ByZeroNorm):
    eps = 1.0


class ExponentialOverflows(Net):
    def loss(self, x, y):
        return (500 * self.net(x)).exp().mean()


class ExponentialIsBounded(Net):
    def loss(self, x, y):
        return (500 * self.net(x)).clamp(max=5).exp().mean()


class InFloat16(Net):
    rate, optimizer, factor = 1e-3, torch.optim.SGD, 1000.0

    def __init__(self):
        super().__init__()
        self.half()

    def loss(self, x, y):
        return (self.factor * self.net(x.half())).square().mean()


class InSmallNumbers(InFloat16):
    factor = 1.0


class MaskedRow(Net):
    """The scores are masked; in the first row all of them are."""

    masks_a_row = True

    def loss(self, x, y):
        mask = torch.eye(3, dtype=torch.bool)[y]
        mask[0] = mask[0] | self.masks_a_row
        return torch.softmax(self.net(x).masked_fill(mask, -torch.inf), -1)[:, 0].mean()


class MaskedInPart(MaskedRow):
    masks_a_row = False


class NoTarget(Net):
    def loss(self, x, y):
        return F.cross_entropy(self.net(x), torch.full_like(y, -100))


class WithTarget(Net):
    def loss(self, x, y):
        return F.cross_entropy(self.net(x), torch.where(y == 0, -100, y))


PAIRS = {
    "log of a softmax": (LogOfSoftmax, LogSoftmax, "log", "loss", "F.log_softmax"),
    "log of 0": (LogOfCount, LogOfClamped, "log", "loss", "clamp_min(1e-8)"),
    "zero norm": (ByZeroNorm, ByNormWithEps, "div", "normalised", "x / (d + 1e-8)"),
    "exponential": (ExponentialOverflows, ExponentialIsBounded, "exp", "loss", "clamp(max=20)"),
    "float16": (InFloat16, InSmallNumbers, "square", "loss", "bf16-mixed"),
    "masked row": (MaskedRow, MaskedInPart, "softmax", "loss", "unmasked"),
    "no target": (NoTarget, WithTarget, "cross_entropy", "loss", "count.clamp_min(1)"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_operation_that_failed_is_named_and_the_mended_run_gets_no_alarm_of_it(name):
    broken, mended, operation, module, advice = PAIRS[name]
    (verdict,) = divergences(fitted(broken()))
    assert verdict.finding is not None
    assert verdict.finding.name == "not-finite"
    assert f"`{operation}` in `{module}` (test_finite.py, line " in verdict.finding.sentence
    assert advice in verdict.finding.advice
    assert divergences(fitted(mended())) == []


class FailsLate(Net):
    """Lowers one weight from 1 until the root of its distance to 0.5 is that of 0, after about 120 steps."""

    optimizer, rate = torch.optim.SGD, 4e-3

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def loss(self, x, y):
        gap = self.weight - 0.5
        return (gap * (gap > 0)).sqrt() + 0.0 * self.net(x).sum()


def test_an_operation_that_fails_late_is_found_from_recent_weights():
    monitor = fitted(FailsLate(), steps=300)
    (verdict,) = divergences(monitor)
    reading = verdict.evidence.get(NotFinite)
    assert (reading.where, reading.operation, reading.inputs) == ("backward", "sqrt", (0.0,))
    assert reading.step >= 40
    goes_on = (
        f"when a copy of the model goes on from the weights of step {reading.step} for {reading.repeated} optimizer"
    )
    assert goes_on in verdict.finding.sentence


class RareGap(Net):
    """One batch near the beginning contains NaN, and no later one does."""

    def loss(self, x, y):
        return F.cross_entropy(self.net(x), y)


def test_a_run_in_which_nothing_can_be_repeated_is_judged_without_a_finding():
    rows = ROWS.clone()
    rows[100] = torch.nan
    monitor = fitted(RareGap(), DataLoader(TensorDataset(rows, ROWS[:, :3].argmax(1)), batch_size=16), steps=32)
    (verdict,) = divergences(monitor)
    assert verdict.finding is None
    assert verdict.stuck


def test_without_probes_the_verdict_does_not_wait():
    waits, does_not = divergences(fitted(InFloat16())), divergences(fitted(InFloat16(), effort="light"))
    assert [verdict.step for verdict in (*does_not, *waits)] == [9, 19]
    assert does_not[0].finding is None


def test_a_run_that_ends_before_the_next_check_is_judged_at_its_end():
    (verdict,) = divergences(fitted(InFloat16(), steps=10))
    assert (verdict.step, verdict.finding) == (9, None)


class InfiniteOnce(Net):
    """One loss is infinite by chance, with a gradient of 0."""

    def loss(self, x, y):
        loss = F.cross_entropy(self.net(x), y)
        return loss + torch.inf if self.global_step in (9, 30) else loss


def test_a_loss_that_is_infinite_once_raises_no_alarm():
    assert divergences(fitted(InfiniteOnce())) == []
