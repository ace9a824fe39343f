"""The loss on the straight line from an anchor to the present weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lightning_landscape.evidence import Line
from lightning_landscape.functional.interpolation import barrier_height, interpolate, is_monotone, line_alphas
from lightning_landscape.surface import LossSurface


@dataclass(frozen=True)
class LossLine:
    """Evaluate the surface at `points` positions from the anchor to here and one step past the end.

    It takes `points` + 1 evaluations of the loss.
    """

    anchor: str = "initial"
    points: int = 11

    def __post_init__(self) -> None:
        line_alphas(self.points)

    def __call__(self, surface: LossSurface) -> Line | None:
        """The `Line`, or None where the surface has no such anchor."""
        start = surface.anchors.get(self.anchor)
        if start is None:
            return None
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
            samples=surface.run.samples,
        )

    def cost(self, surface: LossSurface) -> float:
        """Return the gradients of one batch that it takes on this surface; 0 where there is no such anchor."""
        return surface.measuring(self.points + 1) if self.anchor in surface.anchors else 0.0
