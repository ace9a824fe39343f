"""Generative models."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.plain import Classifier
from tests.zoo.specimen import specimen


@specimen()
class Autoencoder(Classifier):
    """A variational autoencoder, which draws its code from the global random number generator."""

    def __init__(self) -> None:
        super().__init__()
        self.coder, self.decoder = nn.Linear(8, 8), nn.Linear(4, 8)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        mean, log_variance = self.coder(batch[0]).chunk(2, dim=1)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        divergence = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum(1).mean()
        loss = F.mse_loss(self.decoder(code), batch[0]) + 0.1 * divergence
        self.log_dict({"loss": loss, "divergence": divergence}, on_epoch=True)
        return loss


@specimen()
class GradientPenalty(Classifier):
    """The loss contains a derivative, so that it cannot be computed under `no_grad`."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs = batch[0].detach().requires_grad_()
        logits = self.net(inputs)
        (slope,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
        return F.cross_entropy(logits, batch[1]) + 0.1 * (slope.norm(dim=1) - 1).pow(2).mean()
