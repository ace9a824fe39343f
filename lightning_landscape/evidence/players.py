"""Readings of a run with several optimizers, such as a GAN or an actor and a critic: the course of each of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lightning_landscape._text import percent


@dataclass(frozen=True)
class Player:
    """One of several optimizers, with the networks that it trains, its own loss, its gradient and its movement."""

    index: int
    """index of the optimizer among those of the trainer"""
    networks: tuple[str, ...]
    """names of the parts of the module that it trains, such as "generator" """
    kind: str
    """name of its class, such as "Adam" """
    steps: int
    """number of its steps so far"""
    with_gradient: int
    """number of these at which any of its parameters had a gradient"""
    measured: int
    """number of these at which the update of the weights was measured and the gradient was not 0"""
    learning_rate: float | None
    """its largest learning rate so far; None if it has none"""
    scheduled: bool
    """whether a scheduler sets its learning rate"""
    loss_start: float | None
    """mean of its first 10 losses; None if they are unknown"""
    loss_now: float | None
    """mean of at least 10 of its latest losses"""
    loss_spread: float | None
    """standard deviation of all its losses so far; a constant in the loss does not change it"""
    grad_largest: float | None
    """largest mean of its gradient norm over a few measured steps; None if it was not measured"""
    grad_now: float | None
    """mean of its gradient norm over the latest few measured steps"""
    update_ratio: float | None
    """largest mean of |Δw|/|w| over a few measured steps; None if it was not measured"""
    travel: float | None
    """Σ|Δw|/|w| over all steps of the planned run, at the largest update so far; None if it was not measured"""
    predicted: float | None
    """Σ|g·Δw| over all steps of the planned run, which bounds what it changes its loss to first order, in units of the
    loss; None if it was not measured"""
    weight_norm: float | None
    """norm of its weights; None if it was not measured"""
    near_zero_since: int | None = None
    """step since which its loss has stayed within 2% of `loss_start` of 0; None if it has not"""
    not_finite_since: int | None = None
    """step since which its weights are NaN or infinite; None if they are finite"""

    @property
    def label(self) -> str:
        """What to call it in a sentence, such as "optimizer 1 (`critic`)"."""
        named = ", ".join(f"`{name}`" for name in self.networks)
        return f"optimizer {self.index} ({named})" if named else f"optimizer {self.index}"

    @property
    def sentence(self) -> str:
        """Its course in one line, as in the report."""
        if not self.steps:
            return f"{self.label} has taken no step so far"
        known = self.learning_rate is not None
        rate = f"a learning rate of up to {self.learning_rate:.3g}" if known else "an unknown learning rate"
        facts = [f"{self.steps:,} step{'s' * (self.steps != 1)} with {rate}"]
        if not self.with_gradient:
            facts.append("no gradient at any of them")
        if self.loss_start is not None and self.loss_now is not None:
            facts.append(f"its loss went from {self.loss_start:.3g} to {self.loss_now:.3g}")
        if self.grad_now is not None and self.grad_largest is not None:
            facts.append(f"its gradient norm is {self.grad_now:.2g} now and was at most {self.grad_largest:.2g}")
        if self.update_ratio is not None and math.isfinite(self.update_ratio):
            most = percent(self.update_ratio)
            most = most if most.startswith("less") else f"at most {most}"
            facts.append(f"one step moves its weights by {most} of their norm")
        return f"{self.label}, {self.kind}: {'; '.join(facts)}"


@dataclass(frozen=True)
class Players:
    """All optimizers of a run that has several of them."""

    players: tuple[Player, ...]
    """in the order in which the trainer has them"""
    elapsed: float | None
    """share of the planned run that has passed, in [0, 1]; None if its length is unknown"""

    def other_than(self, player: Player) -> tuple[Player, ...]:
        """Return all but this one."""
        return tuple(other for other in self.players if other.index != player.index)
