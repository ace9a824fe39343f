"""Copies of the weights on the CPU: where the run started, where it went, where it was best, and what lies in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.checkpoints import read_weights
from lightning_landscape.errors import CheckpointError
from lightning_landscape.surface import Params

KEPT = ("initial", "previous", "best")
TRAIL = 6
"""further points of the path that are kept; beyond that, every other one goes"""
TRAIL_BYTES = 8 * 2**20
"""of all those points together, since they go into the user's checkpoints; a larger model has fewer of them, or none"""


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
        self._steps: dict[str, int] = {}
        self._trail: dict[int, dict[str, Tensor]] = {}

    def has(self, name: str) -> bool:
        """Whether there is such a point in memory."""
        return name in self._points

    @torch.no_grad()
    def take(self, name: str, module: nn.Module, step: int = 0) -> None:
        """Keep the present weights, those of this optimizer step, under this name, if it is one of `names`."""
        if name not in self.names:
            return
        self._steps[name] = step
        weights = parameters_of(module)
        kept = self._points.get(name)
        if kept is None or kept.keys() != weights.keys():
            self._points[name] = {key: _copied(weight) for key, weight in weights.items()}
        else:
            for key, weight in weights.items():
                kept[key].copy_(weight)

    def take_best(self, loss: float, module: nn.Module, step: int = 0) -> None:
        """Keep the present weights as "best" if no loss so far was lower."""
        if "best" in self.names and (self._best_loss is None or loss < self._best_loss):
            self._best_loss = loss
            self.take("best", module, step)

    def pass_by(self, module: nn.Module, step: int, loss: float | None, *, follow: bool) -> None:
        """Keep the present weights as "previous", as "best" if no loss was lower, and as a point of the path.

        Args:
            module: whose weights they are.
            step: the optimizer step.
            loss: the present loss; None where it is unknown.
            follow: whether the path is kept.
        """
        self.take("previous", module, step)
        if loss is not None:
            self.take_best(loss, module, step)
        if follow:
            self.follow(module, step)

    @torch.no_grad()
    def follow(self, module: nn.Module, step: int) -> None:
        """Keep the present weights as a point of the path, as far as there is room."""
        weights = parameters_of(module)
        most = min(TRAIL, TRAIL_BYTES // max(1, _bytes(weights)))
        if most < 1 or any(point.keys() != weights.keys() for point in self._trail.values()):
            self._trail = {}
        if most < 1:
            return
        self._trail[step] = {key: _copied(weight) for key, weight in weights.items()}
        if len(self._trail) > most:  # the latest stays, and so does the order
            kept = list(self._trail)[::-1][::2][:most]
            self._trail = {key: self._trail[key] for key in reversed(kept)}

    def points(self, like: Params) -> dict[str, Params]:
        """Every point that is there and belongs to this model: files, whose time nobody knows, and the run's in order.

        Files are read now; a bad one is noted in `skipped`.
        """
        points: dict[str, Params] = {}
        for name in self.names:
            if name not in KEPT:
                try:
                    # Copied: a mapped file that is overwritten in place while it is looked at kills the process.
                    points[name] = {key: _copied(weight) for key, weight in read_weights(name, like).items()}
                    self.skipped.pop(name, None)
                except CheckpointError as error:
                    self.skipped[name] = str(error)
        path = {name: (self._steps.get(name, 0), point) for name, point in self._points.items()}
        named = {step for step, _ in path.values()}
        path |= {f"step {step}": (step, point) for step, point in self._trail.items() if step not in named}
        ordered = sorted(path.items(), key=lambda item: item[1][0])  # stable: of one step, as they are named
        return points | {name: point for name, (_, point) in ordered if point.keys() == like.keys()}

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles are made of: no weights, since the next fit begins with its own."""
        return {**vars(self), "_points": {}, "_trail": {}}

    def state_dict(self) -> dict[str, Any]:
        """The points in memory, where they are small enough for the user's checkpoint."""
        size = sum(map(_bytes, self._points.values()))
        points = self._points if size <= self.max_saved_bytes else {}
        return {
            "points": {name: dict(point) for name, point in points.items()},
            "best_loss": self._best_loss,
            "steps": dict(self._steps),
            "trail": {step: dict(point) for step, point in self._trail.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the points that were saved, of those that this object offers."""
        self._points = {name: dict(point) for name, point in state["points"].items() if name in self.names}
        self._best_loss = state["best_loss"] if "best" in self._points else None
        self._steps = dict(state.get("steps", {}))
        self._trail = {step: dict(point) for step, point in state.get("trail", {}).items()}


def parameters_of(module: nn.Module) -> dict[str, Tensor]:
    """The module's parameters by name, detached; tied weights once, lazy ones left out."""
    return {
        name: parameter.detach()
        for name, parameter in module.named_parameters()
        if not isinstance(parameter, nn.UninitializedParameter)
    }


def _bytes(weights: Params) -> int:
    return sum(weight.numel() * weight.element_size() for weight in weights.values())


def _copied(weight: Tensor) -> Tensor:
    return weight.detach().to("cpu", copy=True)
