"""One evaluation: a stranger's training step on one batch at given weights, always from the same beginning."""

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
"""buffers by the name of their submodule, then by their own"""

PRESENT: Params = MappingProxyType({})
"""the point that names no weight, and so leaves all of them where the run is"""
_SEED = 20011


class Evaluator:
    """Evaluates the training step of an isolated module."""

    def __init__(
        self, isolation: Isolation, replay: TrainingStep, ranks: Ranks, mode: Mode, meter: Meter | None = None
    ) -> None:
        self.isolation, self.replay, self.ranks, self.mode = isolation, replay, ranks, mode
        self.meter = meter or Meter()
        self.weights = isolation.weights
        self.open = True
        self._watchers: Mapping[str, Callable[..., None]] = {}
        self._without_graph: type[torch.no_grad] | type[torch.enable_grad] = torch.no_grad

    @contextlib.contextmanager
    def at_other_weights(self) -> Iterator[None]:
        """A piece of work agreed on by all ranks, after which the module holds the present weights again.

        Raises:
            SurfaceError: if the surface is closed; else whatever the training step raised, said in one line
            OverBudgetError: if the meter's limit is reached
        """
        if not self.open:
            raise SurfaceError("[LL305] this surface is closed: differentiate inside its `with` block")
        with self.ranks.together():
            try:
                yield
            except (SurfaceError, OverBudgetError):
                raise
            except Exception as error:
                raise SurfaceError(f"[LL306] training_step raised {_in_one_line(error)}") from error
            finally:
                self.weights.place(PRESENT)

    @contextlib.contextmanager
    def watching(self, watchers: Mapping[str, Callable[..., None]]) -> Iterator[None]:
        """Evaluations inside have a forward hook on each submodule that is named.

        Yields:
            nothing
        """
        self._watchers = watchers
        try:
            yield
        finally:
            self._watchers = {}

    def loss(
        self,
        batch: ProbeBatch,
        point: Params,
        *,
        buffers: Buffers = MappingProxyType({}),
        precision: contextlib.AbstractContextManager[Any] | None = None,
    ) -> Tensor:
        """The loss of one batch, with its graph where gradients are enabled."""
        self.isolation.renew(self._flags(batch))
        self.isolation.set_buffers(buffers)
        for name, watcher in self._watchers.items():  # gone with these copies of the module's attributes
            self.isolation.modules[name].register_forward_hook(watcher)
        self.weights.place(point)
        return self.once_more(batch, precision)

    def once_more(self, batch: ProbeBatch, precision: contextlib.AbstractContextManager[Any] | None = None) -> Tensor:
        """The loss of a further batch, with whatever the one before has left in the module."""
        self.meter.forward()
        seed_streams(_SEED + batch.batch_idx)
        return self.replay(batch, precision)

    def loss_alone(self, batch: ProbeBatch, point: Params, buffers: Buffers = MappingProxyType({})) -> Tensor:
        """The loss of one batch without a graph."""
        with self._without_graph():
            return self.loss(batch, point, buffers=buffers).detach()

    def _flags(self, batch: ProbeBatch) -> Mapping[str, bool]:
        return batch.training if self.mode == "as_trained" else dict.fromkeys(batch.training, False)

    def running_statistics(self, batches: Sequence[ProbeBatch], point: Params) -> Buffers:
        """What every trained BatchNorm collects at `point` from the batches, each weighing the same [Izmailov18]_.

        Those of the run belong to other weights, and overstate the loss between two points.

        .. [Izmailov18] Averaging weights leads to wider optima and better generalization, arXiv:1803.05407.
        """
        norms = {name: m for name, m in self.isolation.modules.items() if isinstance(m, _BatchNorm)}
        collecting = {name: m for name, m in norms.items() if m.track_running_stats and batches[0].training.get(name)}
        if not collecting:
            return {}
        self.isolation.renew({name: name in collecting for name in batches[0].training})
        self.weights.place(point)
        for norm in collecting.values():
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean
        with self._without_graph():
            for batch in batches:
                self.once_more(batch)
        return {name: dict(norm._buffers) for name, norm in collecting.items()}

    def check(self, batch: ProbeBatch) -> None:
        """Evaluate twice at the present weights: a surface that gives two values has none to give.

        Raises:
            SurfaceError: if the two values differ in a single bit
        """
        with self.at_other_weights():
            self._look_for_writes(batch)
            try:
                first = self.loss_alone(batch, PRESENT)
            except SurfaceError:
                raise
            except Exception:  # a gradient penalty needs gradients for its value; any other step fails again
                self._without_graph = torch.enable_grad
                first = self.loss_alone(batch, PRESENT)
            second = self.loss_alone(batch, PRESENT)
            if not bool(((first == second) | (first.isnan() & second.isnan())).all()):
                raise SurfaceError(
                    f"[LL307] training_step gives {first.item():.9g}, then {second.item():.9g} for the same weights, "
                    f"batch and random numbers: it depends on {self._suspects()}; give loss_fn or define "
                    "landscape_loss(self, batch)"
                )

    def _look_for_writes(self, batch: ProbeBatch) -> None:
        """Whether the step writes to its own weights (clips them, keeps an average of them)."""
        point = self.weights.far_away()
        with contextlib.suppress(Exception), torch.enable_grad():  # so far away it may fail for good reasons
            self.loss(batch, point)
        self.weights.note_written(point)

    @property
    def writes_after_backward(self) -> bool:
        """Whether a manual step changes its weights after it has taken their gradient."""
        return self.replay.manual and not self.weights.written.isdisjoint(self.weights.trainable)

    def _suspects(self) -> str:
        named = [f"{where} ({kind}), which cannot be copied" for where, kind in self.isolation.uncopied.items()]
        return " or ".join(named) or "something outside the module (a global, a closure)"


def _in_one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
