"""What made the first value of a run that is not finite, found by evaluating training steps at finite weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import torch

from lightning_landscape.evidence import NotFinite
from lightning_landscape.surface import LossSurface, Params, costs

MAX_BATCHES = 16
"""most batches that are evaluated at the first weights"""
STEPS = 40
"""most optimizer steps that are repeated from there"""
SEARCH = 1
"""gradients of the second evaluation, which searches for the operation"""
_STEP = re.compile(r"step (\d+)")


def _cost(surface: LossSurface) -> float:
    of_batches = surface.run.step_evaluations
    if not of_batches:
        return 0.0
    return max(1, surface.steps_within_budget(min(MAX_BATCHES, len(of_batches)) + STEPS, fixed=SEARCH)) + SEARCH


@costs(_cost)
def first_not_finite(surface: LossSurface) -> NotFinite | None:
    """Return what made the first value that is not finite; None where all values of the repeated steps are finite.

    The training step is evaluated on up to 16 batches at the present weights or, where these are not finite, at the
    latest anchor with finite weights. If all values are finite there, up to 40 optimizer steps are taken from it on a
    copy. This takes at most 57 gradients of one batch, or as many as the budget allows.
    """
    of_batches = surface.run.step_evaluations
    start = next(_finite_points(surface), None)
    if start is None or not of_batches:
        return None
    step, point = start
    evaluations = round(_cost(surface)) - SEARCH
    point = {name: weight.detach().clone() for name, weight in point.items()}
    batches = min(MAX_BATCHES, len(of_batches), evaluations)
    for evaluate_step in of_batches[:batches]:
        found = evaluate_step(point)
        if not found.finite:
            return _reading(surface, found.first, point, step, 0)
    if surface.run.optimizer_copy is None:
        return None
    optimizer_step = surface.run.optimizer_copy(1.0)
    for repeated in range(evaluations - batches):
        found = of_batches[repeated % len(of_batches)](point)
        if not found.finite:
            return _reading(surface, found.first, point, step, repeated)
        before = _largest(point)
        optimizer_step(point, found.gradient)
        if not is_finite(point):
            growth = _growth(surface, before)
            return NotFinite("weights", outcome="inf", largest=before, step=step, repeated=repeated + 1, growth=growth)
    return None


def is_finite(point: Params) -> bool:
    """Return whether all weights of this point are finite."""
    return all(bool(torch.isfinite(point[name]).all()) for name in point)


def _finite_points(surface: LossSurface) -> Iterator[tuple[int | None, Params]]:
    """Yield the present weights and the anchors from the latest to the earliest, those that are finite only.

    Each comes with the number of optimizer steps after which the run had these weights; None where it is not known, as
    for the present weights.
    """
    if is_finite(surface.here):
        yield None, surface.here
    for name, point in list(surface.anchors.items())[::-1]:
        if is_finite(point):
            yield _step_of(name), point


def _step_of(anchor: str) -> int | None:
    if anchor == "initial":
        return 0
    match = _STEP.fullmatch(anchor)
    return None if match is None else int(match[1])


def _reading(
    surface: LossSurface, first: NotFinite | None, point: Params, step: int | None, repeated: int
) -> NotFinite | None:
    if first is None:
        return None
    return replace(first, step=step, repeated=repeated, growth=_growth(surface, _largest(point)))


def _growth(surface: LossSurface, largest: float) -> float | None:
    """Return this number over the largest of the earliest weights; None where these are unknown, or all 0."""
    earliest = next(iter(surface.anchors.values()), None)
    start = 0.0 if earliest is None else _largest(earliest)
    return largest / start if start > 0 and is_finite(earliest or {}) else None


def _largest(point: Params) -> float:
    """Return the largest absolute value of a weight."""
    return max((float(point[name].detach().abs().max()) for name in point if point[name].numel()), default=0.0)
