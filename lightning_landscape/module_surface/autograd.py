"""Make the loss of a module differentiable, twice, with respect to the weights that a probe passes.

The graph of a module ends in its Parameters, whose values are set for each evaluation. It is of no use once they have
been set again: autograd refers to leaf tensors instead of copying them, and checkpointed activations are recomputed
from the weights that the module has then. Therefore no graph of the module leaves its evaluation. Two autograd
functions take its place: the first computes the loss and its gradient, the second the gradient and Hessian-vector
products. Each of them sets the module's weights before it evaluates anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from lightning_landscape.module_surface.weights import address
from lightning_landscape.surface import Params

Vectors = tuple[Tensor, ...]
"""one tensor for each weight, in the order in which a point names them"""


class Objective(Protocol):
    """A loss whose value and derivatives can be computed at any point; none of its results has a graph."""

    def value(self, point: Params) -> Tensor:
        """Return the loss as a 0-dim tensor."""

    def value_and_gradient(self, point: Params) -> tuple[Tensor, Vectors]:
        """Return the loss and its gradient."""

    def gradient_and_product(self, point: Params) -> tuple[Vectors, Callable[[Params, Vectors], Vectors]]:
        """Return the gradient, and a function of this point and a vector that returns Hessian times vector."""


def differentiable(objective: Objective) -> Callable[[Params], Tensor]:
    """Return the loss as a function that torch can differentiate twice."""

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
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled():  # create_graph=True
            gradient = _Gradient.apply(ctx.objective, ctx.names, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
            return None, None, *(grad_output * component for component in gradient)
        # A loss that is differentiated once, by itself, needs no second gradient in memory.
        if bool(grad_output == 1) and _are_separate(ctx.gradient):
            return None, None, *ctx.gradient
        return None, None, *(grad_output * component for component in ctx.gradient)


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, objective: Objective, names: tuple[str, ...], *weights: Tensor) -> Vectors:
        gradient, ctx.product = objective.gradient_and_product(_point(names, weights))
        ctx.names = names
        ctx.save_for_backward(*weights)
        return gradient

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Any, ...]:
        return None, None, *ctx.product(_point(ctx.names, ctx.saved_tensors), grad_outputs)


def _are_separate(vectors: Vectors) -> bool:
    """Return whether each vector has a storage of its own, so that it can be changed in place."""
    dense = all(vector.is_contiguous() for vector in vectors if vector.layout is torch.strided)
    strided = all(vector.layout is torch.strided for vector in vectors)
    addresses = {address(vector) for vector in vectors} - {None}
    return strided and dense and len(addresses) == len(vectors)


def _point(names: tuple[str, ...], weights: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
    return {name: weight.detach() for name, weight in zip(names, weights, strict=True)}
