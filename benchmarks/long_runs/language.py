"""A language model of 3 million parameters on Python source code, well trained and with three mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable

import lightning.pytorch as pl
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset

from benchmarks.long_runs.data import CHARACTERS, Batches, passages, source_code
from benchmarks.networks import Block

LENGTH, COUNT = 64, 4
"""characters of a passage, and passages of a batch"""
WIDTH, LAYERS, HEADS = 256, 4, 8
RATE = 1.5e-3
"""the learning rate that trains this model well"""
WARM_UP = 0.03
"""share of the run in which the learning rate rises"""
JOINT = 0.4
"""share of the run after which the two parts of the spiked schedule are joined"""
SPIKE_STEPS, SPIKE = 40, 100.0
"""steps for which the joined schedule is wrong, and by which factor"""


class Gpt(nn.Module):
    """A causal transformer for characters."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(LENGTH, WIDTH))
        self.blocks = nn.ModuleList(Block(WIDTH, HEADS) for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CHARACTERS)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, (samples, tokens, characters)."""
        hidden = self.embedding(tokens) + self.position
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.norm(hidden))


def warm_up_and_cosine(steps: int) -> Callable[[int], float]:
    """Return a schedule that rises linearly to 1, then falls to a tenth along half a period of the cosine."""
    rising = max(1, round(WARM_UP * steps))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        share = min(1.0, (step - rising) / max(1, steps - rising))
        return 0.1 + 0.45 * (1 + math.cos(math.pi * share))

    return factor


def badly_joined(steps: int) -> Callable[[int], float]:
    """Return `warm_up_and_cosine` with a second warm-up in mid-run, whose first steps are far too large."""
    usual, joint = warm_up_and_cosine(steps), round(JOINT * steps)
    return lambda step: SPIKE if joint <= step < joint + SPIKE_STEPS else usual(step)


def one_rate(model: Gpt, rate: float) -> list[dict]:
    """Return one group of all parameters."""
    return [{"params": list(model.parameters()), "lr": rate}]


def rate_by_depth(model: Gpt, rate: float) -> list[dict]:
    """Return groups whose rates should rise with depth, as in fine-tuning; integer division makes the blocks' zero."""
    blocks = [{"params": list(block.parameters()), "lr": rate * (i // LAYERS)} for i, block in enumerate(model.blocks)]
    head = [*model.norm.parameters(), *model.head.parameters()]
    return [{"params": [model.embedding.weight, model.position], "lr": rate}, *blocks, {"params": head, "lr": rate}]


class LanguageModel(pl.LightningModule):
    """Predicts the next character.

    Args:
        rate: learning rate.
        groups: makes the parameter groups of the optimizer.
        schedule: factor of the learning rate at each step.
    """

    def __init__(
        self, rate: float, groups: Callable[[Gpt, float], list[dict]], schedule: Callable[[int], float]
    ) -> None:
        super().__init__()
        self.model = Gpt()
        self.rate, self.groups, self.schedule = rate, groups, schedule

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the cross-entropy of the next characters, in nats."""
        loss = F.cross_entropy(self.model(batch[0]).flatten(0, 1), batch[1].flatten())
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> dict:
        """Return AdamW and the schedule."""
        optimizer = torch.optim.AdamW(self.groups(self.model, self.rate), lr=self.rate, weight_decay=0.1)
        scheduler = {"scheduler": LambdaLR(optimizer, self.schedule), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    @torch.no_grad()
    def quality(self) -> float:
        """Return the bits that each character of text that the model was not trained on takes."""
        tokens, targets = passages(source_code()[1], 64, LENGTH, Generator().manual_seed(0))
        return F.cross_entropy(self.model(tokens).flatten(0, 1), targets.flatten()).item() / math.log(2)


def text(steps: int) -> Dataset:
    """Return one batch of passages for each step."""
    return Batches(steps, lambda generator, _: passages(source_code()[0], COUNT, LENGTH, generator))


def healthy(steps: int) -> tuple[LanguageModel, Dataset]:
    """Return the model with a good learning rate."""
    return LanguageModel(RATE, one_rate, warm_up_and_cosine(steps)), text(steps)


def ten_times_the_rate(steps: int) -> tuple[LanguageModel, Dataset]:
    """Return the model with ten times this rate."""
    return LanguageModel(10 * RATE, one_rate, warm_up_and_cosine(steps)), text(steps)


def body_at_rate_zero(steps: int) -> tuple[LanguageModel, Dataset]:
    """Return the model whose blocks have learning rate 0."""
    return LanguageModel(RATE, rate_by_depth, warm_up_and_cosine(steps)), text(steps)


def after_a_spike(steps: int) -> tuple[LanguageModel, Dataset]:
    """Return the model whose schedule is joined badly."""
    return LanguageModel(RATE, one_rate, badly_joined(steps)), text(steps)
