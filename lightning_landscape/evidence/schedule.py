"""Readings of the learning rate over the run, and of the schedulers that set it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """The learning rate now, at its peak and over the run, and when it came to its end."""

    learning_rate: float
    """learning rate of the latest optimizer step"""
    peak: float
    """the rate that at most a twentieth of the steps exceeded, so that a spike of a few steps is no peak"""
    elapsed: float | None
    """share of the run's planned steps that has passed, in [0, 1]; None if the planned number is unknown"""
    first: float | None = None
    """learning rate of the first step; None if it was not measured"""
    median: float | None = None
    """median of the rate over all steps so far; None if it was not measured"""
    steps: int = 0
    """number of optimizer steps so far; 0 if it was not measured"""
    ended_after: int | None = None
    """number of optimizer steps after which the rate has stayed below 0.9% of `usual`; None if it has not"""
    usual: float | None = None
    """the rate that a fifth of the steps before `ended_after` exceeded; None if the rate has not come to an end"""
    declining_since: int | None = None
    """the last step, as the loggers count, at which the rate was at least half of `usual`; None without an end"""

    @property
    def typical(self) -> float:
        """The rate that a run from new weights would use: the present one, or a larger one that was usual before.

        That is the median of the rate so far or, if the rate has come to an end, what was usual before that.
        """
        return max(self.learning_rate, self.median or 0.0, self.usual or 0.0)

    @property
    def share_of_peak(self) -> float:
        """Present learning rate over its peak, in [0, 1]; 1 if it was never above zero."""
        return self.learning_rate / self.peak if self.peak > 0 else 1.0

    @property
    def planned_steps(self) -> int | None:
        """Number of optimizer steps of the whole run; None if it is unknown."""
        return round(self.steps / self.elapsed) if self.elapsed is not None and self.elapsed > 0 else None

    @property
    def ended_at_share(self) -> float | None:
        """Share of the planned steps after which the rate came to its end; None if it has not, or it is unknown."""
        planned = self.planned_steps
        return self.ended_after / planned if planned and self.ended_after is not None else None


@dataclass(frozen=True)
class Scheduler:
    """How one learning-rate scheduler is set up."""

    kind: str
    """name of its class, such as "OneCycleLR" """
    interval: str
    """when it is stepped: after every "step" or "epoch", or "manual" if the user's code steps it"""
    frequency: int = 1
    """number of these intervals between two of its steps"""
    length: int | None = None
    """number of its own steps after which it ends, or makes its first cut; None if it is unknown"""
    length_name: str = ""
    """name of the setting with that number, such as "T_max"; empty if it is unknown"""
    warmup: int | None = None
    """number of its own steps in which the rate rises at first; None if it is unknown"""
    warmup_name: str = ""
    """name of the setting with that number; empty if it is unknown"""
    target_rate: float | None = None
    """the rate to which a warm-up leads: that of the optimizer, or ``max_lr``; None if it is unknown"""
    monitor: str | None = None
    """the metric that it watches; None for a scheduler that watches none"""
    patience: int | None = None
    """number of its steps without improvement after which it cuts the rate; None unless it watches a metric"""
    factor: float | None = None
    """the factor of each of these cuts; None unless it watches a metric"""

    @property
    def watches_metric(self) -> bool:
        """Whether it cuts the rate when a metric has not improved, as `ReduceLROnPlateau` does."""
        return self.patience is not None


@dataclass(frozen=True)
class Schedulers:
    """The learning-rate schedulers of the run."""

    schedulers: tuple[Scheduler, ...]
    """all of them; empty if the learning rate is constant, or set by the user's code"""
    steps_per_epoch: float | None = None
    """number of optimizer steps in an epoch; None if it is unknown"""
