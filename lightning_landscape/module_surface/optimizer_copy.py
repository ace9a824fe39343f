"""What a trial needs besides the loss: the run's own optimizer on a copy, and weights drawn anew."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.module_surface.evaluator import Evaluator
from lightning_landscape.module_surface.global_state import seed_streams
from lightning_landscape.surface import Params
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.optimizer_coverage import decays_beside

Step = Callable[[Params, Sequence[Tensor]], None]


def optimizer_copy(host: Host) -> Callable[[float], Step] | None:
    """Copies of the run's optimizer with its state and gradient clipping; None unless there is one that steps alone."""
    if len(host.optimizers) != 1 or not host.automatic_optimization:
        return None
    optimizer = host.optimizers[0]
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:  # LBFGS evaluates by itself
        return None
    parameters = {name: p for name, p in host.module.named_parameters() if p.requires_grad}

    def continued(factor: float) -> Step:
        return _Continuation(optimizer, parameters, factor, _clipping(host))

    return continued


class _Continuation:
    """Steps of a copied optimizer; the copy is made at the first point, whose tensors it then moves."""

    def __init__(self, optimizer: Any, parameters: Mapping[str, nn.Parameter], factor: float, clip: Any) -> None:
        self._original, self._parameters, self._factor, self._clip = optimizer, parameters, factor, clip
        self._leaves: dict[str, nn.Parameter] = {}

    def __call__(self, point: Params, gradient: Sequence[Tensor]) -> None:
        if not self._leaves:
            self._leaves = {name: nn.Parameter(weight) for name, weight in point.items()}
            held = {id(self._parameters[name]): leaf for name, leaf in self._leaves.items()}
            self._optimizer = copy.deepcopy(self._original, held)
            for group in self._optimizer.param_groups:
                group["lr"] = group["lr"] * self._factor
        for leaf, part in zip(self._leaves.values(), gradient, strict=True):
            leaf.grad = part.clone()
        with torch.enable_grad():
            self._clip([p for group in self._optimizer.param_groups for p in group["params"]])
            self._optimizer.step()


def _clipping(host: Host) -> Callable[[list[nn.Parameter]], object]:
    if host.gradient_clip is None:
        return lambda parameters: None
    value, algorithm = host.gradient_clip
    clip = nn.utils.clip_grad_value_ if algorithm == "value" else nn.utils.clip_grad_norm_
    return lambda parameters: clip(parameters, value)


def decay_of(host: Host) -> tuple[float, bool]:
    """The largest weight decay of the run's optimizers, and whether it acts on the weights rather than the gradient."""
    groups = [(group, optimizer) for optimizer in host.optimizers for group in optimizer.param_groups]
    decays = [(float(group.get("weight_decay") or 0.0), decays_beside(o, group)) for group, o in groups]
    return max(decays, default=(0.0, False))


def reinitialization(evaluator: Evaluator) -> Callable[[int], Params]:
    """Weights as `reset_parameters` draws them; a parameter without a layer that could is drawn from N(0, 1/fan_in)."""
    weights, modules = evaluator.weights, evaluator.isolation.modules

    def reinitialize(seed: int) -> Params:
        with evaluator.temporary_weights(), torch.no_grad():
            evaluator.isolation.renew()  # BatchNorm draws its statistics anew as well
            for parameter in weights.parameters.values():
                parameter.data = parameter.data.clone()  # frozen ones included: drawing writes in place
            seed_streams(seed)
            for layer in modules.values():
                if callable(reset := getattr(layer, "reset_parameters", None)):
                    reset()
            # A pruned or reparametrized layer draws what is computed from its parameters, and leaves these as they are.
            drawn = {name for name, p in weights.parameters.items() if not torch.equal(p, weights.originals[name])}
            point = {name: parameter.detach().clone() for name, parameter in weights.trainable.items()}
            for name, weight in point.items():
                # Scales of 1 and biases of 0 stay what they are.
                if name not in drawn and bool((weight != weight.flatten()[:1]).any()):
                    weight.normal_(std=weight[0].numel() ** -0.5 if weight.ndim > 1 else 1.0)
        return point

    return reinitialize
