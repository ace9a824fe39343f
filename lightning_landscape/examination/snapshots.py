"""Copies of the weights on the CPU, which are the anchors of probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.checkpoints import read_weights
from lightning_landscape.errors import CheckpointError
from lightning_landscape.examination.weight_files import StoredPoint, WeightFiles, resolved, saved
from lightning_landscape.examination.weight_samples import WeightSamples
from lightning_landscape.surface import Params
from lightning_landscape.tracking.mean_loss import MeanLoss

NAMES = ("initial", "previous", "best")
"""the anchors that are copied during the run; any other name is the path of a checkpoint file"""
PATH_POINTS = 6
"""most points of the path of the run that are kept besides these anchors"""
PATH_BYTES = 8 * 2**20
"""most bytes of the points of the path together, since they go into the user's checkpoints"""
DEFAULT_BYTES = 256 * 2**20
"""most bytes of memory for all anchors: "initial", "previous" and "best" of up to 22 million parameters of 32 bits"""
FIRST_TO_GO = ("previous", "best", "initial")
"""the order in which anchors leave the memory"""
MOST_RECENT_BYTES = 64 * 2**20
"""bytes of weights above which none but the anchors are copied, and "best" only at scheduled measurements"""
RECENT_STEPS = 40
"""fewest steps between two copies of recent weights, and most steps that are taken to find what made a loss NaN"""
RECENT_BYTES = 2 * 2**20
"""bytes of weights whose copy takes well below a percent of 40 steps; larger ones are copied more seldom, so that this
share stays the same"""


