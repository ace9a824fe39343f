"""Copy the run's optimizer and read its weight decay, for trials."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_landscape.surface import OptimizerStep, Params
from lightning_landscape.trainer._compat import local_shard
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.optimizer_coverage import decays_beside

ClipGradients = Callable[[list[nn.Parameter]], object]
"""clips the gradients of the parameters in place"""


def optimizer_copy(host: Host) -> Callable[[float], OptimizerStep] | None:
    """Return a function that makes copies of the run's optimizer, each with its present state and gradient clipping.

    It takes a factor for the learning rate, and returns the step of a new copy. It is None if the run has several
    optimizers, if the user steps the optimizer, or if the optimizer evaluates the loss itself, as LBFGS does.
    """
    optimizer = _copyable(host)
    if optimizer is None:
        return None
    parameters = _trainable(host)
    return lambda factor: _CopiedOptimizer(optimizer, parameters, _clipping(host), lambda rate, i: rate * factor)


def fresh_optimizer(host: Host, typical_rate: float | None = None) -> Callable[[float], OptimizerStep] | None:
    """Return a function like that of `optimizer_copy`, whose copies have an empty state, for runs that begin anew.

    Args:
        host: the run.
        typical_rate: the rate at factor 1 of the parameter group with the largest present rate; the others keep their
            ratio to it. Smaller than the present rate, it is not used. None for the present rate.
    """
    optimizer = _copyable(host)
    if optimizer is None:
        return None
    parameters, rates = _trainable(host), _typical_rates(optimizer, typical_rate)
    return lambda factor: _CopiedOptimizer(
        optimizer, parameters, _clipping(host), lambda rate, i: _like(rate, rates[i] * factor), fresh=True
    )


def _copyable(host: Host) -> Optimizer | None:
    """Return the optimizer of the run; None if there is not exactly one that can be copied."""
    if len(host.optimizers) != 1 or not host.automatic_optimization:
        return None
    optimizer = host.optimizers[0]
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return None if closure is not None and closure.default is inspect.Parameter.empty else optimizer


def _trainable(host: Host) -> dict[str, nn.Parameter]:
    return {name: p for name, p in host.module.named_parameters() if p.requires_grad}


def _typical_rates(optimizer: Optimizer, typical: float | None) -> list[float]:
    """Return the rate of each parameter group in a run whose largest rate is `typical`, but no smaller than now.

    Where all rates are 0 now, their ratios are those of the rates with which the schedule began.
    """
    now = [float(group.get("lr", 0.0)) for group in optimizer.param_groups]
    if typical is None or max(now) >= typical:
        return now
    known = now if max(now) > 0 else [float(group.get("initial_lr", 0.0)) for group in optimizer.param_groups]
    return [rate / max(known) * typical for rate in known] if max(known) > 0 else [typical] * len(now)


def _like(rate: float | Tensor, value: float) -> float | Tensor:
    return torch.full_like(rate, value) if isinstance(rate, Tensor) else value


class _CopiedOptimizer:
    """Takes steps with a copy of an optimizer, which is made in the first call and moves the tensors of its point.

    No hook of the original optimizer runs in these steps. The hooks that are registered for all optimizers do not run
    either, since `Isolation` removes them while a surface is open.

    Args:
        original: the optimizer.
        parameters: the trainable parameters of the module by their names.
        clip_gradients: clips the gradients in place before each step; None for no clipping.
        new_rate: takes the learning rate of a parameter group and the index of the group, and returns the rate to use.
        fresh: whether the copy begins with an empty state.
    """

    def __init__(
        self,
        original: Optimizer,
        parameters: Mapping[str, nn.Parameter],
        clip_gradients: ClipGradients | None,
        new_rate: Callable[[float | Tensor, int], float | Tensor],
        *,
        fresh: bool = False,
    ) -> None:
        self._original, self._parameters, self._new_rate = original, parameters, new_rate
        self._clip_gradients, self._fresh = clip_gradients, fresh
        self._takes_sparse = isinstance(original, torch.optim.SparseAdam)
        self._leaves: dict[str, nn.Parameter] = {}

    def __call__(self, point: Params, gradient: Sequence[Tensor]) -> None:
        if not self._leaves:
            self._leaves = {name: nn.Parameter(weight) for name, weight in point.items()}
            self._optimizer = self._copy()
        for leaf, component in zip(self._leaves.values(), gradient, strict=True):
            # `SparseAdam` takes no other gradient; that of a trial is dense, as it is a mean over batches.
            leaf.grad = component.to_sparse(1) if self._takes_sparse else component
        with torch.enable_grad():
            if self._clip_gradients is not None:
                self._clip_gradients([p for group in self._optimizer.param_groups for p in group["params"]])
            self._optimizer.step()
        for leaf in self._leaves.values():
            leaf.grad = None

    def _copy(self) -> Optimizer:
        """Return a copy of the optimizer that has the leaves in place of the parameters, and no hooks."""
        # `deepcopy` takes objects that it finds in the memo, by their ids, for copies that were made already.
        memo: dict[int, Any] = {id(self._parameters[name]): leaf for name, leaf in self._leaves.items()}
        # `Optimizer.__getstate__` leaves the hooks out, but a subclass may have another one.
        for name in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
            if (hooks := getattr(self._original, name, None)) is not None:
                memo[id(hooks)] = OrderedDict()
        if self._fresh:
            memo[id(self._original.state)] = defaultdict(dict)
        copied = copy.deepcopy(self._original, memo)
        _make_finite(copied.state.values())
        for i, group in enumerate(copied.param_groups):
            group["lr"] = self._new_rate(group["lr"], i)
        return copied


def _make_finite(states: Iterable[Any]) -> None:
    """Set the numbers in the states of the parameters that are not finite to 0.

    After a gradient that was not finite there are such numbers, and they would spoil every further step.
    """
    for state in states:
        for value in state.values() if isinstance(state, Mapping) else ():
            if isinstance(value, Tensor) and value.is_floating_point():
                local_shard(value).nan_to_num_(0.0, 0.0, 0.0)


def _clipping(host: Host) -> ClipGradients | None:
    if host.gradient_clip is None:
        return None
    value, algorithm = host.gradient_clip
    clip = nn.utils.clip_grad_value_ if algorithm == "value" else nn.utils.clip_grad_norm_
    return lambda parameters: clip(parameters, value)


def decay_of(host: Host) -> tuple[float, bool]:
    """Return the largest weight decay of the run's optimizers, and whether it is decoupled from the gradient.

    A decoupled decay (AdamW) shrinks the weights directly; any other is added to the gradient.
    """
    groups = [(group, optimizer) for optimizer in host.optimizers for group in optimizer.param_groups]
    decays = [(float(group.get("weight_decay") or 0.0), decays_beside(optimizer, group)) for group, optimizer in groups]
    return max(decays, default=(0.0, False))


def state_bytes(host: Host) -> int:
    """Return the bytes of the tensors in the states of the run's optimizers."""
    states = (state for optimizer in host.optimizers for state in optimizer.state.values())
    tensors = (value for state in states if isinstance(state, Mapping) for value in state.values())
    return sum(value.numel() * value.element_size() for value in tensors if isinstance(value, Tensor))
