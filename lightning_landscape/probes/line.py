"""The loss on the straight line from an anchor to the present weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lightning_landscape.evidence import Line
from lightning_landscape.functional.interpolation import interpolate, is_monotone, line_alphas, rise_above_minimum
from lightning_landscape.surface import LossSurface


@dataclass(frozen=True)
class LossLine:
    """Evaluate the loss at equally spaced positions from an anchor to the present weights, and one step beyond them.

    It takes `points` + 1 evaluations of the loss.
    """

    anchor: str = "initial"
    """name of the point at which the line starts; see `LossSurface.anchors`"""
    points: int = 11
    """number of positions from the anchor to the present weights, both included; at least 3"""

    def __post_init__(self) -> None:
        line_alphas(self.points)  # raises ValueError for fewer than 3 points

    def __call__(self, surface: LossSurface) -> Line | None:
        """Return the losses on the line and their largest rise; None where the surface has no such anchor."""
        start = surface.anchors.get(self.anchor)
        if start is None:
            return None
        alphas = line_alphas(self.points)
        with torch.no_grad(), surface.working_copy() as point:
            values = [surface.loss(interpolate(start, surface.here, alpha, out=point)) for alpha in alphas]
            losses = tuple(torch.stack(values).double().tolist())
        up_to_here = losses[: self.points]
        return Line(
            anchor=self.anchor,
            alphas=alphas,
            losses=losses,
            barrier=rise_above_minimum(up_to_here),
            monotone=is_monotone(up_to_here),
            samples=surface.run.samples,
            anchor_step=surface.run.anchor_steps.get(self.anchor),
        )

    def cost(self, surface: LossSurface) -> float:
        """Return the cost on this surface, in gradients of one batch; 0 where the surface has no such anchor."""
        return surface.loss_cost(self.points + 1) if self.anchor in surface.anchors else 0.0