class Snapshots:
    """Anchors of the run by their names, and the path of the run.

    Args:
        names: the anchors to offer: "initial", "previous", "best", or paths of checkpoint files.
        max_bytes: most bytes of memory for the anchors; what exceeds them goes into files of the run directory. Without
            such a directory, "initial" stays in memory and the others are not kept.

    Raises:
        ValueError: if `max_bytes` is below 1
    """

    def __init__(self, names: Sequence[str], max_bytes: int = DEFAULT_BYTES) -> None:
        if max_bytes < 1:
            raise ValueError(f"max_snapshot_bytes must be at least 1, got {max_bytes}")
        self.names = tuple(names)
        self.max_bytes = max_bytes
        self.files = WeightFiles()
        self.skipped: dict[str, str] = {}
        """checkpoint files that could not be read, and anchors that were not kept, and why"""
        self._points: dict[str, Params] = {}
        self._best_loss: float | None = None
        self._steps: dict[str, int] = {}
        self._path: dict[int, dict[str, Tensor]] = {}
        self._recent: tuple[int, dict[str, Tensor]] | None = None
        self.samples = WeightSamples()
        """a few entries of the recent weights over the last copies"""

    def forget(self) -> None:
        """Forget all that was observed; files that the last fit has written are left to its checkpoints."""
        self.files, self.skipped = WeightFiles(), {}
        self.load_state_dict({"points": {}, "best_loss": None})

    @property
    def best(self) -> tuple[int, float] | None:
        """The step of the anchor "best", and the mean training loss of the steps after it; None if there is none."""
        return None if self._best_loss is None or "best" not in self._steps else (self._steps["best"], self._best_loss)

    @property
    def steps(self) -> dict[str, int]:
        """The optimizer steps of the anchors that were copied during the run, by their names; 0 for "initial"."""
        return {name: self._steps.get(name, 0) for name in self._points}

    def has(self, name: str) -> bool:
        """Return whether this anchor was copied during the run."""
        return name in self._points

    def point(self, name: str) -> Params | None:
        """Return the weights of this anchor on the CPU; None if it was not copied during the run."""
        return self._points.get(name)

    @torch.no_grad()
    def take(self, name: str, module: nn.Module, step: int = 0) -> None:
        """Copy the weights after this optimizer step under this name, if it is one of `names`."""
        if name not in self.names:
            return
        self._steps[name] = step
        weights = weights_of(module)
        point = self._points.get(name)
        if point is None or isinstance(point, StoredPoint) or point.keys() != weights.keys():
            self._points[name] = {key: _copied(weight) for key, weight in weights.items()}
            self.relieve_memory()
        else:
            for key, weight in weights.items():
                point[key].copy_(weight)

    def relieve_memory(self) -> None:
        """Move the largest share of the anchors from memory to files that is needed to stay within `max_bytes`."""
        for name in FIRST_TO_GO:
            in_memory = {key: point for key, point in self._points.items() if not isinstance(point, StoredPoint)}
            if sum(map(size_of, in_memory.values())) <= self.max_bytes:
                break
            if name not in in_memory:
                continue
            stored = self.files.write(f"{name} {self._steps.get(name, 0)}", in_memory[name])
            if stored is not None:
                self._points[name] = stored
            elif name != "initial":
                del self._points[name]
                size = size_of(in_memory[name]) / 2**20
                self.skipped[f"the copy of the weights {name!r}"] = (
                    f"it takes {size:.0f} MiB, {self.max_bytes / 2**20:.0f} MiB of memory are allowed for all copies, "
                    "and there is no directory of a logger for a file"
                )
        self.files.remove_all_but(self._points.values())

    def take_best(self, loss: float, module: nn.Module, step: int = 0) -> None:
        """Copy the weights as "best" if no loss so far was lower."""
        if self._is_lowest(loss):
            self._best_loss = loss
            self.take("best", module, step)

    def take_all(self, module: nn.Module, step: int, loss: float | None, *, on_path: bool) -> None:
        """Copy the weights as "previous", as "best" if no loss so far was lower, and as a point of the path.

        The weights of all but very large models are copied as "best" by `take_recent`, which does it more often.

        Args:
            module: the module with the weights.
            step: the optimizer step.
            loss: the present loss; None where it is unknown.
            on_path: whether to add the weights to the path.
        """
        self.take("previous", module, step)
        if loss is not None and size_of(weights_of(module)) > MOST_RECENT_BYTES:
            self.take_best(loss, module, step)
        if on_path:
            self.add_to_path(module, step)

    @torch.no_grad()
    def add_to_path(self, module: nn.Module, step: int) -> None:
        """Copy the weights as a point of the path; where it has too many points, every second one is removed."""
        weights = weights_of(module)
        most = min(PATH_POINTS, PATH_BYTES // max(1, size_of(weights)))
        if most < 1 or any(point.keys() != weights.keys() for point in self._path.values()):
            self._path = {}
        if most < 1:
            return
        self._path[step] = {key: _copied(weight) for key, weight in weights.items()}
        if len(self._path) > most:  # the latest point is kept
            kept = list(self._path)[::-1][::2][:most]
            self._path = {key: self._path[key] for key in reversed(kept)}

    @torch.no_grad()
    def take_recent(self, module: nn.Module, step: int, losses: MeanLoss) -> None:
        """Copy the weights as the recent ones, if these are old enough and the weights are finite and not very large.

        The recent weights of before become "best" if the mean loss of the steps after them was the lowest so far: what
        damages the weights shows in the losses after it only.

        Args:
            module: the module with the weights.
            step: the optimizer step.
            losses: the training losses since the last copy; a new copy resets them.
        """
        weights = weights_of(module)
        size = size_of(weights)
        if size > MOST_RECENT_BYTES:
            return
        if self._recent is not None and step - self._recent[0] < RECENT_STEPS * max(1, -(-size // RECENT_BYTES)):
            return
        # A sum is finite only if all weights are, and is computed faster than one test for each of them.
        if not all(bool(weight.sum().isfinite()) for weight in weights.values()):
            return
        kept = {} if self._recent is None else self._recent[1]
        if self._recent is not None and self._is_lowest(losses.mean):
            before = self._points.get("best", {})
            kept = {} if isinstance(before, StoredPoint) else dict(before)
            self._best_loss, (self._steps["best"], self._points["best"]) = losses.mean, self._recent
        self._recent = step, {key: _copied(weight, kept.get(key)) for key, weight in weights.items()}
        self.samples.add(step, [self._recent[1][name] for name in trainable_in(module, weights)])
        losses.reset()

    def _is_lowest(self, loss: float | None) -> bool:
        return loss is not None and "best" in self.names and (self._best_loss is None or loss < self._best_loss)

    def points(self, like: Params, *, by_step: bool = False) -> dict[str, Params]:
        """Return the points that belong to the model with the parameters `like`, by name.

        Checkpoint files come first, since their optimizer steps are unknown, and then the points of the run by their
        steps. The files are read now; a file that cannot be used is entered in `skipped`.

        Args:
            like: the parameters of the model.
            by_step: whether to return the points of the run only, the recent one included, each named like "step 410".
        """
        if by_step:
            kept = {self._steps.get(name, 0): point for name, point in self._points.items()} | self._path
            kept |= {} if self._recent is None else dict([self._recent])
            return {f"step {step}": kept[step] for step in sorted(kept) if kept[step].keys() == like.keys()}
        points: dict[str, Params] = {}
        for name in self.names:
            if name not in NAMES:
                try:
                    # These are copies, since overwriting a memory-mapped file in use ends the process.
                    points[name] = {key: _copied(weight) for key, weight in read_weights(name, like).items()}
                    self.skipped.pop(name, None)
                except CheckpointError as error:
                    self.skipped[name] = str(error)
        of_run = {name: (self._steps.get(name, 0), point) for name, point in self._points.items()}
        steps = {step for step, _ in of_run.values()}
        of_run |= {f"step {step}": (step, point) for step, point in self._path.items() if step not in steps}
        ordered = sorted(of_run.items(), key=lambda item: item[1][0])
        return points | {name: point for name, (_, point) in ordered if point.keys() == like.keys()}

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles keep: no weights, since the next fit begins with its own."""
        empty: dict[str, Any] = {"_points": {}, "_path": {}, "_recent": None}
        return {**vars(self), **empty, "samples": WeightSamples(), "files": WeightFiles()}

    def state_dict(self) -> dict[str, Any]:
        """Return the path and the anchors, in files or as tensors."""
        ordered = sorted(self._points, key=FIRST_TO_GO.index, reverse=True)
        return {
            "points": {name: saved(self._points[name]) for name in ordered},
            "best_loss": self._best_loss,
            "steps": dict(self._steps),
            "trail": {step: dict(point) for step, point in self._path.items()},
            "recent": None if self._recent is None else [self._recent[0], dict(self._recent[1])],
            "samples": self.samples.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; anchors that are not among `names` are left out."""
        self._points = {}
        for name, point in state["points"].items():
            if name in self.names and (kept := resolved(point)):
                self._points[name] = kept if isinstance(kept, StoredPoint) else dict(kept)
        self.skipped |= {
            f"the copy of the weights {name!r}": "the file to which the checkpoint refers cannot be read"
            for name in state["points"]
            if name in self.names and name not in self._points
        }
        self._best_loss = state["best_loss"] if "best" in self._points else None
        self._steps = dict(state.get("steps", {}))
        self._path = {step: dict(resolved(point)) for step, point in state.get("trail", {}).items()}
        recent = state.get("recent")
        self._recent = None if recent is None else (int(recent[0]), dict(resolved(recent[1])))
        self.samples.load_state_dict(state.get("samples", {}))


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Return the module's parameters by name, detached; tied ones once, and lazy ones without a shape left out."""
    return {
        name: parameter.detach()
        for name, parameter in module.named_parameters()
        if not isinstance(parameter, nn.UninitializedParameter)
    }


def trainable_in(module: nn.Module, weights: Params) -> list[str]:
    """Return the names of those weights that require a gradient."""
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad and name in weights]


def size_of(weights: Params) -> int:
    """Return the bytes of all weights together."""
    return sum(weight.numel() * weight.element_size() for weight in weights.values())


def _copied(weight: Tensor, into: Tensor | None = None) -> Tensor:
    if into is None or into.shape != weight.shape or into.dtype != weight.dtype:
        return weight.detach().to("cpu", copy=True)
    return into.copy_(weight)
