"""Verdicts of whole runs: losses of the inputs alone cause no alarm, labels that cannot be learned do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lightning_landscape import LandscapeMonitor, LandscapeWarning
from lightning_landscape.evidence import Cause

FEATURES, CLASSES = 8, 4


class Samples(Dataset[Any]):
    """Points around a few centres, labelled with their centre; `form` makes a sample of point and label."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any], *, permuted: bool = False, count: int = 2048) -> None:
        generator = torch.Generator().manual_seed(1)
        centres = 2 * torch.randn(CLASSES, FEATURES, generator=generator)
        self.labels = torch.randint(0, CLASSES, (count,), generator=generator)
        self.points = centres[self.labels] + torch.randn(count, FEATURES, generator=generator)
        if permuted:
            self.labels = self.labels[torch.randperm(count, generator=generator)]
        self.form = form

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return self.form(self.points[index], self.labels[index])


class Model(LightningModule):
    """A model whose training step is a function given by the test."""

    def __init__(self, step: Callable[[Any, Any], Tensor], net: nn.Module, rate: float) -> None:
        super().__init__()
        self.net, self.step, self.rate = net, step, rate

    def training_step(self, batch: Any) -> Tensor:
        return self.step(self, batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def watched(
    step: Callable[[Any, Any], Tensor],
    net: Callable[[], nn.Module],
    form: Callable[[Tensor, Tensor], Any] = lambda x, y: (x, y),
    *,
    steps: int,
    rate: float = 1e-2,
    batch_size: int = 32,
    permuted: bool = False,
    seed: int = 3,
) -> LandscapeMonitor:
    """Train once and return the monitor."""
    seed_everything(seed, verbose=False)
    monitor = LandscapeMonitor(budget=None)
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        callbacks=[monitor],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = DataLoader(Samples(form, permuted=permuted), batch_size, shuffle=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LandscapeWarning)
        trainer.fit(Model(step, net(), rate), loader)
    return monitor


def causes(monitor: LandscapeMonitor) -> list[Cause]:
    return [verdict.cause for verdict in monitor.verdicts]


def perceptron(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 24), nn.ReLU(), nn.Linear(24, outputs))


# Losses of the inputs alone, whose training step draws noise and does not use the labels


def variational(model: Any, x: Tensor) -> Tensor:
    mean, log_variance = model.net[0](x).chunk(2, -1)
    drawn = model.net[1](mean + torch.randn_like(mean) * (log_variance / 2).exp())
    divergence = (mean**2 + log_variance.exp() - 1 - log_variance).sum(-1) / 2
    return ((drawn - x) ** 2).sum(-1).div(2).add(divergence).mean()


def denoising(model: Any, x: Tensor) -> Tensor:
    return F.mse_loss(model.net(x + torch.randn_like(x)), x)


def predicting_noise(model: Any, x: Tensor) -> Tensor:
    noise, level = torch.randn_like(x), torch.rand(len(x), 1)
    return F.mse_loss(model.net(torch.cat([(1 - level) * x + level * noise, level], -1)), noise)


def masked(model: Any, x: Tensor) -> Tensor:
    hidden = torch.rand_like(x) < 0.4
    return F.mse_loss(model.net(x.masked_fill(hidden, 0.0))[hidden], x[hidden])


def forecast(model: Any, batch: Any) -> Tensor:
    """Forecast the series that `y_idx` selects."""
    series = batch["temporal"][..., int(batch["y_idx"][0])]
    seen = series[:, :4] + 0.3 * torch.randn_like(series[:, :4])
    return F.l1_loss(model.net(seen), series[:, 4:])


def coder() -> nn.Module:
    return nn.Sequential(perceptron(FEATURES, 4), perceptron(2, FEATURES))


INPUTS_ALONE: dict[str, Callable[[], LandscapeMonitor]] = {
    "variational autoencoder": lambda: watched(lambda m, b: variational(m, b[0]), coder, steps=1500),
    "variational autoencoder, labels first": lambda: watched(
        lambda m, b: variational(m, b["image"]), coder, lambda x, y: {"label": y, "image": x}, steps=1500
    ),
    "denoising autoencoder": lambda: watched(
        lambda m, b: denoising(m, b[0]), lambda: perceptron(FEATURES, FEATURES), steps=1500
    ),
    "diffusion": lambda: watched(
        lambda m, b: predicting_noise(m, b[0]), lambda: nn.Linear(FEATURES + 1, FEATURES), steps=1200
    ),
    "masked modelling": lambda: watched(
        lambda m, b: masked(m, b[0]), lambda: nn.Linear(FEATURES, FEATURES), steps=1200, batch_size=256
    ),
    "forecast": lambda: watched(
        forecast,
        lambda: nn.Linear(4, 4),
        lambda x, y: {"temporal": x[:, None], "y_idx": 0},
        steps=1000,
        batch_size=64,
    ),
}


@pytest.mark.parametrize("name", INPUTS_ALONE)
def test_a_healthy_loss_of_the_inputs_alone_causes_no_alarm(name):
    monitor = INPUTS_ALONE[name]()
    assert causes(monitor), "a run whose loss has stopped falling has a verdict"
    assert Cause.NOTHING_TO_LEARN not in causes(monitor)
    assert not any(verdict.stuck for verdict in monitor.verdicts)


# Labels from which nothing can be learned, and the same run with correct labels


def classify(model: Any, batch: Any) -> Tensor:
    return F.cross_entropy(model.net(batch[0]), batch[1])


def test_permuted_labels_have_nothing_to_learn_and_correct_labels_have():
    def net() -> nn.Module:
        return perceptron(FEATURES, CLASSES)

    permuted = watched(classify, net, steps=800, rate=1e-3, permuted=True)
    assert causes(permuted) == [Cause.NOTHING_TO_LEARN]
    healthy = watched(classify, net, steps=800, rate=1e-3)
    assert not any(verdict.stuck for verdict in healthy.verdicts)


@pytest.mark.parametrize("seed", [2, 6])
def test_a_nearly_constant_predictor_of_permuted_labels_has_not_settled(seed):
    def faint(model: Any, batch: Any) -> Tensor:
        outputs = model.net(3e-4 * batch[0]).squeeze(-1)
        return F.binary_cross_entropy_with_logits(outputs, (batch[1] < CLASSES / 2).float())

    monitor = watched(
        faint, lambda: perceptron(FEATURES, 1), steps=300, rate=1e-3, batch_size=128, permuted=True, seed=seed
    )
    assert causes(monitor)
    assert Cause.SETTLED not in causes(monitor)
