"""`Specimen`: a module of the zoo with its data, its trainer's settings and the expected answers of its surface."""

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
    """the code of the error that the surface raises; None if it can be evaluated"""
    reference: Callable[[Any, Any], torch.Tensor] | None = None
    """returns the loss of (module, batch) if `training_step` does not return it; for a manual step, this is the sum of
    the losses that it passes to `manual_backward`"""
    once_differentiable: str | None = None
    """the reason why the loss has no Hessian; None if it has one"""
    prepare: Callable[[Any], Any] = field(default=lambda module: module)
    """applied to the module before it is fitted"""
    epochs: int = 2


def specimen(**settings: Any) -> Callable[[type[LightningModule]], type[LightningModule]]:
    """Return a decorator that adds a class to `SPECIMENS` under its name."""

    def register(module: type[LightningModule]) -> type[LightningModule]:
        SPECIMENS[module.__name__] = Specimen(module, **settings)
        return module

    return register
