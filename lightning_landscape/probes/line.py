"""The loss on the straight line from an anchor to the present weights."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import torch

from lightning_landscape.errors import OverBudgetError
from lightning_landscape.evidence import Line
from lightning_landscape.functional.interpolation import barrier_height, interpolate, is_monotone, line_alphas
from lightning_landscape.surface import LossSurface


@dataclass(frozen=True)
class LossLine:
    """Evaluate the surface at `points` positions from the anchor to here and one step past the end.

    The price is `points` + 1 evaluations of the loss.
    """

    anchor: str = "initial"
    points: int = 11

    def __post_init__(self) -> None:
        line_alphas(self.points)

    def __call__(self, surface: LossSurface) -> Line | None:
        """The `Line`, or None where the surface has no such anchor.

        Raises:
            OverBudgetError: if the surface's `gradients` do not pay for it, at a third of one for an evaluation.
        """
        start = surface.anchors.get(self.anchor)
        if start is None:
            return None
        price = ceil((self.points + 1) * max(1, len(surface.parts)) / 3)
        if not surface.affordable(1, price):
            raise OverBudgetError(f"a line costs about {price} gradients, the budget leaves {surface.gradients}")
        alphas = line_alphas(self.points)
        with torch.no_grad():
            values = [surface.loss(interpolate(start, surface.here, alpha)) for alpha in alphas]
            losses = tuple(torch.stack(values).double().tolist())
        between = losses[: self.points]
        return Line(
            anchor=self.anchor,
            alphas=alphas,
            losses=losses,
            barrier=barrier_height(between, alphas[: self.points]),
            monotone=is_monotone(between),
            samples=surface.samples,
        )
