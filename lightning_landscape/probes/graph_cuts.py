"""Where the path of the gradient to a parameter is cut, although the loss was computed from the parameter."""

from __future__ import annotations

from collections import defaultdict

from lightning_landscape.evidence.wiring import GraphCut, common_module
from lightning_landscape.probes.data_flow import kind, takes_parameter
from lightning_landscape.trace import Operation, ParameterUse, Trace

_WITHOUT_SLOPE = frozenset({"round", "sign", "floor", "ceil", "trunc", "fix"})
"""functions that are constant between jumps, so that the gradient behind them is exactly zero"""
_DETACH = frozenset({"detach", "data"})
"""operations that return the same values without their gradient"""


def reached_share(trace: Trace) -> float:
    """Return the share of the elements that train which the gradient of the loss reaches; 1 if that is not known.

    It is not known where a part of the step could not be recorded, or where the step optimizes manually: it may then
    compute gradients in other ways.
    """
    trained = _trained(trace)
    total = sum(parameter.size for parameter in trained)
    if trace.unseen or trace.manual or trace.loss is None or not total:
        return 1.0
    return sum(parameter.size for parameter in trained if parameter.reached) / total


def graph_cuts(trace: Trace) -> tuple[GraphCut, ...]:
    """Return the operations that keep the gradient from parameters which train, and from which the loss was computed.

    A parameter that the gradient reaches on any path is not cut off.
    """
    unreached = {parameter.name: parameter for parameter in _trained(trace) if not parameter.reached}
    if trace.loss is None or not unreached:
        return ()
    return _Flow(trace, unreached).cuts()


def partial_cuts(trace: Trace) -> tuple[GraphCut, ...]:
    """Return where values are detached before layers that learn, although the gradient reaches their parameters anyway.

    These parameters are trained by another part of the loss only.
    """
    reached = {parameter.name: parameter for parameter in _trained(trace) if parameter.reached}
    if trace.loss is None or not reached or not any(kind(operation) in _DETACH for operation in trace.operations):
        return ()
    cuts = _Flow(trace, reached).cuts()
    return tuple(cut for cut in cuts if cut.feeds_layers and cut.operation.removesuffix("_") in _DETACH)


def _trained(trace: Trace) -> list[ParameterUse]:
    """Return the parameters that require a gradient and that an optimizer holds."""
    return [parameter for parameter in trace.parameters if parameter.trainable and parameter.held]


class _Flow:
    """Follows the values that were computed from some parameters, to where the gradient does not come back to them.

    Args:
        trace: the operations.
        parameters: these parameters by name.
    """

    def __init__(self, trace: Trace, parameters: dict[str, ParameterUse]) -> None:
        self._trace, self._followed = trace, parameters
        self._uncut: dict[int, frozenset[str]] = {
            index: frozenset({value.name})
            for index, value in enumerate(trace.values)
            if value.source == "parameter" and value.name in parameters
        }
        """by value: the parameters from which it was computed without a cut"""
        self._behind: dict[int, frozenset[int]] = defaultdict(frozenset)
        """by value: the operations, by their position, that cut the values from which it was computed"""
        self._unjoined: dict[int, frozenset[int]] = defaultdict(frozenset)
        """the same, without values that were also computed from something else that requires a gradient"""
        self._parameters: dict[int, frozenset[str]] = {}
        """by the position of a cutting operation: the parameters that it cuts off"""

    def cuts(self) -> tuple[GraphCut, ...]:
        """Return the cuts behind which the loss was computed."""
        for position, operation in enumerate(self._trace.operations):
            self._follow(position, operation)
        loss = self._trace.loss
        cut_off: dict[tuple[str, str, str, str, bool], set[str]] = {}
        modules: dict[tuple[str, str, str, str, bool], list[str]] = {}
        for position in sorted(self._behind[loss] if loss is not None else ()):
            operation = self._trace.operations[position]
            name = str(operation.plain.get("exported", operation.name if operation.grad_enabled else "no_grad"))
            before = "" if name == "no_grad" else self._maker_of(operation)
            # Every layer under `torch.no_grad()` is a cut of its own; together they are one.
            key = (name, "" if name == "no_grad" else operation.module, before, *self._user_of(position))
            cut_off.setdefault(key, set()).update(self._parameters[position])
            modules.setdefault(key, []).append(operation.module)
        total = sum(parameter.size for parameter in _trained(self._trace))
        return tuple(
            GraphCut(
                operation=key[0],
                module=common_module(modules[key]),
                parameters=tuple(name for name in self._followed if name in names),
                share=sum(self._followed[name].size for name in names) / max(1, total),
                before=key[2] or common_module(modules[key]),
                after=key[3],
                feeds_layers=key[4],
            )
            for key, names in cut_off.items()
        )

    def _follow(self, position: int, operation: Operation) -> None:
        """Find out what the results of an operation were computed from."""
        arguments = [argument.value for argument in operation.arguments]
        uncut = frozenset[str]().union(*(self._uncut.get(value, frozenset()) for value in arguments))
        behind = frozenset[int]().union(*(self._behind[value] for value in arguments))
        unjoined = frozenset[int]().union(*(self._unjoined[value] for value in arguments))
        with_gradient = [value for value in arguments if self._trace.values[value].requires_grad]
        if uncut and operation.results and self._is_cut(operation):
            self._parameters[position] = uncut
            uncut, behind, unjoined = frozenset(), behind | {position}, unjoined | {position}
        elif self._requires_grad(operation):
            unjoined = frozenset(cut for cut in unjoined if all(cut in self._unjoined[v] for v in with_gradient))
        for result in operation.results:
            if uncut and self._trace.values[result].source == "operation":
                self._uncut[result] = uncut
            self._behind[result] |= behind
            self._unjoined[result] |= unjoined

    def _is_cut(self, operation: Operation) -> bool:
        exported = "exported" in operation.plain
        return exported or kind(operation) in _WITHOUT_SLOPE or not self._requires_grad(operation)

    def _requires_grad(self, operation: Operation) -> bool:
        return any(self._trace.values[result].requires_grad for result in operation.results)

    def _maker_of(self, operation: Operation) -> str:
        """Return the submodule that made the value which the operation cuts."""
        for argument in operation.arguments:
            maker = self._trace.producers.get(argument.value)
            if argument.value in self._uncut and maker is not None:
                return maker.module
        return operation.module

    def _user_of(self, position: int) -> tuple[str, bool]:
        """Return the submodule that uses what is behind a cut, and whether a layer that learns takes it as its input.

        This is the first such layer, or else the first operation that needs a gradient.
        """
        users = [
            operation
            for operation in self._trace.operations[position + 1 :]
            if self._trace.with_gradient(operation)
            and any(position in self._unjoined[argument.value] for argument in operation.arguments)
        ]
        layer = next((user for user in users if self._feeds(user, position)), None)
        user = layer or next(iter(users), None)
        return (user.module if user else ""), layer is not None

    def _feeds(self, user: Operation, position: int) -> bool:
        """Return whether a layer takes what is behind the cut, and nothing but parameters besides that learn."""
        others = [self._trace.values[a.value] for a in user.arguments if position not in self._unjoined[a.value]]
        return takes_parameter(self._trace, user) and all(
            value.source == "parameter" or not value.requires_grad for value in others
        )
