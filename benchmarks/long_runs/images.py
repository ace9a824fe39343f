"""A classifier, a diffusion model and a variational autoencoder, on digits that are augmented at random."""

from __future__ import annotations

import math

import lightning.pytorch as pl
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import MultiStepLR
from torch.utils.data import Dataset

from benchmarks.long_runs.data import Batch, Batches, augmented_digits

SIZE = 16
"""height and width of the images"""


def held_out(noise: float = 0.0) -> Batch:
    """Return 300 images of digits that no run is trained on, and their labels."""
    return augmented_digits(300, SIZE, Generator().manual_seed(1), noise, held_out=True)


class Residual(nn.Module):
    """Two convolutions with batch normalisation and a skip connection; the first may halve the size."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()),
            *(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        self.skip = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return features, (samples, outputs, height / stride, width / stride)."""
        return F.relu(self.skip(x) + self.body(x))


class Classifier(pl.LightningModule):
    """A residual network for noisy digits, trained by SGD with momentum and a learning rate that falls in steps."""

    noise = 0.8
    """standard deviation of the noise on the pixels, which lie between -1 and 1"""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.net = nn.Sequential(
            *(nn.Conv2d(1, 24, 3, padding=1), Residual(24, 24, 1), Residual(24, 48, 2), Residual(48, 96, 2)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10)),
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the cross-entropy of one batch."""
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> dict:
        """Return SGD, and a schedule that divides the rate by ten at 50% and 80% of the run."""
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
        milestones = [round(0.5 * self.steps), round(0.8 * self.steps)]
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": MultiStepLR(optimizer, milestones), "interval": "step"},
        }

    @torch.no_grad()
    def quality(self) -> float:
        """Return the accuracy on digits that it was not trained on."""
        images, labels = held_out(self.noise)
        training, _ = self.net.training, self.net.eval()
        accuracy = (self.net(images).argmax(1) == labels).float().mean().item()
        self.net.train(training)
        return accuracy


class Denoiser(nn.Module):
    """A small U-net, which is told the level of the noise."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.level = nn.Sequential(nn.Linear(16, 2 * width), nn.SiLU(), nn.Linear(2 * width, 2 * width))
        self.enter = nn.Conv2d(1, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.middle = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(8, 2 * width), nn.SiLU(), nn.Conv2d(2 * width, 2 * width, 3, padding=1))
            for _ in range(3)
        )
        self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.leave = nn.Sequential(
            *(nn.GroupNorm(8, 2 * width), nn.SiLU(), nn.Conv2d(2 * width, width, 3, padding=1)),
            *(nn.SiLU(), nn.Conv2d(width, 1, 3, padding=1)),
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return the predicted noise, of the shape of `x`, for times of shape (samples,) from 0 to 1."""
        angles = time[:, None] * math.pi * 2.0 ** torch.arange(8)
        level = self.level(torch.cat([angles.sin(), angles.cos()], 1))[:, :, None, None]
        wide = self.enter(x)
        deep = self.down(wide) + level
        for block in self.middle:
            deep = deep + block(deep)
        return self.leave(torch.cat([wide, self.up(deep)], 1))


class Diffusion(pl.LightningModule):
    """Learns to predict the noise that was added to an image [Ho20]_, with the cosine schedule of noise.

    .. [Ho20] Denoising diffusion probabilistic models, arXiv:2006.11239.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = Denoiser()

    def loss(self, images: Tensor) -> Tensor:
        """Return the mean squared error of the predicted noise, at random times."""
        time = torch.rand(len(images))
        noise = torch.randn_like(images)
        angle = (time * math.pi / 2).view(-1, 1, 1, 1)
        return F.mse_loss(self.net(angle.cos() * images + angle.sin() * noise, time), noise)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        loss = self.loss(batch[0])
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam with a constant rate."""
        return torch.optim.Adam(self.parameters(), lr=3e-4)

    @torch.no_grad()
    def quality(self) -> float:
        """Return the loss on digits that it was not trained on."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.loss(held_out()[0]).item()


class Autoencoder(pl.LightningModule):
    """A variational autoencoder whose two terms have different units.

    The squared error is a mean over pixels, the divergence of the code a sum over its dimensions. So the divergence
    weighs 256 times as much as it should, and the code is given up: it no longer depends on the image.
    """

    def __init__(self, code: int = 16) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(64 * 16, 256), nn.ReLU(), nn.Linear(256, 2 * code)),
        )
        self.decoder = nn.Sequential(
            *(nn.Linear(code, 256), nn.ReLU(), nn.Linear(256, 64 * 16), nn.ReLU(), nn.Unflatten(1, (64, 4, 4))),
            *(nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1)),
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        images = batch[0]
        mean, log_variance = self.encoder(images).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        error = F.mse_loss(self.decoder(code), images)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
        self.log_dict({"error": error, "divergence": divergence})
        return error + divergence

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)

    @torch.no_grad()
    def quality(self) -> float:
        """Return which share of the variance of new images the decoder explains from the mean of their codes."""
        images, _ = held_out()
        error = F.mse_loss(self.decoder(self.encoder(images).chunk(2, 1)[0]), images)
        return 1 - (error / images.var(0, unbiased=False).mean()).item()


def pictures(steps: int, count: int, noise: float = 0.0) -> Dataset:
    """Return a batch of augmented digits for each step."""
    return Batches(steps, lambda generator, _: augmented_digits(count, SIZE, generator, noise))


def classifier(steps: int) -> tuple[Classifier, Dataset]:
    """Return the classifier and its noisy digits."""
    return Classifier(steps), pictures(steps, 32, Classifier.noise)


def diffusion(steps: int) -> tuple[Diffusion, Dataset]:
    """Return the diffusion model and its digits."""
    return Diffusion(), pictures(steps, 32)


def autoencoder(steps: int) -> tuple[Autoencoder, Dataset]:
    """Return the autoencoder and its digits."""
    return Autoencoder(), pictures(steps, 64)
