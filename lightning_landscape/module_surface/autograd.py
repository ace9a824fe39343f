"""Join the graph of a module, which ends in its Parameters, to the tensors that a probe passes.

A graph that was built at exchanged weights is worth nothing once the weights are exchanged again: autograd keeps leaf
tensors by reference, and checkpointed activations are recomputed with whatever the module then holds. So no graph of
the module ever leaves its evaluation. Two autograd functions stand for it: the first knows loss and gradient, the
second gradient and Hessian-vector products, and each sets the module to its weights whenever it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lightning_landscape.surface import Params

Vectors = tuple[Tensor, ...]


class Objective(Protocol):
    """What is known of a loss at one point; vectors follow the order of the point's names."""

    def value(self, point: Params) -> Tensor:
        """The loss, 0-dim, without a graph."""

    def value_and_gradient(self, point: Params) -> tuple[Tensor, Vectors]:
        """The loss and its gradient, without a graph."""

    def gradient_and_product(self, point: Params) -> tuple[Vectors, Callable[[Params, Vectors], Vectors]]:
        """The gradient, and a function that multiplies the Hessian at the same point with a vector."""


def differentiable(objective: Objective) -> Callable[[Params], Tensor]:
    """The loss as a function through which torch can differentiate twice."""

    def loss(params: Params) -> Tensor:
        if torch.is_grad_enabled() and any(weight.requires_grad for weight in params.values()):
            value: Tensor = _Loss.apply(objective, tuple(params), *params.values())  # type: ignore[no-untyped-call]
            return value
        return objective.value({name: weight.detach() for name, weight in params.items()})

    return loss


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, objective: Objective, names: tuple[str, ...], *weights: Tensor) -> Tensor:
        value, ctx.gradient = objective.value_and_gradient(_point(names, weights))
        ctx.objective, ctx.names = objective, names
        ctx.save_for_backward(*weights)
        return value

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Any, ...]:
        gradient = ctx.gradient
        if torch.is_grad_enabled():  # create_graph=True
            gradient = _Gradient.apply(ctx.objective, ctx.names, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return None, None, *(outer * part for part in gradient)


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, objective: Objective, names: tuple[str, ...], *weights: Tensor) -> Vectors:
        gradient, ctx.product = objective.gradient_and_product(_point(names, weights))
        ctx.names = names
        ctx.save_for_backward(*weights)
        return gradient

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *vector: Tensor) -> tuple[Any, ...]:
        return None, None, *ctx.product(_point(ctx.names, ctx.saved_tensors), vector)


def _point(names: tuple[str, ...], weights: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
    return {name: weight.detach() for name, weight in zip(names, weights, strict=True)}
