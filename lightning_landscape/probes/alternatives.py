"""Other ways to go on, tried on a copy once a run is known to be stuck: they decide nothing, they are the advice."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lightning_landscape.evidence import Alternatives
from lightning_landscape.functional.perturbation import random_step
from lightning_landscape.probes.trials import loss_value, relative_gain, walk
from lightning_landscape.surface import LossSurface, Params

MORE_BATCHES = 4
"""batches a step of the trial with a larger batch"""
NUDGE = 0.1
"""length of the perturbation in the norm of each tensor"""
HALF_A_DECADE = 3.0
"""factor on the learning rate, between those that the diagnosis has tried"""


@dataclass(frozen=True)
class TryAlternatives:
    """A learning rate three times as large, a perturbation, and a larger batch, each with the run's own optimizer.

    It takes `steps` gradients of one batch for each of the first two and four times that for the last, which is left
    out where the surface's `gradients` do not pay for it. Gains compare only over equal steps: these are never fewer.
    """

    steps: int = 40

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")

    def __call__(self, surface: LossSurface) -> Alternatives | None:
        """The gains, or None where the optimizer cannot be copied or there are no batches to judge on."""
        judge = surface.held_out
        if judge is None or surface.run.optimizer_copy is None:
            return None
        here, steps = loss_value(judge, surface.here), self.steps
        ends = {
            "learning rate x3": walk(surface, surface.here, surface.run.optimizer_copy(HALF_A_DECADE), steps)[0],
            "a perturbation": walk(surface, perturbed(surface.here), surface.run.optimizer_copy(1.0), steps)[0],
        }
        if self._enlarges(surface):
            ends["batch x4"] = walk(surface, surface.here, surface.run.optimizer_copy(1.0), steps, MORE_BATCHES)[0]
        gains = {name: relative_gain(judge, end, here) for name, end in ends.items()}
        return Alternatives(gains, steps, surface.batches)

    def cost(self, surface: LossSurface) -> float:
        """Return the gradients of one batch that it takes on this surface; 0 where it has nothing to say."""
        if surface.held_out is None or surface.run.optimizer_copy is None:
            return 0.0
        return self._price(surface, larger=self._enlarges(surface))

    def _enlarges(self, surface: LossSurface) -> bool:
        enough = surface.run.gradient_budget is None or self._price(surface, larger=True) <= surface.run.gradient_budget
        return len(surface.batch_losses) >= MORE_BATCHES and enough

    def _price(self, surface: LossSurface, *, larger: bool) -> float:
        batches, ends = (2 + MORE_BATCHES, 3) if larger else (2, 2)
        return batches * self.steps + surface.judging(1 + ends)


def perturbed(point: Params, seed: int = 0) -> Params:
    """The point moved as `remedies.Perturb` with its default settings would move it, in other random directions."""
    generator = torch.Generator().manual_seed(seed)
    return {name: weight.detach() + random_step(weight, NUDGE, generator) for name, weight in point.items()}
