"""The loss along the checkpoints of one run: where it falls, where it rises, and where training stopped paying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from lightning_landscape.checkpoints import read_content, read_weights
from lightning_landscape.errors import CheckpointError
from lightning_landscape.evidence import RunPath
from lightning_landscape.functional.interpolation import interpolate, line_alphas, rise_above_minimum
from lightning_landscape.module_surface.offline import offline_surface
from lightning_landscape.surface import LossSurface


def run_path(checkpoints: Sequence[Path], module: Any, batches: Sequence[Any], *, num_points: int = 5) -> RunPath:
    """Return the loss along the checkpoints of a run, in the order of their steps, on the same batches.

    The loss is that of `compare_runs`: the module's own ``training_step`` in evaluation mode. For n checkpoints it is
    evaluated ``(n - 1)(num_points - 1) + 1`` times.

    Args:
        checkpoints: at least two files that Lightning has written.
        module: a LightningModule of the class that was trained, with its buffers.
        batches: at least one batch, on the device of the module.
        num_points: positions on each line, both ends included.

    A `CheckpointError` is raised if a file cannot be used, a `SurfaceError` if the module cannot be evaluated.
    """
    steps = steps_of(checkpoints)
    names = [str(path) for path in steps]
    anchors = {name: read_weights(name, dict(module.named_parameters())) for name in names}
    with offline_surface(module, batches, anchors) as surface:
        lines: list[tuple[float, ...]] = []
        for first, last in pairwise(names):
            lines.append(_line(surface, first, last, num_points, lines[-1][-1] if lines else None))
        return RunPath(
            tuple(names),
            tuple(steps.values()),
            tuple(lines),
            tuple(map(rise_above_minimum, lines)),
            surface.run.samples,
        )


@torch.no_grad()
def _line(surface: LossSurface, first: str, last: str, points: int, start: float | None) -> tuple[float, ...]:
    """Return the losses on a line between two anchors; `start` is that at the first, if it is known."""
    begin, end = (interpolate(surface.anchors[name], surface.here, 0.0) for name in (first, last))
    alphas = line_alphas(points)[:points]
    known = [float(surface.loss(begin))] if start is None else [start]
    return (*known, *(float(surface.loss(interpolate(begin, end, alpha))) for alpha in alphas[1:]))


def steps_of(checkpoints: Sequence[Path]) -> dict[Path, int]:
    """Return the optimizer step of each checkpoint, in ascending order; of several of one step, the first stays.

    Raises:
        CheckpointError: if a file was not written by Lightning, or fewer than two have steps of their own.
    """
    steps: dict[int, Path] = {}
    for path in checkpoints:
        content = read_content(path)
        if not isinstance(content, Mapping) or "global_step" not in content:
            raise CheckpointError(f"{path} was not written by Lightning, so its optimizer step is not known")
        steps.setdefault(int(content["global_step"]), path)
    if len(steps) < 2:
        raise CheckpointError(f"at least two checkpoints of different steps are needed, got {len(steps)}")
    return {steps[step]: step for step in sorted(steps)}
