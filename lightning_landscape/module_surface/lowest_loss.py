"""The lowest loss that a training step allows on a batch, if the outputs of the model could take any values."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lightning_landscape.module_surface.mean_loss import MeanLoss, at_least_float32
from lightning_landscape.module_surface.operations import Followed, Operation, followed_operations
from lightning_landscape.surface import Params

EVALUATIONS = 29
"""most forward passes of one batch that the search takes, which cost about ten gradients"""
AT_REST, PRECISION = 4, 2e-3
"""the search ends if its last steps, of this number, have added less than this share to the fall of the loss"""
WIDENINGS, WIDER = 7, 8.0
"""how often the first step of all outputs is widened, at most, while the loss falls further, and by which factor"""
SMALLEST = 1e-4
"""size of outputs below which they count as 0, since a widened step could not lead from there to values of about 1"""
MAX_VALUES = 2**24
"""largest number of values in all outputs next to the loss of a batch; the search keeps a few numbers for each"""
BOUNDED = 0.02
"""largest share of the fall that the last sixth of the search may add; a loss without a lowest value adds more"""
NEVER_BELOW_ZERO = frozenset({
    *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "ctc_loss", "soft_margin_loss", "multi_margin_loss"),
    *("margin_ranking_loss", "hinge_embedding_loss", "cosine_embedding_loss", "multilabel_margin_loss"),
    *("triplet_margin_loss", "triplet_margin_with_distance_loss"),
})
"""names of loss functions whose lowest value is 0, whatever their targets are"""
BINARY_LOSSES = frozenset({"binary_cross_entropy", "binary_cross_entropy_with_logits"})
"""names of loss functions whose lowest value is 0 if all targets are 0 or 1"""
RESOLUTION = 100
"""a fall of fewer roundings of the loss than this is none"""
NEGLIGIBLE = 0.01
"""a lowest loss below this share of the fall is taken as 0, since the search is no more precise than that"""


def lowest_loss(measured: MeanLoss, point: Params) -> float | None:
    """Return the lowest loss of the first batch if the outputs of the model could take any values.

    Losses of torch whose lowest value is 0 are set to 0 wherever they are called. If the loss then still depends on
    outputs of the layers next to it, these are free: each is moved against the sign of its gradient. Its step doubles
    until the sign changes, and is halved at each change from then on, so neither the size of the gradient nor an added
    constant matters, and outputs that are far from their best values get there as well [Riedmiller93]_. The weights
    stay at `point`.

    Returns:
        that loss; -inf if it has no lowest value, such as a Gaussian likelihood with a free variance; None where the
        loss does not depend on outputs of layers, where free outputs do not lower it, and where there are too many.

    .. [Riedmiller93] A direct adaptive method for faster backpropagation learning: the RPROP algorithm.
    """
    search = _Search(measured, point)
    before = search.find_outputs()
    losses = search.losses()
    finite = [loss for loss in losses if math.isfinite(loss)]
    if not finite or not math.isfinite(before):
        return None
    lowest = min(finite)
    fall, late = before - lowest, min(finite[: max(1, 5 * len(losses) // 6)]) - lowest
    if not fall > RESOLUTION * torch.finfo(torch.float32).eps * abs(before):
        return None
    if late > BOUNDED * fall:
        return -math.inf
    known = len(losses) == 1  # it depends on no output: all of it is set to its lowest values
    return 0.0 if abs(lowest) < NEGLIGIBLE * fall and not known else lowest


def _lowest_values(operation: Operation) -> Tensor | None:
    """Return the lowest values of a call of a loss function of torch, if they are 0; else None."""
    output = operation.output
    target = operation.argument(1, "target")
    binary = isinstance(target, Tensor) and bool(((target == 0) | (target == 1)).all())
    classes = isinstance(target, Tensor) and not target.is_floating_point()
    at_zero = operation.name in NEVER_BELOW_ZERO or (operation.name in BINARY_LOSSES and binary)
    if not output.is_floating_point():
        return None
    if operation.name == "cross_entropy" and classes:
        return _lowest_of_classes(operation, target)
    return torch.zeros_like(output) if at_zero else None


def _lowest_of_classes(operation: Operation, target: Tensor) -> Tensor | None:
    """Return the lowest cross-entropy of these classes: 0, or with label smoothing the entropy of the smoothed targets.

    None where classes have weights, or single losses are added up, with label smoothing.
    """
    smoothing, logits = float(operation.keywords.get("label_smoothing") or 0.0), operation.argument(0, "input")
    if not smoothing:
        return torch.zeros_like(operation.output)
    weighted = operation.argument(2, "weight") is not None or operation.keywords.get("reduction", "mean") == "sum"
    if weighted or not isinstance(logits, Tensor) or logits.ndim < 1:
        return None
    classes = logits.shape[min(1, logits.ndim - 1)]
    wrong = smoothing / classes
    right = 1 - (classes - 1) * wrong
    lowest = torch.full_like(operation.output, -right * math.log(right) - (classes - 1) * wrong * math.log(wrong))
    if lowest.shape == target.shape:
        lowest[target == operation.keywords.get("ignore_index", -100)] = 0.0
    return lowest


@dataclass
class _Free:
    """What is added to an output, and how it moves."""

    added: Tensor
    size: Tensor
    """length of the next step of each value"""
    sign: Tensor
    """sign of the last gradient"""
    turned: Tensor
    """whether the sign has changed before"""

    @classmethod
    def beside(cls, output: Tensor) -> _Free:
        """Return zeros to add to this output, which first move by its root mean square, or by `SMALLEST` if it is 0."""
        size = float(output.float().square().mean().sqrt())
        zeros = torch.zeros_like(output, dtype=torch.float32)
        sizes = torch.full_like(zeros, max(size, SMALLEST) if size < math.inf else 1.0)
        return cls(zeros, sizes, zeros.clone(), torch.zeros_like(zeros, dtype=torch.bool))

    def turn(self, gradient: Tensor) -> None:
        """Choose the next step by the sign of the gradient."""
        sign = gradient.nan_to_num(0.0, 0.0, 0.0).sign()
        changed = sign * self.sign < 0
        self.turned |= changed
        self.size *= torch.where(changed, 0.5, torch.where(self.turned | (self.sign == 0), 1.0, 2.0))
        self.sign = sign

    def move(self) -> None:
        """Take the next step."""
        self.added = (self.added - self.size * self.sign).detach()


@dataclass
class _Search:
    """The search on the first batch; `free` is what it adds to the outputs, by their indices."""

    measured: MeanLoss
    point: Params
    free: dict[int, _Free] = field(default_factory=dict)

    def find_outputs(self) -> float:
        """Find the outputs of the layers next to the loss, and return the loss."""
        layers: dict[int, Tensor] = {}
        last: frozenset[int] = frozenset()

        def watch(operation: Operation) -> None:
            if operation.is_layer and operation.output.is_floating_point():
                layers[operation.index] = operation.output.detach()

        def finish(followed: Followed) -> None:
            nonlocal last
            last = followed.fed_the_loss

        evaluator = self.measured.evaluator
        with evaluator.temporary_weights(), followed_operations(evaluator, watch, finish, {}):
            loss = evaluator.loss_without_graph(self.measured.batches[0], self.point)
        outputs = [(index, output) for index, output in layers.items() if index in last]
        size = torch.tensor(float(sum(output.numel() for _, output in outputs)), device=evaluator.ranks.device)
        if evaluator.ranks.mean(size) <= MAX_VALUES:
            self.free = {index: _Free.beside(output) for index, output in outputs}
        return float(evaluator.ranks.mean(at_least_float32(loss.detach())))

    def losses(self) -> list[float]:
        """Return the losses of the search; there is one only if the loss does not depend on the free outputs."""
        loss, slopes = self._evaluate()
        losses = [loss]
        if slopes is None:
            return losses
        self._turn(slopes)
        for _ in range(WIDENINGS):  # outputs of 1e-5 may have to become 1
            self._move()
            losses.append(self._evaluate()[0])
            if not losses[-1] <= losses[-2]:
                break
            self._begin_again(WIDER)
        self._begin_again(1 / WIDER)
        self._move()
        widened = len(losses)
        while len(losses) < EVALUATIONS:
            loss, slopes = self._evaluate()
            losses.append(loss)
            if slopes is None or self._rests(losses, len(losses) - widened):
                break
            self._turn(slopes)
            self._move()
        return losses

    @staticmethod
    def _rests(losses: list[float], moves: int) -> bool:
        lowest = min(losses)
        return moves > AT_REST and min(losses[:-AT_REST]) - lowest <= PRECISION * (losses[0] - lowest)

    def _turn(self, slopes: Iterable[Tensor]) -> None:
        for free, slope in zip(self.free.values(), slopes, strict=True):
            free.turn(slope)

    def _move(self) -> None:
        for free in self.free.values():
            free.move()

    def _begin_again(self, factor: float) -> None:
        """Put the outputs back, and multiply their steps by a factor."""
        for free in self.free.values():
            free.added, free.size = torch.zeros_like(free.added), factor * free.size

    def _evaluate(self) -> tuple[float, tuple[Tensor, ...] | None]:
        """Return the loss with the free outputs, and its gradient; None in its place if it depends on none of them."""
        leaves = {index: free.added.requires_grad_() for index, free in self.free.items()}

        def watch(operation: Operation) -> Tensor | None:
            known = _lowest_values(operation)
            if known is not None:
                return known
            if operation.index not in leaves or operation.output.shape != leaves[operation.index].shape:
                return None
            with torch.enable_grad():
                output = operation.output.detach()
                return (output.float() + leaves[operation.index]).to(output.dtype)

        evaluator = self.measured.evaluator
        with evaluator.temporary_weights(), torch.enable_grad():
            with followed_operations(evaluator, watch, lambda _: None, {}):
                loss = at_least_float32(evaluator.loss(self.measured.batches[0], self.point))
            slopes = None
            if loss.requires_grad and leaves:
                slopes = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
                sloping = torch.tensor(float(any(bool(slope.any()) for slope in slopes)), device=loss.device)
                slopes = slopes if float(evaluator.ranks.mean(sloping)) > 0 else None
        return float(evaluator.ranks.mean(loss.detach())), slopes  # the ranks have to agree when the search ends
