"""Record the outputs of a module's activation functions during one evaluation, be they layers or torch functions."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.module_surface.operations import Followed, Operation, followed_operations
from lightning_landscape.observations import BOUNDS, RECTIFIERS, Activation
from lightning_landscape.surface import Params

FUNCTIONS = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "threshold": "Threshold",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "hardtanh": "Hardtanh",
    "hardsigmoid": "Hardsigmoid",
    "softsign": "Softsign",
}
"""the layer that does what a torch function of this name does"""
MAX_FUNCTIONS = 256
"""largest number of calls of torch functions to record, since a loop over time steps may make thousands"""


def watch_activations(measured: MeanLoss, point: Params, max_values: int = 2**20) -> dict[str, Activation]:
    """Return the outputs of each activation function during one evaluation of the loss, by name.

    A layer has the name of its submodule. A torch function such as ``torch.relu`` is named after the module in whose
    forward it is called: "relu of net", or "relu 2 of net" if it is called several times there. It is recorded if a
    layer with weights receives its output. If the loss does, it is recorded in modules with weights only, since a
    hinge loss calls ``relu`` as well.

    Args:
        measured: the loss that is evaluated.
        point: the weights at which it is evaluated.
        max_values: largest number of values to keep of each call; the first samples are kept.
    """
    modules = measured.evaluator.isolation.modules
    kinds = {name: type(layer).__name__ for name, layer in modules.items()}
    watched = [name for name, kind in kinds.items() if kind in RECTIFIERS or kind in BOUNDS]
    outputs: dict[str, list[Tensor]] = {}
    functions = _Functions(modules, set(watched), max_values)
    hooks = {name: partial(_keep, outputs, name, max_values) for name in watched}
    with followed_operations(measured.evaluator, functions.watch, functions.finish, hooks):
        measured.value(point)
    layers = {name: Activation(kinds[name], torch.cat(_of_first_width(calls))) for name, calls in outputs.items()}
    return layers | functions.activations()


class _Functions:
    """The outputs of activation functions that are no layers."""

    def __init__(self, modules: dict[str, nn.Module], layers: set[str], max_values: int) -> None:
        self._with_weights = {name for name, module in modules.items() if any(True for _ in module.parameters())}
        self._layers, self._max_values = layers, max_values
        self._pending: dict[int, tuple[tuple[str, str, int], str | None, Activation]] = {}
        self._calls: dict[tuple[str, str, int], list[Activation]] = {}

    def watch(self, operation: Operation) -> None:
        """Keep the output of an activation function."""
        kind = _kind(operation)
        if kind is None or operation.module in self._layers or len(self._pending) >= MAX_FUNCTIONS:
            return
        rows = _rows(operation.output, self._max_values)
        if rows is not None:
            call = operation.name.rstrip("_"), operation.place, operation.number
            self._pending[operation.index] = call, operation.module, Activation(kind, rows)

    def finish(self, followed: Followed) -> None:
        """Add what the evaluation has shown: only now it is known where each output went."""
        for index, (call, module, activation) in self._pending.items():
            before_loss = index in followed.fed_the_loss and module in self._with_weights
            if index in followed.fed_a_layer or before_loss:
                self._calls.setdefault(call, []).append(activation)
        self._pending.clear()

    def activations(self) -> dict[str, Activation]:
        """Return the outputs of all evaluations by name."""
        times = Counter((name, place) for name, place, _ in self._calls)
        seen: Counter[tuple[str, str]] = Counter()
        named = {}
        for (name, place, _), calls in self._calls.items():
            seen[name, place] += 1
            number = f" {seen[name, place]}" if times[name, place] > 1 else ""
            values = torch.cat(_of_first_width([call.values for call in calls]))
            named[f"{name}{number} of {place}"] = Activation(calls[0].kind, values)
        return named


def _kind(operation: Operation) -> str | None:
    """Return the class of the layer that does what this operation does; None if it is no activation function."""
    name = operation.name.rstrip("_")
    if name in ("clamp", "clip", "clamp_min"):
        lowest, highest = operation.argument(1, "min"), operation.argument(2, "max")
        return "ReLU" if isinstance(lowest, (int, float)) and lowest == 0 and highest is None else None
    return FUNCTIONS.get(name)


def _keep(
    outputs: dict[str, list[Tensor]], name: str, max_values: int, layer: nn.Module, inputs: Any, output: Any
) -> None:
    rows = _rows(output, max_values)
    if rows is not None:
        outputs.setdefault(name, []).append(rows)


def _rows(output: Any, max_values: int) -> Tensor | None:
    """Return a copy of an output with a row for each of the first samples; None if it has no dimension or no value.

    All other dimensions are units, so that a channel counts once per position.
    """
    if not isinstance(output, Tensor) or output.ndim < 1 or not output.numel():
        return None
    rows = output.detach().reshape(len(output), -1) if output.ndim > 1 else output.detach().reshape(1, -1)
    return rows[: max(1, max_values // max(1, rows.shape[1]))].clone()


def _of_first_width(calls: list[Tensor]) -> list[Tensor]:
    """Return the calls with as many units as the first one; sequences of varying length give varying widths."""
    return [rows for rows in calls if rows.shape[1] == calls[0].shape[1]]
