"""Whether the gradients of an optimizer are ever set to zero or None between two of its steps.

A backward pass adds to the gradients. If these are neither None nor zero at the beginning of any backward pass between
two steps, the second step therefore uses the gradients of the first as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from lightning_landscape.evidence import KeptGradients
from lightning_landscape.trainer._compat import version_of
from lightning_landscape.trainer.optimizers import parameters_of

STEPS = 4
"""first steps of an optimizer that are observed, with three intervals between them"""
WATCHED = 3
"""most parameters of an optimizer whose gradients are checked"""


class Zeroing:
    """Observes the first steps of each optimizer; `kept` is the first one whose gradients were never zeroed.

    An optimizer is observed until its gradients are found zeroed, or until `STEPS` steps. Nothing is concluded if the
    gradients changed outside of `manual_backward`, for example by a direct call of `loss.backward()`.
    """

    def __init__(self, optimizers: Sequence[Optimizer] = ()) -> None:
        self.kept: KeptGradients | None = None
        self._watches = [_Watch(i, optimizer) for i, optimizer in enumerate(optimizers) if _has_hooks(optimizer)]
        for watch in self._watches:
            watch.handle = watch.optimizer.register_step_post_hook(self._after_step)

    def before_backward(self) -> bool:
        """Check the gradients before a backward pass; return whether `kept` has been found now."""
        if not self._watches:
            return False
        for watch in self._watches:
            watch.check()
        known = self.kept is not None
        self._end_decided()
        return not known and self.kept is not None

    def stop(self) -> None:
        """Observe no more steps, and release the optimizers."""
        for watch in self._watches:
            watch.release()
        self._watches = []

    def __getstate__(self) -> dict[str, Any]:
        """Return what was found, without objects of the run."""
        return {"kept": self.kept, "_watches": []}

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for watch in self._watches:
            if watch.optimizer is optimizer:
                try:
                    watch.count_step()
                except Exception:  # an error would end training here; nothing is concluded instead
                    watch.decided, watch.kept = True, False

    def _end_decided(self) -> None:
        """Stop to observe the optimizers for which the answer is known; here, and not in a hook of their step."""
        for watch in self._watches:
            if watch.decided:
                watch.release()
                if watch.kept and self.kept is None:
                    self.kept = KeptGradients(watch.index, STEPS)
        self._watches = [watch for watch in self._watches if not watch.decided]


class _Watch:
    """The gradients of a few parameters of one optimizer, over its first steps."""

    def __init__(self, index: int, optimizer: Optimizer) -> None:
        self.index, self.optimizer = index, optimizer
        self.handle: RemovableHandle | None = None
        self.decided = self.kept = False
        self._steps = 0
        self._parameters: list[Tensor] = []
        self._gradients: list[tuple[Tensor, int]] | None = None  # when last checked, with their versions
        self._backward_passes = 0  # since the last step

    def check(self) -> None:
        """Before a backward pass, find out whether the gradients were zeroed since the last check or step."""
        if self.decided or self._gradients is None:
            return
        # Between two checks lies one backward pass, which adds to each gradient once; between step and check lies none.
        unchanged, gradients = self._compared(min(1, self._backward_passes))
        self._backward_passes += 1
        self.decided = not unchanged or _any_is_zero(gradients)

    def count_step(self) -> None:
        """After a step, remember the gradients, unless nothing can be concluded from them."""
        if self.decided:
            return
        if self._gradients is None:
            self._parameters, self._steps = _small(self.optimizer), 1
            self._gradients = [(p.grad, version_of(p.grad)) for p in self._parameters if p.grad is not None]
            self.decided = not self._parameters
            return
        # Between the last check and the end of the step lie a backward pass and perhaps a clipping of the gradients.
        unchanged, _ = self._compared(2 if self._backward_passes else 0)
        self._steps += self._backward_passes > 0
        self._backward_passes = 0
        self.kept = unchanged and self._steps >= STEPS
        self.decided = self.kept or not unchanged

    def _compared(self, allowed: int) -> tuple[bool, list[Tensor]]:
        """Return the gradients, and whether each is the same tensor as before and was changed at most `allowed` times.

        A gradient that is None or another tensor was zeroed, and one with more changes may have been.
        """
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        earlier, self._gradients = self._gradients or [], [(gradient, version_of(gradient)) for gradient in gradients]
        same = len(gradients) == len(earlier) and all(
            gradient is before and version_of(gradient) - version <= allowed
            for gradient, (before, version) in zip(gradients, earlier, strict=True)
        )
        return same, gradients

    def release(self) -> None:
        """Observe no more steps."""
        if self.handle is not None:
            self.handle.remove()
        self._gradients, self._parameters = None, []


def _has_hooks(optimizer: Optimizer) -> bool:
    return hasattr(optimizer, "register_step_post_hook")


def _small(optimizer: Optimizer) -> list[Tensor]:
    """Return the smallest parameters that have a dense gradient, at most `WATCHED`."""
    dense = [p for p in parameters_of(optimizer) if p.grad is not None and not p.grad.is_sparse]
    return sorted(dense, key=Tensor.numel)[:WATCHED]


@torch.no_grad()
def _any_is_zero(gradients: Sequence[Tensor]) -> bool:
    """Return whether a gradient is zero, or part of a tensor that is sharded over ranks, after one transfer."""
    if any(hasattr(gradient, "to_local") for gradient in gradients):
        return True
    device = gradients[0].device
    return not bool(torch.stack([gradient.any().to(device) for gradient in gradients]).all())
