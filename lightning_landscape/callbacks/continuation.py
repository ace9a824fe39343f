"""What a trial needs besides the loss: the run's own optimizer on a copy, weights drawn anew, pairs broken up."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.callbacks.batches import ProbeBatch
from lightning_landscape.callbacks.evaluation import Evaluator
from lightning_landscape.callbacks.reach import decays_beside
from lightning_landscape.callbacks.rng import seed_streams
from lightning_landscape.surface import Params

Step = Callable[[Params, Sequence[Tensor]], None]

TARGET = re.compile(r"(^|_)(y|labels?|targets?|class(es)?)(_|$)", re.IGNORECASE)
"""names under which a mapping keeps what is to be predicted"""


def continuation(trainer: Any, pl_module: Any) -> Callable[[float], Step] | None:
    """Copies of the run's optimizer with its state and gradient clipping; None unless there is one that steps alone."""
    if len(trainer.optimizers) != 1 or not pl_module.automatic_optimization:
        return None
    optimizer = trainer.optimizers[0]
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:  # LBFGS evaluates by itself
        return None
    parameters = {name: p for name, p in pl_module.named_parameters() if p.requires_grad}

    def continued(factor: float) -> Step:
        return _Continuation(optimizer, parameters, factor, _clipping(trainer))

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


def _clipping(trainer: Any) -> Callable[[list[nn.Parameter]], object]:
    value = trainer.gradient_clip_val
    if not value:
        return lambda parameters: None
    clip = nn.utils.clip_grad_value_ if trainer.gradient_clip_algorithm == "value" else nn.utils.clip_grad_norm_
    return lambda parameters: clip(parameters, value)


def decay_of(trainer: Any) -> tuple[float, bool]:
    """The largest weight decay of the run's optimizers, and whether it acts on the weights rather than the gradient."""
    groups = [(group, optimizer) for optimizer in trainer.optimizers for group in optimizer.param_groups]
    decays = [(float(group.get("weight_decay") or 0.0), decays_beside(o, group)) for group, o in groups]
    return max(decays, default=(0.0, False))


def redraw(evaluator: Evaluator) -> Callable[[int], Params]:
    """Weights as `reset_parameters` draws them; a parameter without a layer that could is drawn from N(0, 1/fan_in)."""
    weights, modules = evaluator.weights, evaluator.isolation.modules

    def redrawn(seed: int) -> Params:
        with evaluator.at_other_weights(), torch.no_grad():
            evaluator.isolation.renew()  # BatchNorm draws its statistics anew as well
            for parameter in weights.parameters.values():
                parameter.data = parameter.data.clone()  # frozen ones included: drawing writes in place
            seed_streams(seed)
            for layer in modules.values():
                if callable(reset := getattr(layer, "reset_parameters", None)):
                    reset()
            # A pruned or reparametrized layer draws what is computed from its parameters, and leaves these as they are.
            drawn = {name for name, p in weights.parameters.items() if not torch.equal(p, weights.own[name])}
            point = {name: parameter.detach().clone() for name, parameter in weights.trainable.items()}
            for name, weight in point.items():
                # Scales of 1 and biases of 0 stay what they are.
                if name not in drawn and bool((weight != weight.flatten()[:1]).any()):
                    weight.normal_(std=weight[0].numel() ** -0.5 if weight.ndim > 1 else 1.0)
        return point

    return redrawn


def mispaired(batches: Sequence[ProbeBatch]) -> tuple[ProbeBatch, ...]:
    """The batches with each sample's input beside another one's target; empty where the two cannot be told apart."""
    parted = [_parted(batch.batch) for batch in batches]
    if not batches or any(parts is None for parts in parted):
        return ()
    broken = []
    for i, batch in enumerate(batches):
        neighbour = parted[(i + 1) % len(batches)]
        mine = parted[i]
        assert mine is not None and neighbour is not None  # noqa: PT018 - one fact
        donor = neighbour if _shapes(neighbour[0]) == _shapes(mine[0]) else mine
        broken.append(replace(batch, batch=mine[1](_rolled(donor[0]))))
    return tuple(broken)


def inputs_vary(batches: Sequence[ProbeBatch]) -> bool:
    """Whether any sample's input differs from another's; True where that cannot be told."""
    parted = [_parted(batch.batch) for batch in batches]
    inputs = [[tensor for tensor in _tensors(parts[0]) if tensor.numel()] for parts in parted if parts is not None]
    first = inputs[0] if inputs else []
    if not first or sum(len(tensors[0]) for tensors in inputs if tensors) < 2:
        return True
    return any(len(tensors) != len(first) or any(map(_differ, tensors, first)) for tensors in inputs)


def _differ(samples: Tensor, others: Tensor) -> bool:
    """Whether any of the samples is not the first one of the others."""
    return samples.shape[1:] != others.shape[1:] or bool((samples != others[:1]).any())


def _parted(batch: Any) -> tuple[Any, Callable[[Any], Any]] | None:
    """The inputs of a batch, and how to put others in their place."""
    if isinstance(batch, (tuple, list)) and not hasattr(batch, "_fields") and len(batch) > 1:
        return batch[0], lambda inputs: type(batch)([inputs, *batch[1:]])
    if type(batch) is dict and any(TARGET.search(str(key)) for key in batch):
        inputs = {key: value for key, value in batch.items() if not TARGET.search(str(key))}
        return (inputs, lambda inputs: {**batch, **inputs}) if inputs else None
    return None


def _rolled(inputs: Any) -> Any:
    """Every tensor's samples moved on by one."""
    if isinstance(inputs, Tensor):
        return inputs.roll(1, 0) if _has_samples(inputs) else inputs
    if type(inputs) in (tuple, list):
        return type(inputs)(_rolled(value) for value in inputs)
    return {key: _rolled(value) for key, value in inputs.items()} if type(inputs) is dict else inputs


def _shapes(inputs: Any) -> list[torch.Size]:
    return [tensor.shape for tensor in _tensors(inputs)]


def _tensors(inputs: Any) -> Iterator[Tensor]:
    if isinstance(inputs, Tensor):
        if _has_samples(inputs):
            yield inputs
    elif isinstance(inputs, (tuple, list, dict)):
        for value in inputs.values() if isinstance(inputs, dict) else inputs:
            yield from _tensors(value)


def _has_samples(tensor: Tensor) -> bool:
    """Whether the first dimension can be walked along: neither sparse, nor nested, nor a number."""
    return tensor.layout is torch.strided and not tensor.is_nested and tensor.ndim > 0
