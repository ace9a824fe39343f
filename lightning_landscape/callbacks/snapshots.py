"""Copies of the weights on the CPU: where the run started, where it was, where it was best, and what lies in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.checkpoints import read_weights
from lightning_landscape.errors import CheckpointError
from lightning_landscape.surface import Params

KEPT = ("initial", "previous", "best")


class Snapshots:
    """Points of the run by name: "initial", "previous", "best", or the path of a checkpoint file.

    Args:
        names: which points to offer.
        max_saved_bytes: where the points in memory are larger than this in total they stay out of the user's
            checkpoints, and a resumed run starts with fresh ones.
    """

    def __init__(self, names: Sequence[str], max_saved_bytes: int = 64 * 2**20) -> None:
        self.names = tuple(names)
        self.max_saved_bytes = max_saved_bytes
        self.skipped: dict[str, str] = {}
        self._points: dict[str, dict[str, Tensor]] = {}
        self._best_loss: float | None = None

    def has(self, name: str) -> bool:
        """Whether there is such a point in memory."""
        return name in self._points

    @torch.no_grad()
    def take(self, name: str, module: nn.Module) -> None:
        """Keep the present weights under this name, if it is one of `names`."""
        if name not in self.names:
            return
        weights = parameters_of(module)
        kept = self._points.get(name)
        if kept is None or kept.keys() != weights.keys():
            self._points[name] = {key: _copied(weight) for key, weight in weights.items()}
        else:
            for key, weight in weights.items():
                kept[key].copy_(weight)

    def take_best(self, loss: float, module: nn.Module) -> None:
        """Keep the present weights as "best" if no loss so far was lower."""
        if "best" in self.names and (self._best_loss is None or loss < self._best_loss):
            self._best_loss = loss
            self.take("best", module)

    def points(self, like: Params) -> dict[str, Params]:
        """Every point that is there and belongs to this model; files are read now, a bad one is noted in `skipped`."""
        points: dict[str, Params] = {}
        for name in self.names:
            if name in self._points and self._points[name].keys() == like.keys():
                points[name] = self._points[name]
            elif name not in KEPT:
                try:
                    # Copied: a mapped file that is overwritten in place while it is looked at kills the process.
                    points[name] = {key: _copied(weight) for key, weight in read_weights(name, like).items()}
                    self.skipped.pop(name, None)
                except CheckpointError as error:
                    self.skipped[name] = str(error)
        return points

    def state_dict(self) -> dict[str, Any]:
        """The points in memory, where they are small enough for the user's checkpoint."""
        size = sum(
            tensor.numel() * tensor.element_size() for point in self._points.values() for tensor in point.values()
        )
        points = self._points if size <= self.max_saved_bytes else {}
        return {"points": {name: dict(point) for name, point in points.items()}, "best_loss": self._best_loss}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the points that were saved, of those that this object offers."""
        self._points = {name: dict(point) for name, point in state["points"].items() if name in self.names}
        self._best_loss = state["best_loss"] if "best" in self._points else None


def parameters_of(module: nn.Module) -> dict[str, Tensor]:
    """The module's parameters by name, detached; tied weights once, lazy ones left out."""
    return {
        name: parameter.detach()
        for name, parameter in module.named_parameters()
        if not isinstance(parameter, nn.UninitializedParameter)
    }


def _copied(weight: Tensor) -> Tensor:
    return weight.detach().to("cpu", copy=True)
