"""The mean loss of a module over a few batches, and its first and second derivatives, at given weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.errors import SurfaceError
from lightning_landscape.functional.hessian.differentiation import twice_differentiable_kernels
from lightning_landscape.module_surface.autograd import Vectors
from lightning_landscape.module_surface.batches import ProbeBatch
from lightning_landscape.module_surface.evaluator import Evaluator
from lightning_landscape.module_surface.isolation import Copies
from lightning_landscape.module_surface.weights import ShardedWeights
from lightning_landscape.surface import Params


@dataclass(frozen=True)
class MeanLoss:
    """The mean of the loss over all samples and ranks, or over all batches if their numbers of samples are not known.

    The graph of only one batch exists at a time. Hessian-vector products are the exception: they keep the graphs of all
    batches.
    """

    evaluator: Evaluator
    batches: tuple[ProbeBatch, ...]
    ddp: bool = False
    """whether the module is trained with DDP, whose hooks average accumulated gradients over the ranks"""

    @property
    def samples(self) -> int:
        """Number of samples in all batches of this rank; 0 if it is not known."""
        counts = [batch.samples for batch in self.batches]
        return sum(count for count in counts if count) if all(counts) else 0

    def samples_of_a_batch(self) -> float:
        """Return the harmonic mean over batches of the samples that all ranks have in a batch; 0 if not known."""
        counts = [batch.samples for batch in self.batches]
        with self.evaluator.ranks.together():
            on_this_rank = len(counts) / sum(1 / count for count in counts if count) if all(counts) else 0.0
        ranks = self.evaluator.ranks
        return ranks.size * float(ranks.mean(torch.tensor(on_this_rank, device=ranks.device)))

    def _weighted_batches(self) -> Iterator[tuple[ProbeBatch, float]]:
        for batch in self.batches:
            yield batch, (batch.samples or 0) / self.samples if self.samples else 1 / len(self.batches)

    def value(self, point: Params) -> Tensor:
        """Return the loss as a 0-dim tensor, in float32 or higher precision."""
        evaluator = self.evaluator
        with evaluator.temporary_weights():
            buffers = evaluator.running_statistics(self.batches, point)
            losses = [
                weight * at_least_float32(evaluator.loss_without_graph(batch, point, buffers))
                for batch, weight in self._weighted_batches()
            ]
            value = torch.stack(losses).sum()
        return evaluator.ranks.mean(value)

    def value_and_gradient(self, point: Params) -> tuple[Tensor, Vectors]:
        """Return the loss and its gradient, from one forward and one backward pass per batch."""
        evaluator, parameters = self.evaluator, self._parameters(point)
        losses: list[Tensor] = []
        total: Vectors = ()
        with evaluator.temporary_weights(), torch.enable_grad():
            buffers = evaluator.running_statistics(self.batches, point)
            for batch, weight in self._weighted_batches():
                loss = evaluator.loss(batch, point, buffers=buffers)
                losses.append(weight * at_least_float32(loss.detach()))
                total = _add_scaled(total, self._gradient(loss, parameters), weight)
                del loss  # frees the graph before the next one is built
        mean = evaluator.ranks.mean
        return mean(torch.stack(losses).sum()), tuple(mean(component) for component in total)

    def gradient_and_product(self, point: Params) -> tuple[Vectors, Callable[[Params, Vectors], Vectors]]:
        """Return the gradient in full precision, and a function that multiplies the Hessian with a vector.

        That function keeps the graphs of all batches.

        Raises:
            SurfaceError: if the loss has no second derivative
        """
        evaluator, parameters = self.evaluator, self._parameters(point)
        graphs: list[tuple[Copies, Vectors]] = []
        with evaluator.temporary_weights(), torch.enable_grad():
            if self._sharded:
                raise SurfaceError("[LL309] there are no second derivatives of sharded parameters")
            buffers = evaluator.running_statistics(self.batches, point)
            for batch, weight in self._weighted_batches():
                loss = evaluator.loss(batch, point, buffers=buffers, precision=_twice_differentiable(parameters))
                if _has_reentrant_checkpointing(loss):
                    raise SurfaceError("[LL309] re-entrant activation checkpointing has no second derivative")
                evaluator.meter.backward()
                gradient = _autograd_gradient(loss * weight, parameters, create_graph=True)
                graphs.append((evaluator.isolation.installed_copies(), gradient))
        mean = evaluator.ranks.mean

        def product(point: Params, vector: Vectors) -> Vectors:
            total: Vectors = ()
            with evaluator.temporary_weights():
                for copies, gradient in graphs:
                    evaluator.meter.product()
                    # Checkpointed activations are recomputed from the attributes and weights of the module.
                    evaluator.isolation.reinstall_copies(copies)
                    evaluator.weights.set_to(point)
                    total = _add_scaled(total, _transposed_product(gradient, parameters, vector), 1.0)
            return tuple(mean(component) for component in total)

        gradients = zip(*(gradient for _, gradient in graphs), strict=True)
        summed = (torch.stack([component.detach() for component in of_batches]).sum(0) for of_batches in gradients)
        return tuple(mean(component) for component in summed), product

    def _parameters(self, point: Params) -> list[nn.Parameter]:
        trainable = self.evaluator.weights.trainable
        return [trainable[name] for name in point if name in trainable]

    def _gradient(self, loss: Tensor, parameters: list[nn.Parameter]) -> Vectors:
        self.evaluator.meter.backward()
        if not loss.requires_grad:
            return tuple(torch.zeros_like(parameter) for parameter in parameters)
        if self.evaluator.writes_after_backward:
            raise SurfaceError(
                "[LL314] this step with manual optimization changes the weights itself, so that its loss has no "
                "gradient with respect to them"
            )
        if not self._sharded and not _has_reentrant_checkpointing(loss):
            return _autograd_gradient(loss, parameters, create_graph=False)
        if self.ddp:
            raise SurfaceError(
                "[LL308] a loss with re-entrant activation checkpointing cannot be differentiated under DDP: "
                "set use_reentrant=False"
            )
        torch.autograd.backward(loss)
        gradient = tuple(torch.zeros_like(p) if p.grad is None else p.grad for p in parameters)
        for parameter in self.evaluator.weights.parameters.values():
            parameter.grad = None
        return gradient

    @property
    def _sharded(self) -> bool:
        return isinstance(self.evaluator.weights, ShardedWeights)


def _add_scaled(total: Vectors, vectors: Vectors, factor: float) -> Vectors:
    """Return ``total + factor * vectors``; an empty total counts as zero."""
    if not total:
        return vectors if factor == 1 else tuple(factor * vector for vector in vectors)
    return tuple(torch.add(sum_, vector, alpha=factor) for sum_, vector in zip(total, vectors, strict=True))


def at_least_float32(loss: Tensor) -> Tensor:
    """Return the loss in float32 if its precision is lower."""
    return loss.float() if loss.dtype in (torch.float16, torch.bfloat16) else loss


def _autograd_gradient(loss: Tensor, parameters: list[nn.Parameter], *, create_graph: bool) -> Vectors:
    for parameter in parameters:  # the step may have frozen a parameter after using it, as `untoggle_optimizer` does
        parameter.requires_grad_()
    gradient: Vectors = torch.autograd.grad(
        loss, parameters, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    if not any(component.is_sparse for component in gradient):
        return gradient
    if create_graph:
        raise SurfaceError("[LL309] a sparse gradient, as of `nn.Embedding(sparse=True)`, has no second derivative")
    return tuple(component.to_dense() if component.is_sparse else component for component in gradient)


def _transposed_product(gradient: Vectors, parameters: list[nn.Parameter], vector: Vectors) -> Vectors:
    """Return the transposed Jacobian of the gradient times a vector: a Hessian-vector product, by symmetry."""
    pairs = [(component, v) for component, v in zip(gradient, vector, strict=True) if component.requires_grad]
    if not pairs:
        return tuple(torch.zeros_like(parameter) for parameter in parameters)
    components, vectors = zip(*pairs, strict=True)
    product: Vectors = torch.autograd.grad(
        components, parameters, vectors, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return product


def _has_reentrant_checkpointing(loss: Tensor) -> bool:
    """Return whether the graph contains re-entrant activation checkpointing, which only ``.backward()`` can handle.

    `torch.autograd.grad` raises an error there or, worse, leaves gradients out silently.
    """
    seen: set[Any] = set()
    pending = [loss.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        if node.name() == "CheckpointFunctionBackward":
            return True
        seen.add(node)
        pending.extend(following for following, _ in node.next_functions)
    return False


@contextlib.contextmanager
def _twice_differentiable(parameters: list[nn.Parameter]) -> Iterator[None]:
    """Evaluate in full precision, without kernels that have no second derivative (attention, cuDNN's RNNs)."""
    device_types = {parameter.device.type for parameter in parameters}
    with twice_differentiable_kernels(device_types), torch.backends.cudnn.flags(enabled=False):
        yield
