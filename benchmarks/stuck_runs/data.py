"""Data sets and sample streams: scikit-learn's own, or made from a seed. Nothing is downloaded."""

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
    """1400 handwritten digits in 20 principal components of common scale."""
    pixels, labels = datasets.load_digits(return_X_y=True)
    pixels = (pixels - pixels.mean(0)) / (pixels.std(0) + 1e-6)
    components = pixels @ np.linalg.svd(pixels, full_matrices=False)[2][:20].T
    order = np.random.RandomState(0).permutation(len(pixels))[:1400]
    return torch.tensor((components / components.std())[order], dtype=torch.float32), torch.tensor(labels[order])


@cache
def digit_images() -> Batch:
    """1400 handwritten digits of 8x8 pixels, of mean 0 and deviation 1: (1400, 1, 8, 8)."""
    pixels, labels = datasets.load_digits(return_X_y=True)
    order = np.random.RandomState(1).permutation(len(pixels))[:1400]
    images = torch.tensor(pixels[order], dtype=torch.float32).view(-1, 1, 8, 8)
    return (images - images.mean()) / images.std(), torch.tensor(labels[order])


@cache
def table(name: str) -> Batch:
    """One of scikit-learn's tables ("wine", "breast_cancer", "diabetes") with standardised inputs."""
    inputs, targets = getattr(datasets, f"load_{name}")(return_X_y=True)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets)


def noisy_labels(labels: Tensor, share: float, seed: int) -> Tensor:
    """The labels with this share of them redrawn at random."""
    generator = Generator().manual_seed(seed)
    hit = torch.rand(len(labels), generator=generator) < share
    return torch.where(hit, torch.randint(0, int(labels.max()) + 1, labels.shape, generator=generator), labels)


def entropy(labels: Tensor) -> float:
    """Cross-entropy of the best constant prediction, in nats."""
    shares = torch.bincount(labels).double() / len(labels)
    return float(torch.special.entr(shares).sum())


def linear_map(weights: Tensor, noise: float = 0.0) -> Sample:
    """Standard normal inputs, y = xW + noise, with W of shape (inputs, outputs)."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, len(weights), generator=generator)
        y = x @ weights
        return x, y + noise * torch.randn(y.shape, generator=generator) if noise else y

    return sample


def gaussian_weights(inputs: int, seed: int, scale: float = 1.0) -> Tensor:
    """A column of normal weights, (inputs, 1)."""
    return scale * torch.randn(inputs, 1, generator=Generator().manual_seed(seed))


def singular_map(size: int, values: tuple[float, ...], seed: int) -> Tensor:
    """A random (size, size) matrix with these singular values."""
    generator = Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(size, size, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(size, size, generator=generator))
    return (left[:, : len(values)] * torch.tensor(values)) @ right[:, : len(values)].T


def mixture(centres: Tensor) -> Sample:
    """Unit Gaussians about these centres, equally likely; the target is a zero that nobody reads."""

    def sample(count: int, generator: Generator) -> Batch:
        chosen = torch.randint(0, len(centres), (count,), generator=generator)
        x = centres[chosen] + torch.randn(count, centres.shape[1], generator=generator)
        return x, torch.zeros(count, 1)

    return sample
