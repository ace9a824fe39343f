"""Tasks of the split `midway`: functions that return a run for a model, an optimizer and other settings."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.stuck_runs.data import digit_images, digits, entropy, table
from benchmarks.stuck_runs.midway.data import (
    ALPHABET,
    FRIEDMAN_VARIANCE,
    citations,
    discs,
    forecasts,
    friedman,
    grammar,
    large_digits,
    library_text,
    preferences,
    sentences,
    triplets,
    two_branches,
    windows,
)
from benchmarks.stuck_runs.midway.networks import (
    GraphConvolutions,
    PhysicsInformed,
    Preferences,
    RecurrentLanguageModel,
    Transformer,
    VariationalAutoencoder,
    mixture_nll,
    negative_elbo,
    physics_loss,
    ranking_loss,
    triplet_loss,
)
from benchmarks.stuck_runs.problem import Batch, MakesOptimizer, Problem, endless, finite

LETTERS = len(ALPHABET)


def on_text(model: nn.Module, optimizer: MakesOptimizer, size: int = 16, length: int = 32, **rest: Any) -> Problem:
    """Return a run of a language model on sources of the standard library."""
    trivial = entropy(library_text())
    sample = windows(library_text(), length)
    return endless(
        model, F.cross_entropy, sample, size, optimizer, evaluation_samples=128, **{"trivial": trivial} | rest
    )


def text_transformer(width: int = 32, length: int = 32, dropout: float = 0.0) -> Transformer:
    """Return a transformer for the characters of the standard library."""
    return Transformer(LETTERS, length, width, dropout=dropout)


def text_gru(width: int = 32) -> RecurrentLanguageModel:
    """Return a GRU for the characters of the standard library."""
    return RecurrentLanguageModel(LETTERS, nn.GRU(width, width, batch_first=True))


def on_grammar(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run of a language model on a Markov chain, whose lowest loss is its entropy rate."""
    _, floor, trivial = grammar()
    loss, sample = F.cross_entropy, sentences(12)
    rest = {"trivial": trivial, "floor": floor} | rest
    return endless(model, loss, sample, size, optimizer, evaluation_samples=512, **rest)


def grammar_gru() -> RecurrentLanguageModel:
    """Return a GRU for the twelve tokens of the grammar."""
    return RecurrentLanguageModel(12, nn.GRU(16, 24, batch_first=True))


def on_oscillation(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run that forecasts an oscillation, whose lowest loss is the variance of its noise."""
    rest = {"trivial": 0.132, "floor": 0.01} | rest
    return endless(model, F.mse_loss, forecasts(), size, optimizer, evaluation_samples=4096, **rest)


def on_discs(model: nn.Module, optimizer: MakesOptimizer, size: int = 16, pixels: int = 16, **rest: Any) -> Problem:
    """Return a run that segments discs in noisy pictures."""
    loss = rest.pop("loss", F.binary_cross_entropy_with_logits)
    rest = {"trivial": 0.39} | rest
    return endless(model, loss, discs(pixels), size, optimizer, evaluation_samples=256, **rest)


def on_large_digits(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run that classifies enlarged digits, and is evaluated on a quarter of them."""
    x, y = large_digits()
    rest = {"trivial": entropy(y), "floor": 0.0} | rest
    problem = finite(model, F.cross_entropy, (x, y), size, optimizer, **rest)
    return replace(problem, evaluation_data=lambda step: (x[::4], y[::4]))


def on_images(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run that classifies images of digits."""
    data = digit_images()
    rest = {"trivial": entropy(data[1]), "floor": 0.0} | rest
    return finite(model, F.cross_entropy, data, size, optimizer, **rest)


def on_preferences(deviation: float, optimizer: MakesOptimizer, size: int = 64, **rest: Any) -> Problem:
    """Return a run that ranks items for people, from embeddings of this deviation."""
    sample, floor = preferences()
    model, trivial = Preferences(deviation), math.log(2)
    return endless(
        model, ranking_loss, sample, size, optimizer, trivial=trivial, floor=floor, evaluation_samples=8192, **rest
    )


def on_citations(optimizer: MakesOptimizer, model: nn.Module | None = None, **rest: Any) -> Problem:
    """Return a full-batch run that classifies the nodes of a graph."""
    adjacency, (x, y) = citations()
    rest = {"trivial": entropy(y)} | rest
    return finite(model or GraphConvolutions(adjacency), F.cross_entropy, (x, y), len(y), optimizer, **rest)


def on_friedman(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run of regression on a table, whose lowest loss is the variance of its noise."""
    rest = {"trivial": FRIEDMAN_VARIANCE + 0.04, "floor": 0.04} | rest
    loss = rest.pop("loss", F.mse_loss)
    return endless(model, loss, friedman(), size, optimizer, evaluation_samples=4096, **rest)


def on_triplets(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run of metric learning on digits."""
    rest = {"trivial": 1.0, "floor": 0.0} | rest
    return endless(model, triplet_loss, triplets(), size, optimizer, **rest)


def on_branches(model: nn.Module, optimizer: MakesOptimizer, size: int = 64, **rest: Any) -> Problem:
    """Return a run that learns the density of two branches; its lowest loss is the entropy of the noise and a bit."""
    floor = math.log(2) + 0.5 * math.log(2 * math.pi * math.e * 0.1**2)
    rest = {"trivial": 1.30, "floor": floor} | rest
    return endless(model, mixture_nll, two_branches(), size, optimizer, evaluation_samples=4096, **rest)


def on_equation(optimizer: MakesOptimizer, model: nn.Module | None = None, **rest: Any) -> Problem:
    """Return a run that solves u″ = -sin(πx) on [0, 1] without data."""

    def sample(count: int, generator: torch.Generator) -> Batch:
        x = torch.rand(count, 1, generator=generator)
        return x, -torch.sin(math.pi * x)

    return endless(
        model or PhysicsInformed(), physics_loss, sample, 64, optimizer, trivial=0.5, **{"floor": 0.0} | rest
    )


def binary_digits() -> Tensor:
    """Return the images of digits as pixels of 0 and 1, (1400, 64)."""
    return (digit_images()[0].flatten(1) > 0).float()


def by_variational_autoencoder(optimizer: MakesOptimizer, size: int = 64, **rest: Any) -> Problem:
    """Return a run of a variational autoencoder of binary images."""
    x = binary_digits()
    shares = x.mean(0)
    trivial = float((torch.special.entr(shares) + torch.special.entr(1 - shares)).mean())
    rest = {"trivial": trivial} | rest
    return finite(VariationalAutoencoder(), negative_elbo, (x, x), size, optimizer, **rest)


def denoising(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, noise: float = 0.7, **rest: Any) -> Problem:
    """Return a run that reconstructs digits, in 20 components, from noisy copies."""
    clean, _ = digits()

    def sample(count: int, generator: torch.Generator) -> Batch:
        x = clean[torch.randint(0, len(clean), (count,), generator=generator)]
        return x + noise * torch.randn(x.shape, generator=generator), x

    rest = {"trivial": float((clean**2).mean())} | rest
    return endless(model, F.mse_loss, sample, size, optimizer, evaluation_samples=4096, **rest)


def standardised(name: str) -> Batch:
    """Return a table with inputs and targets, (samples, 1), of mean 0 and deviation 1."""
    x, y = table(name)
    return x, ((y - y.double().mean()) / y.double().std()).float()[:, None]
