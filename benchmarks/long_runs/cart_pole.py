"""A deep Q-network that learns to balance a pole on a cart."""

from __future__ import annotations

import copy
import math
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

CARTS = 16
"""carts that are driven at the same time"""
LONGEST = 500
"""steps after which an episode ends"""
DISCOUNT = 0.99
MEMORY, COUNT = 48_000, 256
"""transitions that are remembered, and those of a batch"""
COPIED_EVERY = 200
"""optimizer steps after which the target network is replaced by a copy"""


def driven(state: Tensor, right: Tensor) -> Tensor:
    """Return the states 0.02 s after the carts began to be pushed to the right or to the left [Barto83]_.

    Args:
        state: (carts, 4): position, speed, angle and angular speed.
        right: (carts,) of booleans.

    .. [Barto83] Neuronlike adaptive elements that can solve difficult learning control problems.
    """
    _, speed, angle, turning = state.unbind(1)
    force = torch.where(right, 10.0, -10.0)
    cosine, sine = angle.cos(), angle.sin()
    pull = (force + 0.05 * turning**2 * sine) / 1.1
    angular = (9.8 * sine - cosine * pull) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
    linear = pull - 0.05 * angular * cosine / 1.1
    change = torch.stack([speed, linear, turning, angular], 1)
    return state + 0.02 * change


def fallen(state: Tensor) -> Tensor:
    """Return whether each cart has left the track or its pole has fallen, (carts,)."""
    return (state[:, 0].abs() > 2.4) | (state[:, 2].abs() > math.radians(12))


class Play(Dataset[Any]):
    """Drives the carts by one step for each batch, and draws the batch from the transitions that are remembered.

    Args:
        steps: length of the run.
        net: the network that drives, more and more often; the other pushes are random.
    """

    def __init__(self, steps: int, net: nn.Module) -> None:
        self.steps, self.net = steps, net
        self.generator = Generator().manual_seed(0)
        self.state = self._start(CARTS)
        self.age = torch.zeros(CARTS)
        self.remembered = 0
        self.memory = [torch.zeros(MEMORY, *size) for size in ((4,), (), (4,), ())]
        for _ in range(2 * COUNT // CARTS):
            self._drive(1.0)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> list[Tensor]:
        if not 0 <= index < self.steps:
            raise IndexError(index)
        self._drive(max(0.05, 1 - 4 * index / self.steps))
        drawn = torch.randint(min(self.remembered, MEMORY), (COUNT,), generator=self.generator)
        return [part[drawn] for part in self.memory]

    def _start(self, count: int) -> Tensor:
        return 0.1 * torch.rand(count, 4, generator=self.generator) - 0.05

    @torch.no_grad()
    def _drive(self, random: float) -> None:
        """Drive all carts by one step, of which a share is random, and remember it."""
        pushed = torch.rand(CARTS, generator=self.generator) < 0.5
        chosen = self.net(self.state).argmax(1) == 1
        right = torch.where(torch.rand(CARTS, generator=self.generator) < random, pushed, chosen)
        after = driven(self.state, right)
        down = fallen(after)
        place = self.remembered % MEMORY  # the memory has room for a whole number of steps of all carts
        for part, values in zip(self.memory, (self.state, right, after, down), strict=True):
            part[place : place + CARTS] = values
        self.remembered += CARTS
        self.age += 1
        ended = down | (self.age >= LONGEST)
        self.state = torch.where(ended[:, None], self._start(CARTS), after)
        self.age[ended] = 0


class DeepQ(pl.LightningModule):
    """Learns the value of each push from the network's own values of what follows [Mnih15]_.

    .. [Mnih15] Human-level control through deep reinforcement learning.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(*(nn.Linear(4, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2)))
        self.target = copy.deepcopy(self.net).requires_grad_(requires_grad=False)

    def on_train_batch_start(self, batch: list[Tensor], batch_idx: int) -> None:
        """Replace the target network now and then."""
        if self.global_step % COPIED_EVERY == 0:
            self.target.load_state_dict(self.net.state_dict())

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Return the Huber loss of the values, against those of double Q-learning."""
        before, pushed, after, down = batch
        value = self.net(before).gather(1, pushed.long()[:, None])[:, 0]
        with torch.no_grad():
            best = self.net(after).argmax(1, keepdim=True)
            following = self.target(after).gather(1, best)[:, 0]
        loss = F.smooth_l1_loss(value, 1 + DISCOUNT * (1 - down) * following)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam with a constant rate."""
        return torch.optim.Adam(self.parameters(), lr=2e-4)

    @torch.no_grad()
    def quality(self) -> float:
        """Return for how many steps, at most `LONGEST`, the pole stays up on average over 50 episodes."""
        state = 0.1 * torch.rand(50, 4, generator=Generator().manual_seed(1)) - 0.05
        up, lasted = torch.zeros(50) == 0, torch.zeros(50)
        for _ in range(LONGEST):
            lasted += up
            state = driven(state, self.net(state).argmax(1) == 1)
            up &= ~fallen(state)
        return lasted.mean().item()


def cart_pole(steps: int) -> tuple[DeepQ, Dataset]:
    """Return the network and the carts that it drives."""
    module = DeepQ()
    return module, Play(steps, module.net)
