"""Other ways to continue a stuck run, tried on a copy; the advice is drawn from them, the verdict is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from lightning_landscape.evidence import Alternatives
from lightning_landscape.functional.perturbation import random_step
from lightning_landscape.probes.evaluation import loss_value, relative_gain
from lightning_landscape.probes.trials import run_trial
from lightning_landscape.surface import LossSurface, Params

MORE_BATCHES = 4
"""number of batches for each step of the trial with a larger batch"""
PERTURBATION = 0.1
"""length of the perturbation of each tensor, as a share of the tensor's norm"""
RATE_FACTOR = 3.0
"""factor on the learning rate, between 1 and 10, which `CopyTrials` has tried"""


@dataclass(frozen=True)
class TryAlternatives:
    """Try a learning rate three times as large, a perturbation, and a larger batch, with the run's own optimizer.

    The first two trials take `steps` gradients of one batch each, the last four times as many; it is left out where the
    gradient budget is too small or there are fewer than four batches. There is no perturbation of weights that are
    sharded over ranks (FSDP2). Trials are never shortened, since gains can be compared only after equal numbers of
    steps.
    """

    several_copies: ClassVar[bool] = True
    steps: int = 40

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")

    def __call__(self, surface: LossSurface) -> Alternatives | None:
        """Return the gain of each trial; None where the optimizer cannot be copied or there are no held-out batches."""
        held_out, optimizer_copy = surface.held_out, surface.run.optimizer_copy
        if held_out is None or optimizer_copy is None:
            return None
        before = loss_value(held_out, surface.here)

        def gain(factor: float, start: Params | None = None, batches: int = 1) -> float:
            with run_trial(surface, optimizer_copy(factor), self.steps, start=start, batches=batches) as last:
                return relative_gain(before, loss_value(held_out, last), surface.height(before))

        gains = {"learning rate x3": gain(RATE_FACTOR)}
        if not any(hasattr(weight, "to_local") for weight in surface.here.values()):  # no rank has a whole tensor
            gains["a perturbation"] = gain(1.0, perturbed(surface.here))
        if self._with_larger_batch(surface):
            gains["batch x4"] = gain(1.0, batches=MORE_BATCHES)
        return Alternatives(gains, self.steps, surface.batches)

    def cost(self, surface: LossSurface) -> float:
        """Return the cost on this surface, in gradients of one batch; 0 where it returns None."""
        if surface.held_out is None or surface.run.optimizer_copy is None:
            return 0.0
        return self._cost_of_trials(surface, larger_batch=self._with_larger_batch(surface))

    def _with_larger_batch(self, surface: LossSurface) -> bool:
        budget = surface.run.gradient_budget
        affordable = budget is None or self._cost_of_trials(surface, larger_batch=True) <= budget
        return len(surface.batch_losses) >= MORE_BATCHES and affordable

    def _cost_of_trials(self, surface: LossSurface, *, larger_batch: bool) -> float:
        batches, trials = (2 + MORE_BATCHES, 3) if larger_batch else (2, 2)
        return batches * self.steps + surface.held_out_cost(1 + trials)


def perturbed(point: Params, seed: int = 0) -> Params:
    """Return the point after a random step of the same length as that of `remedies.Perturb` by default."""
    generator = torch.Generator().manual_seed(seed)
    return {name: weight.detach() + random_step(weight, PERTURBATION, generator) for name, weight in point.items()}
