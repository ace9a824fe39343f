"""Evaluate the training step on one batch at given weights, always from the same state of the module."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_landscape.errors import OverBudgetError, SurfaceError
from lightning_landscape.module_surface.batches import ProbeBatch
from lightning_landscape.module_surface.global_state import seed_streams
from lightning_landscape.module_surface.isolation import Isolation
from lightning_landscape.module_surface.meter import Meter
from lightning_landscape.module_surface.training_step import TrainingStep
from lightning_landscape.surface import Params
from lightning_landscape.trainer.ranks import Ranks

Mode: TypeAlias = Literal["as_trained", "eval"]
Buffers: TypeAlias = Mapping[str, Mapping[str, Tensor | None]]
"""buffers by the name of their submodule, then by their own name"""

Around: TypeAlias = Callable[[], contextlib.AbstractContextManager[Callable[[Tensor], None]]]
"""returns the context of one evaluation, which yields a function that is called with the loss"""

PRESENT_WEIGHTS: Params = MappingProxyType({})
"""the point that names no weight, so that all weights have their present values"""
_SEED = 20011


@contextlib.contextmanager
def _nothing_around() -> Iterator[Callable[[Tensor], None]]:
    """Return a context that does nothing.

    Yields:
        a function that does nothing with the loss
    """
    yield lambda loss: None


class Evaluator:
    """Evaluates the training step of an isolated module.

    Args:
        isolation: private copies of the module's attributes.
        training_step: calls the training step and returns its loss.
        ranks: the ranks that evaluate together.
        mode: "as_trained" for the ``training`` flags of the captured batches, "eval" for evaluation mode.
        meter: counts the evaluations; None for a new one.
    """

    def __init__(
        self, isolation: Isolation, training_step: TrainingStep, ranks: Ranks, mode: Mode, meter: Meter | None = None
    ) -> None:
        self.isolation, self.training_step, self.ranks, self.mode = isolation, training_step, ranks, mode
        self.meter = meter or Meter()
        self.weights = isolation.weights
        self.open = True
        """whether the module may still be evaluated"""
        self._hooks: Mapping[str, Callable[..., None]] = {}
        self._hooks_before: Mapping[str, Callable[..., None]] = {}
        self._around: Around = _nothing_around
        self._grad_mode: type[torch.no_grad] | type[torch.enable_grad] = torch.no_grad
        """how the loss is evaluated where its gradient is not needed"""

    @contextlib.contextmanager
    def temporary_weights(self) -> Iterator[None]:
        """Let all ranks evaluate together, at any weights, and set the module to the present weights afterwards.

        Raises:
            SurfaceError: if the surface is closed, if the training step raises an exception, or if another rank fails
            OverBudgetError: if the meter's limit is reached
        """
        if not self.open:
            raise SurfaceError("[LL305] this surface is closed: evaluate and differentiate it inside its `with` block")
        with self.ranks.together():
            try:
                yield
            except (SurfaceError, OverBudgetError):
                raise
            except Exception as error:
                raise SurfaceError(f"[LL306] training_step raised {_in_one_line(error)}") from error
            finally:
                self.weights.rest()

    @contextlib.contextmanager
    def forward_hooks(
        self,
        hooks: Mapping[str, Callable[..., None]],
        *,
        before: Mapping[str, Callable[..., None]] = MappingProxyType({}),
        around: Around = _nothing_around,
    ) -> Iterator[None]:
        """Register forward hooks on submodules, by their names, in each evaluation inside this context.

        Args:
            hooks: called after the forward of a submodule.
            before: called before it.
            around: returns the context of a whole evaluation, which yields a function that is called with the loss.
        """
        self._hooks, self._hooks_before, self._around = hooks, before, around
        try:
            yield
        finally:
            self._hooks, self._hooks_before, self._around = {}, {}, _nothing_around

    def loss(
        self,
        batch: ProbeBatch,
        point: Params,
        *,
        buffers: Buffers = MappingProxyType({}),
        precision: contextlib.AbstractContextManager[Any] | None = None,
    ) -> Tensor:
        """Return the loss of one batch at `point`, with its graph if gradients are enabled.

        Args:
            batch: the batch.
            point: the weights.
            buffers: buffers that differ from those of the run.
            precision: context in which to evaluate, besides the precision of training; None for no other.
        """
        self.isolation.install_copies(self._training_flags(batch))
        self.isolation.set_buffers(buffers)
        for name, hook in self._hooks.items():  # the next `install_copies` removes them, with all other attributes
            self.isolation.modules[name].register_forward_hook(hook)
        for name, hook in self._hooks_before.items():
            self.isolation.modules[name].register_forward_pre_hook(hook)
        self.weights.set_to(point)
        with self._around() as finish:
            loss = self.loss_without_reset(batch, precision)
            finish(loss)
        return loss

    def loss_without_reset(
        self, batch: ProbeBatch, precision: contextlib.AbstractContextManager[Any] | None = None
    ) -> Tensor:
        """Return the loss of one batch in the state in which the last evaluation has left the module.

        A batch has the same random numbers at any weights, so that its losses can be compared. Other batches have
        others, even where each is the whole data: a gain on the noise of one batch is then none on a held-out one.
        """
        self.meter.forward()
        seed_streams(_SEED + batch.stream)
        return self.training_step(batch, precision)

    def loss_without_graph(self, batch: ProbeBatch, point: Params, buffers: Buffers = MappingProxyType({})) -> Tensor:
        """Return the loss of one batch at `point`, detached."""
        with self._grad_mode():
            return self.loss(batch, point, buffers=buffers).detach()

    def _training_flags(self, batch: ProbeBatch) -> Mapping[str, bool]:
        return batch.training if self.mode == "as_trained" else dict.fromkeys(batch.training, False)

    def running_statistics(self, batches: Sequence[ProbeBatch], point: Params) -> Buffers:
        """Return the statistics that every trained BatchNorm layer collects from the batches at `point`.

        All batches have equal weight [Izmailov18]_. The run's own statistics were collected at other weights, with
        which the loss between two points would be too large. There is nothing to collect in mode "as_trained", in
        which BatchNorm uses the statistics of each batch.

        .. [Izmailov18] Averaging weights leads to wider optima and better generalization, arXiv:1803.05407.
        """
        if self.mode == "as_trained":
            return {}
        norms = {name: m for name, m in self.isolation.modules.items() if isinstance(m, _BatchNorm)}
        collecting = {name: m for name, m in norms.items() if m.track_running_stats and batches[0].training.get(name)}
        if not collecting:
            return {}
        self.isolation.install_copies({name: name in collecting for name in batches[0].training})
        self.weights.set_to(point)
        for norm in collecting.values():
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches, with equal weights
        with self._grad_mode():
            for batch in batches:
                self.loss_without_reset(batch)
        return {name: dict(norm._buffers) for name, norm in collecting.items()}

    def require_reproducible(self, batch: ProbeBatch, point: Params = PRESENT_WEIGHTS) -> None:
        """Evaluate the loss twice at `point`, and raise an error if the two values differ.

        Raises:
            SurfaceError: if the two values differ in a single bit
        """
        with self.temporary_weights():
            self._find_weights_written_by_step(batch, point)
            try:
                first = self.loss_without_graph(batch, point)
            except SurfaceError:
                raise
            except Exception:  # a loss with a gradient penalty needs gradients; any other step fails once more
                self._grad_mode = torch.enable_grad
                first = self.loss_without_graph(batch, point)
            second = self.loss_without_graph(batch, point)
            if not bool(((first == second) | (first.isnan() & second.isnan())).all()):
                raise SurfaceError(
                    f"[LL307] training_step gives {first.item():.9g}, then {second.item():.9g} for the same weights, "
                    f"batch and random numbers: it depends on {self._possible_reasons()}; give loss_fn or define "
                    "landscape_loss(self, batch)"
                )

    def _find_weights_written_by_step(self, batch: ProbeBatch, point: Params) -> None:
        """Evaluate once to find the weights that the step itself changes: it may clip them or average them."""
        doubled = self.weights.doubled_point(point)
        with contextlib.suppress(Exception), torch.enable_grad():  # a sound step may fail at such weights
            self.loss(batch, doubled)
        self.weights.record_writes(doubled, point)

    @property
    def writes_after_backward(self) -> bool:
        """Whether a step with manual optimization changes weights after it has computed their gradient."""
        return self.training_step.manual and not self.weights.written_by_step.isdisjoint(self.weights.trainable)

    def _possible_reasons(self) -> str:
        uncopied = [f"{where} ({kind}), which cannot be copied" for where, kind in self.isolation.uncopied.items()]
        return " or ".join(uncopied) or "something outside the module (a global, a closure)"


def _in_one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
