"""Call the user's `training_step` outside of the training loop and extract its loss."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.errors import SurfaceError
from lightning_landscape.module_surface.batches import ProbeBatch
from lightning_landscape.module_surface.isolation import Isolation
from lightning_landscape.trainer.host import Host

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LRScheduler

LossFn: TypeAlias = Callable[[Any, Any], Tensor]
"""takes the module and a batch, and returns the loss as a 0-dim tensor"""


class TrainingStep:
    """Calls `training_step`, or a loss function of the user, and returns the loss as a 0-dim tensor.

    A step with manual optimization is called with methods that record its losses and change nothing. Its loss is the
    sum of all losses that it passes to ``manual_backward``, or on which it calls ``backward``.

    Args:
        host: the run.
        isolation: the isolation of its module, on which it sets these methods.
        loss_fn: replaces `training_step`; None for the module's method ``landscape_loss(self, batch)`` if it has one.
    """

    def __init__(self, host: Host, isolation: Isolation, loss_fn: LossFn | None) -> None:
        self._host, self._module = host, host.module
        landscape_loss: LossFn | None = getattr(type(host.module), "landscape_loss", None)
        self._loss_fn = loss_fn or landscape_loss
        self._arguments = functools.partial(_arguments, inspect.signature(host.module.training_step).parameters)
        self._recorded_losses: list[Tensor] = []
        if not host.automatic_optimization:
            for name, method in _recording_methods(host, self._recorded_losses).items():
                isolation.replace_attribute("", name, method)

    @property
    def manual(self) -> bool:
        """Whether a `training_step` with manual optimization is called."""
        return self._loss_fn is None and not self._host.automatic_optimization

    @property
    def has_loss_fn(self) -> bool:
        """Whether the user has given a loss function that is called instead of `training_step`."""
        return self._loss_fn is not None

    def __call__(self, batch: ProbeBatch, precision: contextlib.AbstractContextManager[Any] | None = None) -> Tensor:
        """Return the loss on a copy of `batch`.

        Args:
            batch: the batch.
            precision: context in which to evaluate, besides the precision of training; None for no other.

        Raises:
            SurfaceError: if there is no loss, or if it has more than one element
        """
        self._recorded_losses.clear()
        with (
            self._host.train_step_context(),
            precision or contextlib.nullcontext(),
            _recorded_backward(self._recorded_losses) if self.manual else contextlib.nullcontext(),
        ):
            if self._loss_fn is not None:
                output: Any = self._loss_fn(self._module, batch.copy())
            else:
                output = self._module.training_step(*self._arguments(batch))
        loss = self._extract_loss(output)
        if loss.numel() != 1:
            raise SurfaceError(
                f"[LL304] training_step returns a loss of shape {tuple(loss.shape)}, which is not a single number"
            )
        return loss.reshape(())

    def _extract_loss(self, output: Any) -> Tensor:
        if self.manual:
            # The gradients of several backward passes accumulate to the gradient of the sum of their losses.
            losses = [loss.reshape(()) for loss in self._recorded_losses]
            output = torch.stack(losses).sum() if losses else None
            self._recorded_losses.clear()
        loss = output.get("loss") if isinstance(output, Mapping) else output
        if not isinstance(loss, Tensor):
            reason = "never calls backward" if self.manual else "returns no loss"
            raise SurfaceError(f"[LL304] training_step {reason}; give loss_fn or define landscape_loss(self, batch)")
        return loss


def _arguments(parameters: Mapping[str, inspect.Parameter], batch: ProbeBatch) -> list[Any]:
    """Return the arguments with which Lightning calls a `training_step` that has these parameters."""
    if "dataloader_iter" in parameters:
        return [iter([(batch.copy(), batch.batch_idx, batch.dataloader_idx)])]
    positional = [p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_any_number = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    arguments = [batch.copy(), batch.batch_idx, batch.dataloader_idx]
    return arguments[: 2 if takes_any_number else len(positional)]


class ReadOnlyOptimizer:
    """Replaces an optimizer or a scheduler in a step with manual optimization; its methods change nothing.

    Args:
        original: the optimizer or scheduler, whose parameter groups and defaults can be read.
    """

    def __init__(self, original: Optimizer | LRScheduler) -> None:
        groups = getattr(original, "param_groups", [])
        self.param_groups = [dict(group) for group in groups]
        self.defaults = dict(getattr(original, "defaults", {}))
        self.state: dict[Any, Any] = {}

    def step(self, closure: Callable[[], Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        """Call the closure, if there is one, and return its result; the weights do not change."""
        return closure() if callable(closure) else None

    def zero_grad(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing to the gradients."""

    @contextlib.contextmanager
    def toggle_model(self, sync_grad: bool = True) -> Iterator[None]:  # noqa: FBT001, FBT002 - Lightning's signature
        """Do nothing to the ``requires_grad`` flags."""
        yield

    def state_dict(self) -> dict[str, Any]:
        """Return an empty dictionary."""
        return {}

    def get_last_lr(self) -> list[Any]:
        """Return the learning rate of each parameter group."""
        return [group.get("lr") for group in self.param_groups]


def _recording_methods(host: Host, losses: list[Tensor]) -> dict[str, Callable[..., Any]]:
    """Return replacements, by name, for the methods that a step with manual optimization calls on its module.

    ``manual_backward`` appends the loss to `losses`; the others change nothing.
    """
    optimizers = [ReadOnlyOptimizer(optimizer) for optimizer in host.optimizers]
    schedulers = [ReadOnlyOptimizer(scheduler) for scheduler in host.schedulers]

    def manual_backward(loss: Tensor, *args: Any, **kwargs: Any) -> None:
        losses.append(loss)

    def do_nothing(*args: Any, **kwargs: Any) -> None:
        pass

    return {
        "manual_backward": manual_backward,
        "optimizers": lambda *args, **kwargs: _single_or_list(optimizers),
        "lr_schedulers": lambda: _single_or_list(schedulers) if schedulers else None,
        **dict.fromkeys(("toggle_optimizer", "untoggle_optimizer", "clip_gradients"), do_nothing),
    }


@contextlib.contextmanager
def _recorded_backward(losses: list[Tensor]) -> Iterator[None]:
    """Let ``loss.backward()`` append the loss to `losses` instead of computing gradients.

    A real backward pass would write to ``.grad`` and, under DDP, average the gradients over the ranks.
    """
    original = Tensor.backward

    def backward(self: Tensor, *args: Any, **kwargs: Any) -> None:
        losses.append(self)

    try:
        try:
            Tensor.backward = backward  # type: ignore[method-assign]
            yield
        finally:
            Tensor.backward = original  # type: ignore[method-assign]
    finally:  # again, in case Ctrl-C has come just before the first assignment
        Tensor.backward = original  # type: ignore[method-assign]


def _single_or_list(items: list[ReadOnlyOptimizer]) -> ReadOnlyOptimizer | list[ReadOnlyOptimizer]:
    return items[0] if len(items) == 1 else items
