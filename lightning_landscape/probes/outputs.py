"""Whether the outputs of a network differ between samples, now and at the initial weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_landscape.evidence import BestConstant, Outputs, OutputSpread
from lightning_landscape.functional.constant_prediction import best_constant_loss
from lightning_landscape.functional.samples import deviation, neighbours_agree, spread
from lightning_landscape.observations import LayerOutput, SeenOutputs, batches_seen
from lightning_landscape.probes.evaluation import norm
from lightning_landscape.surface import LossSurface, Params, costs

SAME = 1e-2
"""spread below which the outputs of a layer count as the same for all samples"""
NEARLY_SAME = 0.1
"""spread of outputs, or of their directions, below which the loss of their means is measured"""
MAX_SPREADS = 8
"""largest number of layers next to the loss in the reading"""


def _cost(surface: LossSurface, evaluations: int) -> float:
    """Return the cost of this many evaluations of the batches whose outputs are seen, in gradients of one batch."""
    if surface.run.outputs is None:
        return 0.0
    return evaluations * batches_seen(surface.batches, surface.run.batch_samples) / 3


@costs(lambda surface: _cost(surface, 3))
def outputs(surface: LossSurface) -> Outputs | None:
    """Return how far outputs differ between samples, the loss of the best constant, and the share of saturated softmax.

    The loss of the first batches is evaluated at the present and at the initial weights, and once more with the
    mean outputs if the outputs are nearly the same. None where no layer with weights was seen next to the loss.
    """
    if surface.run.outputs is None:
        return None
    now = surface.run.outputs(surface.here)
    start, moved = None, None
    if "initial" in surface.anchors:
        with surface.at_anchor("initial") as initial:
            start, moved = surface.run.outputs(initial), _moved(initial, surface.here)
    at_start = {} if start is None else _spreads(start.layers)
    present = _spreads(now.layers)
    last = {key: value for key, value in present.items() if now.layers[key[1]].next_to_loss}
    if not last:
        return None
    spreads = [
        OutputSpread(name, value, at_start.get((name, i)), _direction(now.layers[i]), _of_start(now, start, name, i))
        for (name, i), value in last.items()
    ]
    widest = sorted(spreads, key=lambda each: -each.now)[:MAX_SPREADS]
    softmax_layer = max(now.softmax, key=lambda place: now.softmax[place], default=None)
    return Outputs(
        spreads=tuple(widest),
        samples=max(len(layer.values) for layer in now.layers),
        loss=now.loss,
        loss_of_means=now.loss_of_means() if any(map(_nearly_same, spreads)) else None,
        moved=moved,
        same_from=_same_from(now.layers, present),
        targets_agree=None if start is None else _targets_agree(start.layers, start.targets),
        targets_agree_at_loss=None if start is None else _targets_agree(_next_to_loss(start), start.targets),
        best_constant=_best_constant(now),
        saturated_softmax=0.0 if softmax_layer is None else now.softmax[softmax_layer],
        softmax_layer=softmax_layer,
        softmax_at_start=None if start is None or softmax_layer is None else start.softmax.get(softmax_layer),
    )


@costs(lambda surface: _cost(surface, 1))
def best_constant(surface: LossSurface) -> BestConstant | None:
    """Return the loss of the best constant prediction; None if no loss function was seen that has one."""
    return None if surface.run.outputs is None else _best_constant(surface.run.outputs(surface.here))


def _moved(initial: Params, here: Params) -> float | None:
    """Return the distance between two points over the norm of the first; None if that norm is 0."""
    names = [name for name in here if name in initial]
    distance = math.hypot(*(norm({name: here[name] - initial[name]}) for name in names))
    size = norm({name: initial[name] for name in names})
    return distance / size if size > 0 else None


def _spreads(layers: Sequence[LayerOutput]) -> dict[tuple[str, int], float]:
    """Return the spread of each layer by its name and its position, without layers that are not finite."""
    spreads = {(layer.layer, i): spread(layer.values) for i, layer in enumerate(layers)}
    return {key: value for key, value in spreads.items() if value is not None}


def _direction(layer: LayerOutput) -> float | None:
    """Return the spread of the outputs divided by their lengths; None for a single unit, which has only two of them."""
    return spread(torch.nn.functional.normalize(layer.values)) if layer.values.shape[1] > 1 else None


def _of_start(now: SeenOutputs, start: SeenOutputs | None, name: str, i: int) -> float | None:
    """Return the deviation of a layer's outputs between samples, over that at the initial weights."""
    if start is None or i >= len(start.layers) or start.layers[i].layer != name:
        return None
    before = deviation(start.layers[i].values)
    return deviation(now.layers[i].values) / before if 0 < before < math.inf else None


def _nearly_same(measured: OutputSpread) -> bool:
    """Return whether the outputs of a layer, or their directions, are nearly the same for all samples."""
    return min(measured.now, measured.now if measured.direction is None else measured.direction) < NEARLY_SAME


def _same_from(layers: Sequence[LayerOutput], spreads: dict[tuple[str, int], float]) -> str | None:
    """Return the name of the first layer from which on all spreads are below `SAME`; None if the last one is not."""
    first = None
    for i in reversed(range(len(layers))):
        if spreads.get((layers[i].layer, i), math.inf) >= SAME:
            break
        first = layers[i].layer
    return first


def _next_to_loss(seen: SeenOutputs) -> list[LayerOutput]:
    return [layer for layer in seen.layers if layer.next_to_loss]


def _targets_agree(layers: Sequence[LayerOutput], targets: Sequence[Tensor]) -> float | None:
    """Return the largest number of standard errors by which samples with similar outputs have similar targets."""
    agreements = [
        agreement
        for layer in layers
        for of_samples in targets
        if (agreement := neighbours_agree(layer.values, of_samples)) is not None
    ]
    return max(agreements, default=None)


def _best_constant(now: SeenOutputs) -> BestConstant | None:
    """Return the loss of the best constant for the loss function that is called on most targets."""
    for call in sorted(now.loss_calls, key=lambda call: -call.target.numel()):
        losses = best_constant_loss(call.function, call.prediction, call.target, call.settings)
        if losses is not None:
            return BestConstant(getattr(call.function, "__name__", ""), *losses)
    return None
