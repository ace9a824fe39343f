"""Data sets of scikit-learn, and samples that are drawn from a seed; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from sklearn import datasets
from torch import Generator, Tensor

from benchmarks.stuck_runs.problem import Batch

Sample = Callable[[int, Generator], Batch]


@cache
def digits() -> Batch:
    """Return 1400 handwritten digits in 20 principal components, (1400, 20), and their labels, (1400,)."""
    pixels, labels = datasets.load_digits(return_X_y=True)
    pixels = (pixels - pixels.mean(0)) / (pixels.std(0) + 1e-6)
    components = pixels @ np.linalg.svd(pixels, full_matrices=False)[2][:20].T
    order = np.random.RandomState(0).permutation(len(pixels))[:1400]
    return torch.tensor((components / components.std())[order], dtype=torch.float32), torch.tensor(labels[order])


@cache
def digit_images() -> Batch:
    """Return 1400 handwritten digits, (1400, 1, 8, 8), of mean 0 and deviation 1, and their labels, (1400,)."""
    pixels, labels = datasets.load_digits(return_X_y=True)
    order = np.random.RandomState(1).permutation(len(pixels))[:1400]
    images = torch.tensor(pixels[order], dtype=torch.float32).view(-1, 1, 8, 8)
    return (images - images.mean()) / images.std(), torch.tensor(labels[order])


@cache
def table(name: str) -> Batch:
    """Return a table of scikit-learn ("wine", "breast_cancer" or "diabetes") with standardised inputs."""
    inputs, targets = getattr(datasets, f"load_{name}")(return_X_y=True)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets)


def noisy_labels(labels: Tensor, share: float, seed: int) -> Tensor:
    """Return the labels, of which this share is drawn again at random."""
    generator = Generator().manual_seed(seed)
    redrawn = torch.rand(len(labels), generator=generator) < share
    return torch.where(redrawn, torch.randint(0, int(labels.max()) + 1, labels.shape, generator=generator), labels)


def entropy(labels: Tensor) -> float:
    """Return the cross-entropy of the best constant prediction, in nats."""
    shares = torch.bincount(labels).double() / len(labels)
    return float(torch.special.entr(shares).sum())


def linear_map(weights: Tensor, noise: float = 0.0) -> Sample:
    """Return a function that draws standard normal x and y = xW + noise, with `weights` W, (inputs, outputs)."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, len(weights), generator=generator)
        y = x @ weights
        return x, y + noise * torch.randn(y.shape, generator=generator) if noise else y

    return sample


def gaussian_weights(inputs: int, seed: int, scale: float = 1.0) -> Tensor:
    """Return a column of normal weights, (inputs, 1)."""
    return scale * torch.randn(inputs, 1, generator=Generator().manual_seed(seed))


def singular_map(size: int, values: tuple[float, ...], seed: int) -> Tensor:
    """Return a random (size, size) matrix with these singular values, and zeros if they are fewer than `size`."""
    generator = Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(size, size, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(size, size, generator=generator))
    return (left[:, : len(values)] * torch.tensor(values)) @ right[:, : len(values)].T


def mixture(centres: Tensor) -> Sample:
    """Return a function that draws from unit Gaussians at these centres, equally likely, with targets of zero."""

    def sample(count: int, generator: Generator) -> Batch:
        chosen = torch.randint(0, len(centres), (count,), generator=generator)
        x = centres[chosen] + torch.randn(count, centres.shape[1], generator=generator)
        return x, torch.zeros(count, 1)

    return sample
