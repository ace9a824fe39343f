"""Comparison of finished runs by the loss on the straight lines between them: do they share a basin?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_landscape._renamed import accepts_old_names
from lightning_landscape.checkpoints import read_weights
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
    """Compare finished runs by their checkpoints: the losses at their ends, and the barriers between them.

    The loss is computed by the module's own ``training_step`` in evaluation mode, with BatchNorm statistics collected
    anew at every point. Hidden units are not aligned; `RunComparison` explains what follows from that. For n runs, the
    loss is evaluated n + n(n - 1)/2 · (num_points - 2) times. The module does not change.

    A `CheckpointError` is raised if a file cannot be used, a `SurfaceError` if the module cannot be evaluated.

    Args:
        checkpoints: at least two files with checkpoints of Lightning or with state dicts; no code in them is executed.
        module: a LightningModule of the class and the shapes that were trained.
        batches: a few batches as the ``training_step`` takes them, on the module's device.
        num_points: number of positions on each line, including both ends.
        tolerance: largest barrier within one basin, as a share of the larger loss of the two ends.
        loss_fn: function ``loss_fn(module, batch)``, for a training step that works only within a fit; a method
            ``landscape_loss(self, batch)`` of the module has the same effect.

    Raises:
        ValueError: if there are fewer than two checkpoints, if one is given twice, if there is no batch, or if a number
            is out of range.
    """
    names = [str(path) for path in ([] if isinstance(checkpoints, (str, Path)) else checkpoints)]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"checkpoints must be at least two different files, got {checkpoints!r}")
    listed = list(batches)
    if not listed:
        raise ValueError(f"batches must contain at least one batch, got {batches!r}")
    _check(num_points, tolerance)
    # The weights are memory-mapped and at most two models are read at a time, so n models need not fit into memory.
    anchors = {name: read_weights(name, dict(module.named_parameters())) for name in names}
    with offline_surface(module, listed, anchors, loss_fn) as surface:
        return compare_points(surface, num_points=num_points, tolerance=tolerance, notes=_notes(module, names))


@torch.no_grad()
def compare_points(
    surface: LossSurface, *, num_points: int = 11, tolerance: float = TOLERANCE, notes: Sequence[str] = ()
) -> RunComparison:
    """Compare the anchors of a surface: the losses at them, and the barriers between them.

    A `ValueError` is raised if `num_points` is less than 3 or `tolerance` is not positive.

    >>> valleys = {"left": {"x": torch.tensor(-1.0)}, "right": {"x": torch.tensor(1.0)}}
    >>> double_well = LossSurface(lambda at: (at["x"] ** 2 - 1) ** 2 + 1, valleys["left"], valleys)
    >>> compare_points(double_well).sentence()
    'No two of the 2 runs share a basin (a barrier of at most 10% of the larger loss at its ends).'
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
    """Check the numbers.

    Raises:
        ValueError: if a number is out of range.
    """
    line_alphas(num_points)
    if not 0 < tolerance < math.inf:
        raise ValueError(f"tolerance must be a positive share of the loss, got {tolerance}")


def _notes(module: nn.Module, names: Sequence[str]) -> list[str]:
    """Return a note on the buffers that differ between module and checkpoints, since only weights are interpolated."""
    norms = tuple(f"{name}." for name, part in module.named_modules() if isinstance(part, _BatchNorm))
    stored = module.state_dict().keys()
    buffers = {name: b for name, b in module.named_buffers() if name in stored and not name.startswith(norms)}
    different = {
        name
        for path in names
        for name, buffer in read_weights(path, buffers).items()
        if not torch.equal(buffer, buffers[name].cpu())
    }
    if not different:
        return []
    listed = ", ".join(sorted(different)[:5])
    return [f"At every point these buffers have the values of the module, not those of the runs: {listed}."]
