"""Evaluate the training step of one batch, and find what made the first value of it that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.evidence import NotFinite
from lightning_landscape.module_surface.batches import ProbeBatch
from lightning_landscape.module_surface.call_sites import NOWHERE, CallSite, operation_name
from lightning_landscape.module_surface.entries import children
from lightning_landscape.module_surface.gradient_trace import NodeRun, first_node_not_finite, nodes_of
from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.module_surface.value_trace import Call, ValueTrace, is_finite
from lightning_landscape.observations import StepEvaluation
from lightning_landscape.surface import Params


def step_evaluations_of(*losses: MeanLoss) -> tuple[Callable[[Params], StepEvaluation], ...]:
    """Return a function for each batch of these losses, which evaluates the training step on it at a point.

    With several ranks, each has its own batches. A value that is not finite on one of them is then looked for on all,
    and the first rank that finds it decides.
    """
    return tuple(
        partial(_evaluate_step, MeanLoss(measured.evaluator, (batch,), measured.ddp), batch)
        for measured in losses
        for batch in measured.batches
    )


def _evaluate_step(measured: MeanLoss, batch: ProbeBatch, point: Params) -> StepEvaluation:
    with torch.autograd.set_detect_anomaly(False):  # it would raise an error for the gradient that is looked for
        without_gradient = measured.evaluator.writes_after_backward
        loss, gradient = (measured.value(point), ()) if without_gradient else measured.value_and_gradient(point)
        if is_finite(loss) and all(map(is_finite, gradient)):
            return StepEvaluation(gradient, finite=True)
        ranks = measured.evaluator.ranks
        with measured.evaluator.temporary_weights(), torch.enable_grad():
            found = _first_not_finite(measured, batch, point)
        return StepEvaluation(gradient, finite=False, first=next(filter(None, ranks.all(found)), None))


def _first_not_finite(measured: MeanLoss, batch: ProbeBatch, point: Params) -> NotFinite | None:
    """Return what made the first value that is not finite in the loss, or else in its gradient."""
    evaluator = measured.evaluator
    names = {id(module): name for name, module in evaluator.isolation.modules.items()}
    trace = ValueTrace(names, entries_of(batch.batch, "batch"))
    loss = evaluator.loss(batch, point, precision=trace)
    if not is_finite(loss):
        origin = trace.origin(loss)
        return None if origin is None else _in_loss(origin)
    trainable = [p for name, p in evaluator.weights.trainable.items() if name in point or not point]
    if not loss.requires_grad or any(node.name() == "CheckpointFunctionBackward" for node in nodes_of(loss)):
        return None
    evaluator.meter.backward()
    run = first_node_not_finite(loss, trainable)
    return None if run is None else _in_gradient(run, trace.sites.get(run.node, NOWHERE))


def _in_loss(origin: Call) -> NotFinite:
    output = origin.outputs[0]
    return NotFinite(
        where="batch" if origin.kind == "batch" else "forward",
        operation=origin.operation,
        **origin.site._asdict(),
        after=origin.after,
        written=origin.written,
        dtype=_dtype(output),
        outcome=_outcome(output),
        inputs=origin.inputs,
        entries=origin.entries,
        largest=origin.largest,
    )


def _in_gradient(run: NodeRun, site: CallSite) -> NotFinite:
    return NotFinite(
        where="backward",
        operation=operation_name(run.node.name()),
        **site._asdict(),
        dtype=_dtype(run.outcome),
        outcome=_outcome(run.outcome),
        inputs=run.inputs,
        largest=run.largest,
    )


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _outcome(tensor: Tensor) -> str:
    """Return "nan" if a value is NaN, else "inf" or "-inf"."""
    values = tensor.detach()
    if bool(values.isnan().any()):
        return "nan"
    return "inf" if values.is_complex() or float(values.max()) == math.inf else "-inf"


def entries_of(value: Any, name: str) -> Mapping[str, Tensor]:
    """Return the tensors in a batch by their names, such as "batch[0]" and "batch['image']".

    >>> list(entries_of({"x": torch.ones(1), "more": (torch.ones(2), 3)}, "batch"))
    ["batch['x']", "batch['more'][0]"]
    """
    if isinstance(value, Tensor):
        return {name: value}
    return {
        found: tensor
        for key, item in children(value).items()
        for found, tensor in entries_of(item, f"{name}[{key!r}]").items()
    }
