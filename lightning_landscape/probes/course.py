"""A run on a copy of the weights that is stopped early: half of the held-out batches choose where, half judge it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lightning_landscape.evidence import RestartedRun
from lightning_landscape.probes.evaluation import batch_loss, gradient_at, loss_value, relative_gain
from lightning_landscape.surface import LossSurface, OptimizerStep, Params

STOPS = (0.125, 0.25, 0.5, 0.75, 1.0)
"""shares of its steps after which a run is evaluated, and may be stopped"""
LEAST_PART = 20
"""smallest number of steps of a part of a run that goes on at a later diagnosis"""


class Judge:
    """The losses of the present weights on the two halves of the held-out batches, with which others are compared.

    Where there is a single held-out batch, it is both halves.

    Args:
        surface: with held-out batches.
    """

    def __init__(self, surface: LossSurface) -> None:
        whole = () if surface.held_out is None else (surface.held_out,)
        self.losses: tuple[Callable[[Params], Tensor], ...] = surface.held_out_losses or whole
        self.cost = self.cost_on(surface)
        """the cost of evaluating one point, in gradients of one batch"""
        self._before = self._on_halves(surface.here)
        self._heights = tuple(surface.height(_mean(losses)) for losses in self._before)

    @staticmethod
    def cost_on(surface: LossSurface) -> float:
        """Return the cost of evaluating one point, in gradients of one batch."""
        return surface.held_out_cost(1)

    def gains(self, point: Params) -> tuple[float, float, float]:
        """Return the gains of a point on the half that chooses where to stop and on the other, and the latter's error.

        It is a standard error, from the differences of single batches; 0 for a single batch.
        """
        halves = self._on_halves(point)
        choosing, judging = map(relative_gain, map(_mean, self._before), map(_mean, halves), self._heights)
        falls = [before - after for before, after in zip(self._before[1], halves[1], strict=True)]
        known = len(falls) > 1 and all(map(math.isfinite, falls)) and self._heights[1]
        error = statistics.stdev(falls) / math.sqrt(len(falls)) / self._heights[1] if known else 0.0
        return choosing, judging, error

    def _on_halves(self, point: Params) -> tuple[list[float], list[float]]:
        values = [loss_value(loss, point) for loss in self.losses]
        return values[0::2], values[1::2] or values


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@dataclass
class Course:
    """One run on a copy, which may be interrupted.

    Args:
        kind: what was changed, one of the fields of `Restart`.
        seed: of the new weights.
        steps: number of optimizer steps of the whole run.
        taken: number of steps so far.
        point: the weights after these, on the CPU; empty before the first part, and where nothing can be kept.
        began: the loss at its start, on the first batch.
        fallen: gain over that, on the same batch.
        stops: numbers of steps, with what `Judge.gains` returns there.
    """

    kind: str
    seed: int
    steps: int
    taken: int = 0
    point: dict[str, Tensor] = field(default_factory=dict)
    began: float = 0.0
    fallen: float = 0.0
    stops: list[tuple[int, float, float, float]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all steps were taken, or the loss is no longer finite."""
        return self.taken >= self.steps or (bool(self.stops) and self.stops[-1][1] == -math.inf)

    def result(self) -> RestartedRun:
        """Return where the run is stopped, and its gain there."""
        step, _, gain, error = max(self.stops, key=lambda stop: stop[1])
        return RestartedRun(gain, self.steps, step, self.fallen, error=error)

    def advance(
        self,
        surface: LossSurface,
        judge: Judge,
        begin: Callable[[Course], Params],
        optimizer_step: OptimizerStep,
        budget: float,
    ) -> float:
        """Take as many steps as the gradient budget covers, and return what is left of it.

        It takes none if the budget does not cover all of them and the run cannot go on at a later diagnosis.

        Args:
            surface: with the batches.
            judge: the losses to compare with.
            begin: returns the weights at which the run begins.
            optimizer_step: a new optimizer.
            budget: gradients of one batch; inf for no limit.
        """
        evaluation, first_batch = judge.cost + 1 / 3, batch_loss(surface, 0)
        start = 0 if self.taken else 1 / 3
        covered = start + cost_of_steps(self.steps - self.taken, evaluation, len(self._stops_ahead)) <= budget
        if not covered and (surface.run.kept is None or start + cost_of_steps(LEAST_PART, evaluation) > budget):
            return budget
        with surface.working_copy(self.point if self.taken else begin(self)) as point:
            if not self.taken:
                self.began = loss_value(first_batch, point)
            budget -= start
            while not self.complete:
                stop = self._stops_ahead[0]
                if not covered:
                    stop = min(stop, self.taken + int(budget - evaluation))
                    if stop < min(self._stops_ahead[0], self.taken + LEAST_PART):
                        break
                for i in range(self.taken, stop):
                    optimizer_step(point, list(gradient_at(batch_loss(surface, i), point).values()))
                budget -= cost_of_steps(stop - self.taken, evaluation)
                self.taken = stop
                self.stops.append((stop, *judge.gains(point)))
                self.fallen = relative_gain(self.began, loss_value(first_batch, point), surface.height(self.began))
            if not self.complete:
                self.point = {name: weight.detach().to("cpu", copy=True) for name, weight in point.items()}
        return budget

    @property
    def _stops_ahead(self) -> list[int]:
        return [stop for share in STOPS if (stop := max(1, round(share * self.steps))) > self.taken]

    def to_dict(self) -> dict[str, Any]:
        """Return builtins and tensors on the CPU, for the checkpoint."""
        return {**vars(self), "stops": [list(stop) for stop in self.stops]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], here: Params) -> Course | None:
        """Return the run from what `to_dict` returned; None if it has other weights than `here`."""
        if data["point"].keys() != here.keys():
            return None
        # Version 0.1 wrote no error.
        stops = [(int(stop[0]), float(stop[1]), float(stop[2]), float([*stop, 0.0][3])) for stop in data["stops"]]
        return cls(**{**data, "stops": stops})


def cost_of_steps(steps: int, evaluation: float, evaluations: int = 1) -> float:
    """Return the cost of steps with evaluations in between, in gradients of one batch."""
    return steps + evaluations * evaluation
