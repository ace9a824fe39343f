"""Modules with manual optimization."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.zoo.plain import Classifier
from tests.zoo.specimen import specimen


class Players(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8))
        self.critic = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.LeakyReLU(), nn.Linear(16, 1))

    def losses(self, real: Tensor) -> Any:
        fake = self.generator(torch.randn(len(real), 4))
        yield F.softplus(-self.critic(fake)).mean()
        yield F.softplus(-self.critic(real)).mean() + F.softplus(self.critic(fake.detach())).mean()

    def configure_optimizers(self) -> Any:
        optimizers = [torch.optim.Adam(part.parameters(), 1e-3) for part in (self.generator, self.critic)]
        return optimizers, [torch.optim.lr_scheduler.StepLR(optimizer, 3) for optimizer in optimizers]


def _sum_of_losses(module: Players, batch: Any) -> Tensor:
    return sum(module.losses(batch[0]))


@specimen(reference=_sum_of_losses)
class Adversaries(Players):
    """Two optimizers, toggled in turn, with schedulers and clipping; each loss is passed to manual_backward."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        losses = self.losses(batch[0])
        for optimizer, scheduler in zip(self.optimizers(), self.lr_schedulers(), strict=True):
            self.toggle_optimizer(optimizer)
            loss = next(losses)
            optimizer.zero_grad()
            self.manual_backward(loss)
            self.clip_gradients(optimizer, 0.5, "norm")
            optimizer.step()
            scheduler.step()
            self.untoggle_optimizer(optimizer)
            self.log(f"loss_{optimizer.param_groups[0]['lr'] > 0}", loss)


@specimen(refusal="LL314")
class ClippedWeights(Players):
    """The step clips the critic's weights in place, so that after the step they are not those that gave its loss."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        for optimizer, loss in zip(self.optimizers(), list(self.losses(batch[0])), strict=True):
            self.manual_backward(loss, retain_graph=True)
            if optimizer is self.optimizers()[-1]:
                for optimizer_ in self.optimizers():
                    optimizer_.step()
                    optimizer_.zero_grad()
        for weight in self.critic.parameters():
            weight.data.clamp_(-0.2, 0.2)


def _plain_loss(module: Any, batch: Any) -> Tensor:
    return F.cross_entropy(module.net(batch[0]), batch[1])


def _apply(weight: Tensor) -> None:
    with torch.no_grad():
        weight.sub_(0.1 * weight.grad)
    weight.grad = None


@specimen(reference=_plain_loss)
class OptimizerInBackward(Classifier):
    """A hook applies each gradient as soon as it is computed, so that one `.backward()` changes the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))

    def on_train_start(self) -> None:
        for weight in self.parameters():
            weight.register_post_accumulate_grad_hook(_apply)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = _plain_loss(self, batch)
        self.manual_backward(loss)
        return loss

    def configure_optimizers(self) -> None:
        return None


@specimen(reference=_plain_loss)
class BackwardByHand(Classifier):
    """The step calls `loss.backward()` instead of `manual_backward`."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net = nn.Linear(8, 3)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.optimizers().zero_grad()
        _plain_loss(self, batch).backward()
        self.optimizers().step()
