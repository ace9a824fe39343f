"""Trace one evaluation of the training step: its operations, and which parameters the gradient of its loss reaches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.weak import TensorWeakRef

from lightning_landscape.errors import OverBudgetError, SurfaceError
from lightning_landscape.module_surface.batches import ProbeBatch
from lightning_landscape.module_surface.entries import tensors
from lightning_landscape.module_surface.evaluator import PRESENT_WEIGHTS
from lightning_landscape.module_surface.isolation import Isolation
from lightning_landscape.module_surface.leaves import Place, at_place, held_ids, places_of
from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.module_surface.operation_recorder import OperationRecorder, function_of, is_custom
from lightning_landscape.trace import ForeignLeaf, ParameterUse, Trace

_WITHOUT_SLOPE = ("Round", "Sign", "Floor", "Ceil", "Trunc")
"""names of the graph's nodes of functions that are constant between jumps: the gradient behind them is exactly zero"""


@dataclass(frozen=True)
class _WatchedBatch(ProbeBatch):
    """A batch that passes each of its copies to `on_copy`."""

    on_copy: Callable[[Any], None] = field(kw_only=True)

    def copy(self) -> Any:
        """Return a copy of the batch for one evaluation."""
        copied = super().copy()
        self.on_copy(copied)
        return copied


def trace_step(measured: MeanLoss, optimizers: Sequence[Optimizer]) -> Trace:
    """Return the trace of one evaluation of the first batch at the present weights.

    Where the training step fails while it is recorded, the trace has no operations and says so in `Trace.unseen`.

    Args:
        measured: the loss, of which one batch is evaluated.
        optimizers: the optimizers of the run.

    Raises:
        OutOfMemoryError: if the device runs out of memory
        MemoryError: if the host runs out of memory
        OverBudgetError: if the meter's limit is reached
        SurfaceError: if there is no loss
    """
    evaluator = measured.evaluator
    with evaluator.temporary_weights(), torch.enable_grad():
        try:
            return _traced(measured, optimizers)
        except (OverBudgetError, SurfaceError, torch.OutOfMemoryError, MemoryError):
            raise
        except Exception as error:
            why = f"training_step, which raised {type(error).__name__} while its operations were recorded"
            return Trace((), (), None, float("nan"), unseen=(why,))


def _traced(measured: MeanLoss, optimizers: Sequence[Optimizer]) -> Trace:
    evaluator = measured.evaluator
    isolation, batch = evaluator.isolation, measured.batches[0]
    parameters = evaluator.weights.parameters
    recorder = OperationRecorder(parameters, isolation.modules)
    copied = {entry.name: getattr(batch, entry.name) for entry in fields(ProbeBatch)}
    watched = _WatchedBatch(**copied, on_copy=recorder.begin)
    buffers = evaluator.running_statistics((batch,), PRESENT_WEIGHTS)
    with recorder.recording():
        loss = evaluator.loss(watched, PRESENT_WEIGHTS, buffers=buffers)
    loss_index, loss_value = recorder.index_of(loss), float(loss.detach())
    held = held_ids(optimizers, isolation)
    leaves, functions = _graph(loss)
    own = {id(parameter) for parameter in parameters.values()}
    foreign = sorted((leaf for leaf in leaves if id(leaf) not in own), key=recorder.index_of)  # in the order of use
    described = [_described(leaf, recorder, batch) for leaf in foreign]
    places = places_of(foreign, isolation) if foreign else {}
    found = [places.get(id(leaf)) for leaf in foreign]
    held_leaves = [id(_in_run(leaf, place, isolation)) in held for leaf, place in zip(foreign, found, strict=True)]
    references = [TensorWeakRef(leaf) for leaf in foreign]
    reached = {id(leaf) for leaf in leaves}
    del loss, leaves, foreign  # whatever was made in the step is deleted now
    return Trace(
        values=tuple(recorder.values),
        operations=tuple(recorder.operations),
        loss=loss_index if recorder.values[loss_index].source == "operation" else None,
        loss_value=loss_value,
        parameters=tuple(
            ParameterUse(name, p.numel(), p.requires_grad, id(p) in held, id(p) in reached)
            for name, p in parameters.items()
            if not nn.parameter.is_lazy(p)
        ),
        foreign_leaves=tuple(
            replace(
                leaf,
                place=str(place or ""),
                container=place.container if place else "",
                container_kind=place.container_kind if place else "",
                held=is_held,
                made_in_step=reference() is None,
                of_evaluated_module=place is not None and not place.training,
            )
            for leaf, place, is_held, reference in zip(described, found, held_leaves, references, strict=True)
        ),
        samples=batch.samples,
        manual=evaluator.training_step.manual,
        maximize=_maximize(optimizers),
        unseen=(*recorder.unseen, *functions),
    )


def _maximize(optimizers: Sequence[Optimizer]) -> bool | None:
    settings = {bool(group.get("maximize")) for optimizer in optimizers for group in optimizer.param_groups}
    return None if len(settings) > 1 else settings == {True}


def _described(leaf: Tensor, recorder: OperationRecorder, batch: ProbeBatch) -> ForeignLeaf:
    shape, is_parameter = tuple(leaf.shape), isinstance(leaf, nn.Parameter)
    has_shape_of_entry = shape in {tuple(entry.shape) for entry in tensors(batch.batch)}
    # The weights of a layer that is made in the step are results of operations too: those that initialise them.
    return ForeignLeaf(
        shape, is_parameter, is_input=has_shape_of_entry or (not is_parameter and recorder.made_in_step(leaf))
    )


def _in_run(leaf: Tensor, place: Place | None, isolation: Isolation) -> Any:
    """Return the tensor of the run of which `leaf`, at this place, is the copy; the leaf itself if it is no copy."""
    return leaf if place is None else at_place(place, isolation.attributes_in_run(place.submodule))


def _graph(loss: Tensor) -> tuple[list[Tensor], list[str]]:
    """Return the leaves to which the gradient of the loss flows, and the custom functions in its graph, in words.

    Only the structure of the graph is read. To read the tensors that its nodes have saved would recompute checkpointed
    activations.
    """
    if loss.grad_fn is None:
        return [loss] if loss.requires_grad else [], []
    leaves: list[Tensor] = []
    functions: dict[str, None] = {}
    seen: set[Any] = set()
    pending: list[Any] = [loss.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = function_of(node)
        if name == "AccumulateGrad":
            leaves.append(node.variable)
        elif is_custom(node) or name not in _WITHOUT_SLOPE:
            if is_custom(node):
                functions[_in_words(name)] = None
            pending.extend(following for following, _ in node.next_functions)
    return leaves, list(functions)


def _in_words(name: str) -> str:
    if name == "CheckpointFunction":
        return "activation checkpointing with `use_reentrant=True`"
    return f"the autograd function `{name}`"
