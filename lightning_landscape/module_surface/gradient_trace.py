"""Find the node of a graph that first makes a gradient that is not finite, from gradients that are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.module_surface.value_trace import is_finite, largest_of

_SAVED = ("self", "result", "other", "x1", "input")
"""what nodes keep for the backward pass, what tells most about a gradient that is not finite first"""


@dataclass
class NodeRun:
    """One node of the backward pass that gave a gradient that is not finite."""

    node: Any
    fed_finite: bool
    """whether the gradients that it was given are finite"""
    edges: tuple[int, ...]
    """the edges into which it sent gradients that are not finite"""
    outcome: Tensor
    """the first of these gradients"""
    inputs: tuple[float, ...] = ()
    """what the operation had been given, at the first place where the gradient is not finite"""
    largest: float = 0.0
    """largest absolute value of the finite gradients that it was given"""


def first_node_not_finite(loss: Tensor, parameters: Sequence[nn.Parameter]) -> NodeRun | None:
    """Return the first node that makes a gradient of a parameter not finite; None where there is none.

    A gradient that is not finite and reaches no parameter does no harm.
    """
    runs: dict[Any, NodeRun] = {}
    handles = [node.register_hook(partial(_note, runs, node)) for node in nodes_of(loss)]
    try:
        torch.autograd.grad(loss, list(parameters), retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    leaves = {id(parameter) for parameter in parameters}
    return next((run for run in runs.values() if run.fed_finite and _reaches(run, runs, leaves)), None)


def nodes_of(loss: Tensor) -> Iterator[Any]:
    """Yield the nodes of the graph of this loss, each once."""
    seen: set[Any] = set()
    pending: list[Any] = [loss.grad_fn]
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            pending.extend(following for following, _ in node.next_functions)


def _note(runs: dict[Any, NodeRun], node: Any, given: Sequence[Tensor | None], got: Sequence[Tensor | None]) -> None:
    """Enter a node that has run, if it gave (`given`) a gradient that is not finite; `got` are those it received."""
    edges = tuple(i for i, gradient in enumerate(given) if gradient is not None and not is_finite(gradient))
    if edges:
        received = [gradient for gradient in got if gradient is not None]
        outcome = given[edges[0]]
        assert outcome is not None
        run = NodeRun(node, all(map(is_finite, received)), edges, outcome.detach())
        if run.fed_finite:
            run.inputs, run.largest = _saved_at_failure(node, outcome), largest_of(received)
        runs[node] = run


def _reaches(run: NodeRun, runs: dict[Any, NodeRun], leaves: set[int]) -> bool:
    """Return whether the values that are not finite go on from this node to the gradient of a parameter."""
    pending, seen = [run], set[int]()
    while pending:
        at = pending.pop()
        seen.add(id(at))
        for edge in at.edges:
            following = at.node.next_functions[edge][0]
            if id(getattr(following, "variable", None)) in leaves:
                return True
            after = runs.get(following)
            if after is not None and id(after) not in seen:
                pending.append(after)
    return False


@torch.no_grad()
def _saved_at_failure(node: Any, gradient: Tensor) -> tuple[float, ...]:
    """Return what the operation had been given at the first place where its gradient is not finite.

    It is read from what the node keeps for the backward pass; empty where the node keeps nothing of that shape.
    """
    place = int((~gradient.detach().isfinite()).reshape(-1).nonzero()[0])
    for name in _SAVED:
        saved: Callable[[], Any] | Any = getattr(node, f"_saved_{name}", None)
        if isinstance(saved, Tensor):
            try:
                value = float(saved.detach().expand(gradient.shape).reshape(-1)[place])
            except (RuntimeError, TypeError):
                continue
            return (value,) if math.isfinite(value) else ()
    return ()
