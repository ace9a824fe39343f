"""What the matrix of tests needs to know about a module of the zoo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader, TensorDataset

SPECIMENS: dict[str, Specimen] = {}


def labelled(seed: int = 0, samples: int = 48, features: int = 8, classes: int = 3) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(
        torch.randn(samples, features, generator=generator),
        torch.randint(0, classes, (samples,), generator=generator),
    )


def shuffled() -> DataLoader[Any]:
    return DataLoader(labelled(), batch_size=8, shuffle=True)


@dataclass(frozen=True)
class Specimen:
    module: Callable[[], LightningModule]
    loader: Callable[[], Any] = shuffled
    trainer: Callable[[], dict[str, Any]] = dict
    refusal: str | None = None
    """what the surface says in place of values"""
    reference: Callable[[Any, Any], torch.Tensor] | None = None
    """the loss of a manual step, by the definition of the surface: the sum of what it hands to manual_backward"""
    once_differentiable: str | None = None
    """why there is no Hessian"""
    prepare: Callable[[Any], Any] = field(default=lambda module: module)
    """what is done to the module before it is fitted"""
    epochs: int = 2


def specimen(**settings: Any) -> Callable[[type[LightningModule]], type[LightningModule]]:
    """Put a class into the zoo under its own name."""

    def register(module: type[LightningModule]) -> type[LightningModule]:
        SPECIMENS[module.__name__] = Specimen(module, **settings)
        return module

    return register
