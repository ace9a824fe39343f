"""Tasks of the split `fifth`: functions that return a run for a model, an optimizer and other settings."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digit_images, digits, entropy
from benchmarks.stuck_runs.fifth.data import (
    CATEGORIES,
    WORDS,
    arm_positions,
    clicks,
    crossed_columns,
    hunters_and_prey,
    masked_passages,
    moons,
    passages,
    point_sets,
    ratings,
    recalled_values,
    seasons,
    shifted_digits,
    source_words,
    survival,
    turned_digits,
)
from benchmarks.stuck_runs.fifth.networks import Coupling, Tabular, angle_loss, negative_log_likelihood
from benchmarks.stuck_runs.fifth.physics import Flow, contrast, cox, damped, lotka_volterra
from benchmarks.stuck_runs.fifth.tables import swiss_roll
from benchmarks.stuck_runs.problem import Batch, MakesOptimizer, Problem, endless, finite


def on_rows(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run that classifies images of digits, (samples, 1, 8, 8), whose loss can reach zero."""
    data = digit_images()
    rest = {"trivial": entropy(data[1]), "floor": 0.0} | rest
    return finite(model, rest.pop("loss", F.cross_entropy), data, size, optimizer, **rest)


def on_turns(model: nn.Module, optimizer: MakesOptimizer, size: int = 64, **rest: Any) -> Problem:
    """Return a run that tells by how much digits are turned."""
    return finite(model, F.cross_entropy, turned_digits(), size, optimizer, **{"trivial": math.log(4)} | rest)


