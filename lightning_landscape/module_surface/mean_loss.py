"""The mean loss of a module over a few batches, as a function of its weights, with its derivatives."""

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
from lightning_landscape.module_surface.evaluator import Buffers, Evaluator
from lightning_landscape.module_surface.weights import ShardedWeights
from lightning_landscape.surface import Params


@dataclass(frozen=True)
class MeanLoss:
    """The mean over samples where all batches tell how many they hold, over batches otherwise; over ranks always.

    One graph exists at a time, except for Hessian-vector products, which keep the graphs of all batches.
    """

    evaluator: Evaluator
    batches: tuple[ProbeBatch, ...]
    ddp: bool = False
    """whether gradients that accumulate would be averaged behind our back"""

    @property
    def samples(self) -> int:
        """How many samples this is the mean of, on this rank; 0 where that is not known."""
        counts = [batch.samples for batch in self.batches]
        return sum(count for count in counts if count) if all(counts) else 0

    def samples_of_a_batch(self) -> float:
        """Samples of one batch on all ranks together, the harmonic mean over batches; 0 where that is not known."""
        counts = [batch.samples for batch in self.batches]
        with self.evaluator.ranks.together():
            own = len(counts) / sum(1 / count for count in counts if count) if all(counts) else 0.0
        ranks = self.evaluator.ranks
        return ranks.size * float(ranks.mean(torch.tensor(own, device=ranks.device)))

    def _weighted(self) -> Iterator[tuple[ProbeBatch, float]]:
        for batch in self.batches:
            yield batch, (batch.samples or 0) / self.samples if self.samples else 1 / len(self.batches)

    def value(self, point: Params) -> Tensor:
        """The loss, 0-dim, at least in single precision."""
        with self.evaluator.at_other_weights():
            buffers = self._running_statistics(point)
            losses = [share * widened(self.evaluator.loss_alone(b, point, buffers)) for b, share in self._weighted()]
            value = torch.stack(losses).sum()
        return self.evaluator.ranks.mean(value)

    def value_and_gradient(self, point: Params) -> tuple[Tensor, Vectors]:
        """The loss and its gradient, from one forward and one backward per batch."""
        parameters = self._parameters(point)
        losses: list[Tensor] = []
        total: Vectors = ()
        with self.evaluator.at_other_weights(), torch.enable_grad():
            buffers = self._running_statistics(point)
            for batch, share in self._weighted():
                loss = self.evaluator.loss(batch, point, buffers=buffers)
                losses.append(share * widened(loss.detach()))
                total = _add(total, self._gradient(loss, parameters), share)
                del loss
        mean = self.evaluator.ranks.mean
        return mean(torch.stack(losses).sum()), tuple(mean(part) for part in total)

    def gradient_and_product(self, point: Params) -> tuple[Vectors, Callable[[Params, Vectors], Vectors]]:
        """The gradient of the loss in full precision, and products with its Hessian from graphs kept for them.

        Raises:
            SurfaceError: if the second derivative does not exist
        """
        parameters = self._parameters(point)
        kept: list[tuple[Any, Vectors]] = []
        with self.evaluator.at_other_weights(), torch.enable_grad():
            if self._sharded:
                raise SurfaceError("[LL309] there are no second derivatives of sharded parameters")
            buffers = self._running_statistics(point)
            for batch, share in self._weighted():
                loss = self.evaluator.loss(batch, point, buffers=buffers, precision=_twice_differentiable(parameters))
                if _backward_only(loss):
                    raise SurfaceError("[LL309] re-entrant activation checkpointing has no second derivative")
                self.evaluator.meter.backward()
                gradient = _autograd_gradient(loss * share, parameters, create_graph=True)
                kept.append((self.evaluator.isolation.handed_out(), gradient))
        mean = self.evaluator.ranks.mean

        def product(point: Params, vector: Vectors) -> Vectors:
            total: Vectors = ()
            with self.evaluator.at_other_weights():
                for copies, gradient in kept:
                    self.evaluator.meter.product()
                    # Checkpointed activations are computed anew with what the module holds.
                    self.evaluator.isolation.hand_out(copies)
                    self.evaluator.weights.place(point)
                    total = _add(total, _transposed_product(gradient, parameters, vector), 1.0)
            return tuple(mean(part) for part in total)

        summed = (
            torch.stack([part.detach() for part in parts]).sum(0) for parts in zip(*(g for _, g in kept), strict=True)
        )
        return tuple(mean(part) for part in summed), product

    def _parameters(self, point: Params) -> list[nn.Parameter]:
        return [self.evaluator.weights.trainable[name] for name in point if name in self.evaluator.weights.trainable]

    def _gradient(self, loss: Tensor, parameters: list[nn.Parameter]) -> Vectors:
        self.evaluator.meter.backward()
        if not loss.requires_grad:
            return tuple(torch.zeros_like(parameter) for parameter in parameters)
        if self.evaluator.writes_after_backward:
            raise SurfaceError(
                "[LL314] this manual step changes its weights by itself: the loss has no gradient any more"
            )
        if not self._sharded and not _backward_only(loss):
            return _autograd_gradient(loss, parameters, create_graph=False)
        if self.ddp:
            raise SurfaceError(
                "[LL308] re-entrant activation checkpointing cannot be probed under DDP: use_reentrant=False"
            )
        torch.autograd.backward(loss)
        gradient = tuple(torch.zeros_like(p) if p.grad is None else p.grad for p in parameters)
        for parameter in self.evaluator.weights.parameters.values():
            parameter.grad = None
        return gradient

    @property
    def _sharded(self) -> bool:
        return isinstance(self.evaluator.weights, ShardedWeights)

    def _running_statistics(self, point: Params) -> Buffers:
        """What BatchNorm would have collected at these weights; those of the run belong to other weights."""
        if self.evaluator.mode == "as_trained":
            return {}
        return self.evaluator.running_statistics(self.batches, point)


def _add(total: Vectors, parts: Vectors, share: float) -> Vectors:
    """``total + share * parts``; an empty total is zero."""
    if not total:
        return parts if share == 1 else tuple(share * part for part in parts)
    return tuple(torch.add(sum_, part, alpha=share) for sum_, part in zip(total, parts, strict=True))


def widened(loss: Tensor) -> Tensor:
    """The loss in single precision, if it has less."""
    return loss.float() if loss.dtype in (torch.float16, torch.bfloat16) else loss


def _autograd_gradient(loss: Tensor, parameters: list[nn.Parameter], *, create_graph: bool) -> Vectors:
    for parameter in parameters:  # a step may have toggled it off after its use
        parameter.requires_grad_()
    gradient: Vectors = torch.autograd.grad(
        loss, parameters, create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return gradient


def _transposed_product(gradient: Vectors, parameters: list[nn.Parameter], vector: Vectors) -> Vectors:
    pairs = [(part, v) for part, v in zip(gradient, vector, strict=True) if part.requires_grad]
    if not pairs:
        return tuple(torch.zeros_like(parameter) for parameter in parameters)
    parts, vectors = zip(*pairs, strict=True)
    product: Vectors = torch.autograd.grad(
        parts, parameters, vectors, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return product


def _backward_only(loss: Tensor) -> bool:
    """Whether the graph contains what only ``.backward()`` runs through: re-entrant checkpointing.

    `torch.autograd.grad` through it raises or, worse, leaves gradients out without a word.
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
    """Run a loss in full precision, and without kernels that have no second derivative (attention, cuDNN's RNNs)."""
    device_types = {parameter.device.type for parameter in parameters}
    with twice_differentiable_kernels(device_types), torch.backends.cudnn.flags(enabled=False):
        yield
