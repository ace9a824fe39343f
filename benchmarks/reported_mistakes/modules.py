"""The parts that several programs share."""

from __future__ import annotations

from itertools import pairwise

import lightning.pytorch as pl
import torch
from torch import nn


class Recipe(pl.LightningModule):
    """A module whose subclass says in `loss_of` what the loss of a batch is; Adam trains all its parameters."""

    rate = 1e-3

    def loss_of(self, batch):
        """Return the loss of a batch (0-dim)."""
        raise NotImplementedError

    def training_step(self, batch, batch_idx):
        """Return the loss of the batch, after it is logged."""
        loss = self.loss_of(batch)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        """Return Adam over all parameters."""
        return torch.optim.Adam(self.parameters(), lr=self.rate)


class Supervised(Recipe):
    """A network, a loss of its output and the target, and a function that makes the optimizer of the parameters."""

    def __init__(self, net, criterion, optimizer=None, scheduler=None):
        super().__init__()
        self.net = net
        self.criterion = criterion
        self.make_optimizer = optimizer or (lambda p: torch.optim.Adam(p, lr=1e-3))
        self.make_scheduler = scheduler

    def forward(self, x):
        """Return the network's output."""
        return self.net(x)

    def loss_of(self, batch):
        """Return the criterion of the output and the target."""
        x, y = batch
        return self.criterion(self(x), y)

    def configure_optimizers(self):
        """Return the optimizer, and the scheduler's configuration if there is one."""
        optimizer = self.make_optimizer(self.parameters())
        if self.make_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer)}


class Residual(nn.Module):
    """A residual block of two linear layers with a norm before them."""

    def __init__(self, width, hidden):
        super().__init__()
        self.inner = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x):
        """Return the input plus what the two layers make of it."""
        return x + self.inner(x)


class Rows(nn.Module):
    """A network that reads an image row by row with convolutions over the rows: (n, 8, 8) to (n, outputs)."""

    def __init__(self, outputs, width=32):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(8, width, 3, padding=1), nn.SiLU(), nn.Conv1d(width, width, 3, padding=1), nn.SiLU()
        )
        self.head = nn.Linear(width * 8, outputs)

    def forward(self, x):
        """Return the scores."""
        return self.head(self.conv(x).flatten(1))


class Recurrent(nn.Module):
    """A GRU over a sequence of numbers or of tokens, and a linear layer on its last state."""

    def __init__(self, outputs, width=32, tokens=None):
        super().__init__()
        self.embed = nn.Linear(1, width) if tokens is None else nn.Embedding(tokens, width)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, outputs)

    def forward(self, x):
        """Return the scores of sequences (n, length)."""
        x = x.unsqueeze(-1) if isinstance(self.embed, nn.Linear) else x
        states, _ = self.gru(self.embed(x))
        return self.head(states[:, -1])


def tanh_stack(sizes):
    """Return linear layers of these sizes, with tanh after each."""
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers)
