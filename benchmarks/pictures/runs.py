"""Short real runs on scikit-learn's digits: a healthy one, and ones that are stuck for different reasons."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.errors import LandscapeWarning
from lightning_landscape.examination.effort import Setting
from lightning_landscape.surface import Probe


class Classifier(L.LightningModule):
    """A fully connected network with one activation function between its layers."""

    def __init__(self, activation: type[nn.Module], depth: int, rate: float, spike_at: int | None = None) -> None:
        super().__init__()
        hidden = [layer for _ in range(depth) for layer in (nn.Linear(64, 64), activation())]
        self.net = nn.Sequential(*hidden, nn.Linear(64, 10))
        self.rate, self.spike_at = rate, spike_at

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the cross-entropy, a thousand times as large at the step `spike_at`."""
        images, digits = batch
        factor = 1000 if self.global_step == self.spike_at else 1
        return factor * nn.functional.cross_entropy(self.net(images), digits)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return SGD with momentum."""
        return torch.optim.SGD(self.parameters(), lr=self.rate, momentum=0.9)


class Validated(Classifier):
    """The same, with a validation loss."""

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Log the cross-entropy of a batch as `val_loss`."""
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))


class DeepLinear(L.LightningModule):
    """A chain of linear layers that starts near a saddle point, where the products of its weights are tiny."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(*[nn.Linear(64, 64, bias=False) for _ in range(3)], nn.Linear(64, 10, bias=False))
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.01)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the squared error of the one-hot labels."""
        return nn.functional.mse_loss(self.net(batch[0]), nn.functional.one_hot(batch[1], 10).float())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return plain gradient descent."""
        return torch.optim.SGD(self.parameters(), lr=0.05)


@dataclass(frozen=True)
class Run:
    """A kind of run, and for how many epochs it is trained, of 57 steps with all images."""

    name: str
    epochs: int
    activation: type[nn.Module] | None = nn.ReLU
    """the activation function; None for `DeepLinear`"""
    depth: int = 2
    rate: float = 0.05
    spike_at: int | None = None
    """the step at which the loss is a thousand times as large"""
    clip: float | None = None
    """largest norm of the gradient"""
    images: int | None = None
    """number of images to train on, a fifth of them with a random label; the others are for validation"""

    def module(self) -> L.LightningModule:
        """Return the module before training."""
        if self.activation is None:
            return DeepLinear()
        kind = Classifier if self.images is None else Validated
        return kind(self.activation, self.depth, self.rate, self.spike_at)


RUNS = (
    Run("healthy", 30, rate=0.02),
    Run("stuck", 30, nn.Sigmoid, depth=8),
    Run("saddle", 20, None),
    Run("small_rate", 20, rate=2e-6),
    Run("large_rate", 20, rate=3.0),
    Run("spike", 20, rate=0.02, spike_at=600, clip=1.0),
    Run("memorises", 120, rate=0.02, images=300),
)


def train(run: Run, effort: Setting = "standard", probes: Sequence[Probe] | None = None) -> LandscapeMonitor:
    """Train this run, and return its monitor.

    Args:
        run: the run.
        effort: that of the monitor; not "auto", so that the pictures are the same on a machine of any speed.
        probes: those of the monitor; None for the usual ones.
    """
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    L.seed_everything(0, verbose=False)
    pixels, digits = load_digits(return_X_y=True)
    inputs, labels = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits)
    data, others = TensorDataset(inputs, labels), None
    if run.images is not None:
        order = torch.randperm(len(labels))
        inputs, labels = inputs[order], labels[order]
        others = DataLoader(TensorDataset(inputs[run.images :], labels[run.images :]), batch_size=2000)
        wrong = torch.randint(10, (run.images // 5,))
        data = TensorDataset(inputs[: run.images], torch.cat([wrong, labels[len(wrong) : run.images]]))
    monitor = LandscapeMonitor(effort=effort, probes=probes)
    trainer = L.Trainer(
        max_epochs=run.epochs,
        callbacks=[monitor],
        accelerator="cpu",
        gradient_clip_val=run.clip,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LandscapeWarning)
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        trainer.fit(run.module(), DataLoader(data, batch_size=32, shuffle=True), others)
    return monitor
