"""The best weights so far and the present ones on the present batches: have the data changed, or the weights?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from lightning_landscape.evidence import BeforeAndAfter
from lightning_landscape.functional.norms import group_names, tensor_norms
from lightning_landscape.observations import BOUNDS, RECTIFIERS, Activation
from lightning_landscape.probes.activity import dead_share, saturated_share
from lightning_landscape.probes.evaluation import loss_value
from lightning_landscape.surface import LossSurface, Params, costs

LATEST = 4
"""most batches on which the losses are compared, the latest ones"""
NONE_GROWN = None, 0.0, 0.0
"""no layer with a share that has grown"""


def _cost(surface: LossSurface) -> float:
    """Return the most forward passes, at three points and of the activations at two of them, in gradients."""
    if "best" not in surface.anchors:
        return 0.0
    points = 2 + ("initial" in surface.anchors) + bool(_frozen(surface))
    return points * len(_losses(surface)) / 3 + (0.0 if surface.run.activations is None else surface.loss_cost(2))


@costs(_cost)
def before_and_after(surface: LossSurface) -> BeforeAndAfter | None:
    """Return the losses, activations and norms of the best weights so far and the present ones; None without the best.

    All losses are taken on the latest batches, one by one, so that their differences have an error. Where weights that
    are frozen have changed, the loss is also taken with their present values beside the best ones. Activations are
    compared only where the best weights do better by more than that error.
    """
    if "best" not in surface.anchors:
        return None
    losses = _losses(surface)
    now, norms = [loss_value(loss, surface.here) for loss in losses], _norms(surface.here)
    with surface.at_anchor("best") as best:
        at_best = [loss_value(loss, best) for loss in losses]
        trained = {name: best[name] for name in surface.here}
        norms_at_best = _norms(trained)
        best_now = _mean([loss_value(loss, trained) for loss in losses]) if _frozen(surface) else None
        moved = math.hypot(*(float(tensor_norms([surface.here[name] - best[name]])) for name in surface.here))
    start, norms_at_start = None, {}
    if "initial" in surface.anchors:
        with surface.at_anchor("initial") as initial:
            start = _mean([loss_value(loss, initial) for loss in losses])
            norms_at_start = _norms({name: initial[name] for name in surface.here})
    error = _standard_error([a - b for a, b in zip(now, at_best, strict=True)])
    worse = not _mean(now) - _mean(at_best) <= (error or 0.0)  # also if it is not finite
    dead, saturated = _grown_shares(surface) if worse else (NONE_GROWN, NONE_GROWN)
    size = math.hypot(*norms_at_best.values())
    return BeforeAndAfter(
        now=_mean(now),
        best=_mean(at_best),
        start=start,
        error=error,
        batches=len(losses),
        best_now=best_now,
        moved=moved / size if size else math.inf,
        dead=dead[1],
        dead_at_best=dead[2],
        dead_layer=dead[0],
        saturated=saturated[1],
        saturated_at_best=saturated[2],
        saturated_layer=saturated[0],
        norms=norms,
        norms_at_best=norms_at_best,
        norms_at_start=norms_at_start,
    )


def _losses(surface: LossSurface) -> Sequence[Callable[[Params], Tensor]]:
    return surface.batch_losses[-LATEST:] or (surface.loss,)


def _frozen(surface: LossSurface) -> Params:
    """Return the weights of the best point that have changed since and require no gradient now."""
    return {} if surface.run.frozen_since is None else surface.run.frozen_since("best")


def _grown_shares(surface: LossSurface) -> tuple[tuple[str | None, float, float], ...]:
    """Return for dead and for saturated units the layer whose share has grown most, with its share now and at best."""
    if surface.run.activations is None:
        return NONE_GROWN, NONE_GROWN
    now = surface.run.activations(surface.here)
    shares = _dead(now), _saturated(now)
    # A second evaluation is needed only where there are such units.
    at_best: Mapping[str, Activation] = {}
    if any(any(of.values()) for of in shares):
        with surface.at_anchor("best") as best:
            at_best = surface.run.activations(best)
    return _most_grown(shares[0], _dead(at_best)), _most_grown(shares[1], _saturated(at_best))


def _dead(layers: Mapping[str, Activation]) -> dict[str, float]:
    return {name: dead_share(layer.values) for name, layer in layers.items() if layer.kind in RECTIFIERS}


def _saturated(layers: Mapping[str, Activation]) -> dict[str, float]:
    bounded = {name: layer for name, layer in layers.items() if layer.kind in BOUNDS}
    return {name: saturated_share(layer.values, *BOUNDS[layer.kind]) for name, layer in bounded.items()}


def _most_grown(now: Mapping[str, float], before: Mapping[str, float]) -> tuple[str | None, float, float]:
    grown = [name for name in now if name in before and now[name] > before[name]]
    layer = max(grown, key=lambda name: now[name] - before[name], default=None)
    return NONE_GROWN if layer is None else (layer, now[layer], before[layer])


def _norms(point: Params) -> dict[str, float]:
    """Return the norm of each group of parameters; for sharded weights, every rank must call this."""
    squares: dict[str, float] = {}
    norms = tensor_norms([weight.detach() for weight in point.values()]).tolist()
    for group, norm in zip(group_names(list(point)), norms, strict=True):
        squares[group] = squares.get(group, 0.0) + norm * norm
    return {group: math.sqrt(square) for group, square in squares.items()}


def _mean(losses: Sequence[float]) -> float:
    return sum(losses) / len(losses)


def _standard_error(differences: Sequence[float]) -> float | None:
    """Return the standard error of the mean of these numbers; None for a single one, and if one is not finite."""
    n = len(differences)
    if n < 2 or not all(map(math.isfinite, differences)):
        return None
    mean = _mean(differences)
    return math.sqrt(sum((x - mean) ** 2 for x in differences) / (n - 1) / n)