def on_shifted_digits(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run that classifies digits at random places of noisy images."""
    rest = {"trivial": math.log(10), "floor": 0.0} | rest
    return endless(model, F.cross_entropy, shifted_digits(), size, optimizer, evaluation_samples=512, **rest)


def on_modules(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, length: int = 12, **rest: Any) -> Problem:
    """Return a run that tells of which module of the standard library a passage is."""
    rest = {"trivial": math.log(4), "evaluation_samples": 2048} | rest
    return endless(model, F.cross_entropy, passages(length), size, optimizer, **rest)


def on_masked_words(
    model: nn.Module, optimizer: MakesOptimizer, size: int = 32, length: int = 24, **rest: Any
) -> Problem:
    """Return a run that fills in masked words in sources of the standard library."""
    counts = torch.stack([torch.bincount(text, minlength=WORDS) / len(text) for text in source_words()]).mean(0)
    rest = {"trivial": float(torch.special.entr(counts).sum())} | rest
    return endless(model, F.cross_entropy, masked_passages(length), size, optimizer, evaluation_samples=512, **rest)


def on_sets(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run that tells shapes apart by sets of points."""
    rest = {"trivial": math.log(3), "evaluation_samples": 2048} | rest
    return endless(model, F.cross_entropy, point_sets(), size, optimizer, **rest)


def on_recall(model: nn.Module, optimizer: MakesOptimizer, size: int = 64, **rest: Any) -> Problem:
    """Return a run that looks up the value of a key among pairs; its loss can reach zero."""
    rest = {"trivial": math.log(8), "floor": 0.0} | rest
    return endless(model, F.cross_entropy, recalled_values(), size, optimizer, **rest)


def on_seasons(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run that forecasts two overlaid seasons with noise."""
    return endless(
        model, F.mse_loss, seasons(), size, optimizer, **{"trivial": 0.70, "evaluation_samples": 4096} | rest
    )


def on_patients(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run of proportional hazards, which compares patients in groups of 32."""
    return endless(model, cox, survival(), size, optimizer, **{"evaluation_samples": 4096} | rest)


def on_clicks(optimizer: MakesOptimizer, size: int = 32, model: nn.Module | None = None, **rest: Any) -> Problem:
    """Return a run that predicts clicks from categories; its lowest loss is known."""
    sample, floor, trivial = clicks()
    rest = {"trivial": trivial, "floor": floor} | rest
    loss = F.binary_cross_entropy_with_logits
    return endless(model or Tabular(CATEGORIES, 2), loss, sample, size, optimizer, evaluation_samples=8192, **rest)


def on_ratings(model: nn.Module, optimizer: MakesOptimizer, size: int = 64, **rest: Any) -> Problem:
    """Return a run that predicts ratings, whose lowest loss is the variance of their noise."""
    sample, variance = ratings()
    rest = {"trivial": variance, "floor": 0.09} | rest
    return endless(model, F.mse_loss, sample, size, optimizer, evaluation_samples=4096, **rest)


def on_crossed_columns(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run of regression on a linear part and products of columns, down to the variance of the noise."""
    rest = {"trivial": 6.79, "floor": 0.04} | rest
    return endless(model, F.mse_loss, crossed_columns(), size, optimizer, evaluation_samples=4096, **rest)


def on_moons(model: nn.Module, optimizer: MakesOptimizer, size: int = 64, scale: float = 1.0, **rest: Any) -> Problem:
    """Return a run that classifies points of two moons."""
    rest = {"trivial": math.log(2)} | rest
    return endless(model, F.cross_entropy, moons(scale, 0.15), size, optimizer, **{"evaluation_samples": 4096} | rest)


def flow_of_moons(optimizer: MakesOptimizer, size: int = 64, scale: float = 0.1, **rest: Any) -> Problem:
    """Return a run of a normalising flow on two moons, whose loss falls far below zero if `scale` is small."""
    model = Coupling()
    sample = moons(scale)
    return endless(model, negative_log_likelihood, sample, size, optimizer, **{"evaluation_samples": 4096} | rest)


def diffusion(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run of denoising diffusion on a swiss roll: the model predicts the noise in points."""
    points = swiss_roll()

    def sample(count: int, generator: Generator) -> Batch:
        chosen = points[torch.randint(0, len(points), (count,), generator=generator)]
        time = torch.rand(count, 1, generator=generator)
        noise = torch.randn(count, 2, generator=generator)
        kept = torch.cos(0.5 * math.pi * time)
        return torch.cat([kept * chosen + (1 - kept**2).sqrt() * noise, 2 * time - 1], 1), noise

    return endless(model, F.mse_loss, sample, size, optimizer, **{"trivial": 1.0, "evaluation_samples": 4096} | rest)


def on_arm(model: nn.Module, optimizer: MakesOptimizer, size: int = 64, **rest: Any) -> Problem:
    """Return a run that learns the density of the angles of an arm, of which two pairs reach every position."""
    rest = {"trivial": 2.6, "evaluation_samples": 4096} | rest
    return endless(model, angle_loss, arm_positions, size, optimizer, **rest)


def on_views(model: nn.Module, optimizer: MakesOptimizer, size: int = 64, noise: float = 0.5, **rest: Any) -> Problem:
    """Return a run of contrastive learning, on pairs of noisy copies of digits."""
    clean, _ = digits()

    def sample(count: int, generator: Generator) -> Batch:
        chosen = clean[torch.randint(0, len(clean), (count,), generator=generator)]
        x = chosen[:, None] + noise * torch.randn(count, 2, 20, generator=generator)
        return x, torch.zeros(count)

    rest = {"trivial": math.log(32), "evaluation_samples": 2048} | rest
    return endless(model, contrast, sample, size, optimizer, **rest)


def on_oscillator(model: nn.Module, optimizer: MakesOptimizer, size: int = 64, **rest: Any) -> Problem:
    """Return a run that solves the equation of a damped oscillator without data; its loss can reach zero."""

    def sample(count: int, generator: Generator) -> Batch:
        return torch.rand(count, 1, generator=generator), torch.zeros(count, 1)

    return endless(model, damped, sample, size, optimizer, **{"trivial": 1.0, "floor": 0.0} | rest)


def on_hunters(network: nn.Module, optimizer: MakesOptimizer, size: int = 16, **rest: Any) -> Problem:
    """Return a run that learns the change of the numbers of prey and hunters from what becomes of them."""
    steps, dt = 20, 0.1
    sample = hunters_and_prey(lotka_volterra, steps, dt)
    states = sample(1024, Generator().manual_seed(1))[1]
    rest = {"trivial": float(states.var((0, 1)).mean()), "floor": 0.0} | rest
    return endless(Flow(network, steps, dt), F.mse_loss, sample, size, optimizer, evaluation_samples=512, **rest)


def pixels() -> Tensor:
    """Return the images of digits as rows, (1400, 64)."""
    return digit_images()[0].flatten(1)


def on_pixels(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run that reconstructs digits."""
    x = pixels()
    rest = {"trivial": float(x.var(0).mean())} | rest
    return finite(model, rest.pop("loss", F.mse_loss), (x, x), size, optimizer, **rest)
