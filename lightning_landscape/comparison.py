"""Do several runs share a basin? The loss on the straight line between every two of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_landscape._renamed import accepts_old_names
from lightning_landscape.checkpoints import read_content, read_weights
from lightning_landscape.errors import CheckpointError
from lightning_landscape.evidence import RunComparison
from lightning_landscape.evidence.comparison import TOLERANCE
from lightning_landscape.functional.interpolation import barrier_height, interpolate, line_alphas
from lightning_landscape.module_surface.offline import offline_surface
from lightning_landscape.surface import LossSurface


@accepts_old_names
def compare_runs(
    checkpoints: Sequence[str | Path],
    module: Any,
    batches: Iterable[Any],
    *,
    num_points: int = 11,
    tolerance: float = TOLERANCE,
    loss_fn: Callable[[Any, Any], Tensor] | None = None,
) -> RunComparison:
    """Compare the runs that left these checkpoints: losses at their ends, barriers between them, basins they share.

    The loss is that of the module's own ``training_step`` in evaluation mode, with BatchNorm statistics collected anew
    at every point. Hidden units are not aligned; `RunComparison` says what that means. The price is n + n(n - 1)/2 ·
    (num_points - 2) evaluations of the loss for n runs; the module is left as it was.

    Args:
        checkpoints: two files or more, of Lightning or of state dicts; nothing in them is executed.
        module: a LightningModule of the class and the shape that was trained.
        batches: a few batches as the `training_step` takes them, on the module's device.
        num_points: positions on each line, both ends included.
        tolerance: barrier over the larger loss of the two ends up to which these count as one basin.
        loss_fn: ``loss_fn(module, batch)`` where the step cannot be evaluated outside of a fit; a method
            ``landscape_loss(self, batch)`` does as well.

    Raises:
        ValueError: if there are fewer than two checkpoints, one twice, no batch, or a number is out of range.

    A `CheckpointError` says why a file cannot be used, a `SurfaceError` why the module cannot be evaluated.
    """
    names = [str(path) for path in ([] if isinstance(checkpoints, (str, Path)) else checkpoints)]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"checkpoints must be at least two different files, got {checkpoints!r}")
    seen = list(batches)
    if not seen:
        raise ValueError(f"batches must hold at least one batch, got {batches!r}")
    _check(num_points, tolerance)
    # Mapped from the files and never read twice at a time: n models need not fit into the memory.
    anchors = {name: read_weights(name, dict(module.named_parameters())) for name in names}
    with offline_surface(module, seen, anchors, loss_fn) as surface:
        return compare_points(surface, num_points=num_points, tolerance=tolerance, notes=_notes(module, names))


@torch.no_grad()
def compare_points(
    surface: LossSurface, *, num_points: int = 11, tolerance: float = TOLERANCE, notes: Sequence[str] = ()
) -> RunComparison:
    """The same for the anchors of any surface.

    A `ValueError` is raised for fewer than three points or a tolerance that is not positive.

    >>> valleys = {"left": {"x": torch.tensor(-1.0)}, "right": {"x": torch.tensor(1.0)}}
    >>> double_well = LossSurface(lambda at: (at["x"] ** 2 - 1) ** 2 + 1, valleys["left"], valleys)
    >>> compare_points(double_well).sentence()
    "No two of the 2 runs share a basin on a straight line (barrier at most 10% of the higher end's loss)."
    """
    _check(num_points, tolerance)
    runs = tuple(surface.anchors)
    alphas = line_alphas(num_points)[:num_points]
    losses = [float(surface.loss(interpolate(surface.anchors[run], surface.here, 0.0))) for run in runs]
    barriers = [[0.0 if i == j else math.nan for j in range(len(runs))] for i in range(len(runs))]
    for i, j in combinations(range(len(runs)), 2):
        start, end = (interpolate(surface.anchors[runs[k]], surface.here, 0.0) for k in (i, j))
        between = [float(surface.loss(interpolate(start, end, alpha))) for alpha in alphas[1:-1]]
        barriers[i][j] = barriers[j][i] = barrier_height([losses[i], *between, losses[j]], alphas)
    return RunComparison(
        runs=runs,
        losses=tuple(losses),
        barriers=tuple(map(tuple, barriers)),
        samples=surface.run.samples,
        points=num_points,
        tolerance=tolerance,
        notes=tuple(notes),
    )


def _check(num_points: int, tolerance: float) -> None:
    line_alphas(num_points)
    if not 0 < tolerance < math.inf:
        raise ValueError(f"tolerance must be a positive share of the loss, got {tolerance}")


def _notes(module: nn.Module, names: Sequence[str]) -> list[str]:
    """Buffers that a checkpoint holds otherwise than the module: the path has weights only."""
    norms = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, _BatchNorm))
    kept = module.state_dict().keys()
    own = {name: b for name, b in module.named_buffers() if name in kept and not name.startswith(norms)}
    other = {
        name
        for path in names
        for name, buffer in read_weights(path, own).items()
        if not torch.equal(buffer, own[name].cpu())
    }
    if not other:
        return []
    return [f"These buffers are the module's own at every point, not the runs': {', '.join(sorted(other)[:5])}."]


def load_module(kind: Any, path: str | Path) -> Any:
    """A LightningModule of this class with the hyperparameters of the checkpoint at `path`, on the CPU.

    Raises:
        CheckpointError: if the file is damaged, holds objects that loading would execute, or does not fit the class.
    """
    safely = {"weights_only": True}
    if "weights_only" not in inspect.signature(kind.load_from_checkpoint).parameters:  # Lightning before 2.6
        safely = {}
    content = read_content(Path(path))  # nothing but tensors and builtins is in it, whoever loads it next
    if "pytorch-lightning_version" not in content:
        raise CheckpointError(f"{path} was not written by Lightning: it has no hyperparameters to make a module from")
    try:
        return kind.load_from_checkpoint(path, map_location="cpu", **safely)
    except Exception as error:  # a constructor of anybody's
        raise CheckpointError(f"{path} does not fit {kind.__name__}: {type(error).__name__}: {error}") from error
