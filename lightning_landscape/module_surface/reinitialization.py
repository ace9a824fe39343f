"""Draw new initial weights, for runs that begin anew."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_landscape.module_surface.evaluator import Evaluator
from lightning_landscape.module_surface.global_state import seed_streams
from lightning_landscape.module_surface.weights import ShardedWeights
from lightning_landscape.surface import Params
from lightning_landscape.trainer._compat import full_tensor, shard_of


def reinitialization(evaluator: Evaluator) -> Callable[[int], Params]:
    """Return a function that takes a seed and returns new initial values of the trainable weights.

    They are drawn as the layers' ``reset_parameters`` draws them. A weight that no such method draws is drawn from
    N(0, 1/fan_in), or from N(0, 1) if it has a single dimension. It keeps its present value if all its elements are
    equal, as in a scale of 1 or a bias of 0. Weights that are sharded over ranks get the values that one process would
    draw.
    """
    draw = _drawn_shards if isinstance(evaluator.weights, ShardedWeights) else _drawn

    def reinitialize(seed: int) -> Params:
        with evaluator.temporary_weights(), torch.no_grad():
            evaluator.isolation.install_copies()  # `reset_parameters` of BatchNorm resets its buffers as well
            return draw(evaluator, seed)

    return reinitialize


def _drawn(evaluator: Evaluator, seed: int) -> Params:
    weights = evaluator.weights
    for parameter in weights.parameters.values():
        parameter.data = parameter.data.clone()  # `reset_parameters` writes in place, to frozen ones as well
    seed_streams(seed)
    for layer in evaluator.isolation.modules.values():
        if callable(reset := getattr(layer, "reset_parameters", None)):
            reset()
    # In a pruned or reparametrized layer, `reset_parameters` draws the weight that is computed, and not the parameters
    # from which it is computed.
    drawn = {name for name, p in weights.parameters.items() if not torch.equal(p, weights.originals[name])}
    point = {name: parameter.detach() for name, parameter in weights.trainable.items()}
    for name, weight in point.items():
        if name not in drawn:
            _draw_unless_constant(weight)
    return point


def _drawn_shards(evaluator: Evaluator, seed: int) -> Params:
    """Return the shards of new weights; all ranks draw the whole weights of one layer at a time, with equal seeds."""
    weights = evaluator.weights
    names = {id(parameter): name for name, parameter in weights.trainable.items()}
    drawn: dict[str, Tensor] = {}
    seed_streams(seed)
    for layer in evaluator.isolation.modules.values():
        if not callable(reset := getattr(layer, "reset_parameters", None)):
            continue
        places = [(m._parameters, key, p) for m in layer.modules() for key, p in m._parameters.items() if p is not None]
        whole = {id(p): nn.Parameter(full_tensor(p.detach()).clone()) for _, _, p in places}
        before = {key: p.detach().clone() for key, p in whole.items()}
        try:
            for parameters, key, parameter in places:
                parameters[key] = whole[id(parameter)]
            reset()
        finally:
            for parameters, key, parameter in places:
                parameters[key] = parameter
        for key, parameter in whole.items():
            if key in names and not torch.equal(parameter, before[key]):
                drawn[names[key]] = shard_of(parameter.detach(), weights.copies[names[key]])
    return {name: drawn[name] if name in drawn else _other(weights.copies[name]) for name in weights.trainable}


def _other(present: Tensor) -> Tensor:
    """Return the new value of a weight that no method draws, sharded as the present one."""
    whole = full_tensor(present).clone()
    _draw_unless_constant(whole)
    return shard_of(whole, present)


def _draw_unless_constant(weight: Tensor) -> None:
    if bool((weight != weight.flatten()[:1]).any()):
        weight.normal_(std=weight[0].numel() ** -0.5 if weight.ndim > 1 else 1.0)
