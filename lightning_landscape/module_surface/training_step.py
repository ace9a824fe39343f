"""Run a stranger's `training_step` once more and find the loss in what it does."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lightning_landscape.errors import SurfaceError
from lightning_landscape.module_surface.batches import ProbeBatch
from lightning_landscape.module_surface.isolation import Isolation
from lightning_landscape.trainer.host import Host

LossFn: TypeAlias = Callable[[Any, Any], Tensor]
"""``loss_fn(module, batch)`` → 0-dim tensor"""


class TrainingStep:
    """Calls the training step, or what the user gives in its place, and returns the loss as a 0-dim tensor."""

    def __init__(self, host: Host, isolation: Isolation, loss_fn: LossFn | None) -> None:
        self._host, self._module = host, host.module
        own: LossFn | None = getattr(type(host.module), "landscape_loss", None)
        self._loss_fn = loss_fn or own
        self._arguments = functools.partial(_arguments, inspect.signature(host.module.training_step).parameters)
        self._handed_over: list[Tensor] = []
        if not host.automatic_optimization:
            for attribute, value in _manual_optimization(host, self._handed_over).items():
                isolation.shadow("", attribute, value)

    @property
    def manual(self) -> bool:
        """Whether the step takes its gradients itself."""
        return self._loss_fn is None and not self._host.automatic_optimization

    @property
    def overridden(self) -> bool:
        """Whether the user answers for the loss by a function of their own."""
        return self._loss_fn is not None

    def __call__(self, batch: ProbeBatch, precision: contextlib.AbstractContextManager[Any] | None = None) -> Tensor:
        """The loss on a fresh copy of `batch`, in the precision of training unless another is given.

        Raises:
            SurfaceError: if the step gives no loss, or more than one number
        """
        self._handed_over.clear()
        with (
            self._host.train_step_context(),
            precision or contextlib.nullcontext(),
            _handing_over(self._handed_over) if self.manual else contextlib.nullcontext(),
        ):
            if self._loss_fn is not None:
                output: Any = self._loss_fn(self._module, batch.copy())
            else:
                output = self._module.training_step(*self._arguments(batch))
        loss = self._find(output)
        if loss.numel() != 1:
            raise SurfaceError(f"[LL304] training_step gives a loss of shape {tuple(loss.shape)}, not one number")
        return loss.reshape(())

    def _find(self, output: Any) -> Tensor:
        if self.manual:
            # Several calls of manual_backward: their sum has the gradient that accumulates in the end.
            output = torch.stack([loss.reshape(()) for loss in self._handed_over]).sum() if self._handed_over else None
            self._handed_over.clear()
        loss = output.get("loss") if isinstance(output, Mapping) else output
        if not isinstance(loss, Tensor):
            how = "calls no backward" if self.manual else "returns no loss"
            raise SurfaceError(f"[LL304] training_step {how}; give loss_fn or define landscape_loss(self, batch)")
        return loss


def _arguments(parameters: Mapping[str, inspect.Parameter], batch: ProbeBatch) -> list[Any]:
    """What a step of these parameters is called with, as Lightning decides it."""
    if "dataloader_iter" in parameters:
        return [iter([(batch.copy(), batch.batch_idx, batch.dataloader_idx)])]
    positional = [p for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_all = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    arguments = [batch.copy(), batch.batch_idx, batch.dataloader_idx]
    return arguments[: 2 if takes_all else len(positional)]


class NullOptimizer:
    """Stands in for an optimizer or a scheduler of manual optimization: may be read, moves nothing."""

    def __init__(self, original: Any) -> None:
        groups = getattr(original, "param_groups", [])
        self.param_groups = [dict(group) for group in groups]
        self.defaults = dict(getattr(original, "defaults", {}))
        self.state: dict[Any, Any] = {}

    def step(self, closure: Callable[[], Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluate the closure, if there is one, and leave the weights alone."""
        return closure() if callable(closure) else None

    def zero_grad(self, *args: Any, **kwargs: Any) -> None:
        """Leave the gradients alone."""

    @contextlib.contextmanager
    def toggle_model(self, sync_grad: bool = True) -> Iterator[None]:  # noqa: FBT001, FBT002 - Lightning's signature
        """Leave requires_grad alone."""
        yield

    def state_dict(self) -> dict[str, Any]:
        """Nothing: it has no state."""
        return {}

    def get_last_lr(self) -> list[Any]:
        """The present learning rates."""
        return [group.get("lr") for group in self.param_groups]


def _manual_optimization(host: Host, handed_over: list[Tensor]) -> dict[str, Any]:
    """Methods under which a manual step hands its losses over and changes nothing."""
    optimizers = [NullOptimizer(optimizer) for optimizer in host.optimizers]
    schedulers = [NullOptimizer(scheduler) for scheduler in host.schedulers]

    def manual_backward(loss: Tensor, *args: Any, **kwargs: Any) -> None:
        handed_over.append(loss)

    def nothing(*args: Any, **kwargs: Any) -> None:
        pass

    return {
        "manual_backward": manual_backward,
        "optimizers": lambda *args, **kwargs: _one_or_many(optimizers),
        "lr_schedulers": lambda: _one_or_many(schedulers) if schedulers else None,
        **dict.fromkeys(("toggle_optimizer", "untoggle_optimizer", "clip_gradients"), nothing),
    }


@contextlib.contextmanager
def _handing_over(losses: list[Tensor]) -> Iterator[None]:
    """Let a plain ``loss.backward()`` do what manual_backward does: it would reach the hooks of DDP."""
    original = Tensor.backward

    def backward(self: Tensor, *args: Any, **kwargs: Any) -> None:
        losses.append(self)

    try:
        try:
            Tensor.backward = backward  # type: ignore[method-assign]
            yield
        finally:
            Tensor.backward = original  # type: ignore[method-assign]
    finally:
        Tensor.backward = original  # type: ignore[method-assign] # Ctrl-C may have struck just before


def _one_or_many(items: list[NullOptimizer]) -> NullOptimizer | list[NullOptimizer]:
    return items[0] if len(items) == 1 else items
