"""Findings on operations that keep the gradient of the loss, or of a part of it, from parameters that are to train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lightning_landscape.diagnosis.findings.parts import IN_A_LOOP, names, percent
from lightning_landscape.diagnosis.findings.wiring import in_module, module_in_code, stuck_from_the_start
from lightning_landscape.diagnosis.proof import stopped_without
from lightning_landscape.evidence import Cause, Evidence, Finding, GradientScale, Wiring
from lightning_landscape.evidence.wiring import GraphCut, common_module

DETACHING = ("detach", "detach_", "data")
"""operations that return the same values without their gradient"""
CUT_OFF = 0.1
"""share of the elements that train from which a cut explains that nothing is learned"""
NEXT_TO_NOTHING = 1e-3
"""share of the whole gradient up to which the rest of it, that comes by another way around a cut, trains nothing"""


def graph_cut(evidence: Evidence) -> Finding | None:
    """Return which operation keeps the gradient from parameters that the optimizer holds, and between which modules."""
    wiring = evidence.get(Wiring)
    if wiring is None or (not wiring.cuts and wiring.reached > 0):
        return None
    cut = _largest(wiring.cuts)
    if wiring.reached == 0:
        where = f" {_place_of(cut)} cuts the path." if cut else ""
        sentence = f"The gradient of the loss reaches none of the parameters that the optimizer holds.{where}"
        return Finding("graph-cut", Cause.NOT_UPDATING, sentence, _mending(cut), "certain")
    if cut is None:
        return None
    explains = cut.feeds_layers and cut.share >= CUT_OFF and stuck_from_the_start(evidence)
    explains = explains or (cut.feeds_layers and cut.operation != "no_grad" and stopped_without(evidence))
    return Finding(
        "graph-cut",
        Cause.NOT_UPDATING,
        f"The gradient of the loss does not reach {_parameters(cut)}, which the optimizer holds ({percent(cut.share)} "
        f"of what it trains): {_place_of(cut)} cuts the path{f' {IN_A_LOOP}' if _in_a_loop(cut) else ''}.",
        _mending(cut),
        "evidence" if explains else "note",
    )


def detached_from_a_part(evidence: Evidence) -> Finding | None:
    """Return `graph-cut` if a `detach` keeps a part of the loss from parameters that get next to nothing of the rest.

    In a VAE, for example, the KL divergence still reaches an encoder whose codes are detached before the decoder. Heads
    on detached features are usual: the features then get a gradient of their own.
    """
    wiring, gradient = evidence.get(Wiring), evidence.get(GradientScale)
    if wiring is None or gradient is None or not stuck_from_the_start(evidence):
        return None
    cut = _largest([cut for cut in wiring.partial_cuts if cut.feeds_layers])
    if cut is None or cut.share < CUT_OFF:
        return None
    norms = [norm for group, norm in gradient.groups.items() if any(_is_in(group, name) for name in cut.parameters)]
    if not norms or max(norms) > NEXT_TO_NOTHING * gradient.norm:
        return None
    return Finding(
        "graph-cut",
        Cause.NOT_UPDATING,
        f"A part of the loss does not reach {_parameters(cut)} ({percent(cut.share)} of what the optimizer trains): "
        f"{_place_of(cut)} cuts the path. The rest of the loss gives them a gradient of {max(norms):.2g}, beside "
        f"{gradient.norm:.2g} for the whole model.",
        _mending(cut),
    )


def _largest(cuts: Sequence[GraphCut]) -> GraphCut | None:
    """Return the cut that matters most, together with its like at the same place; None where there is none."""
    largest = max(cuts, key=lambda cut: (cut.feeds_layers, cut.share), default=None)
    if largest is None:
        return None
    alike = [cut for cut in cuts if _kind_of(cut) == _kind_of(largest)]
    return replace(
        largest,
        parameters=tuple(dict.fromkeys(name for cut in alike for name in cut.parameters)),
        share=min(1.0, sum(cut.share for cut in alike)),
        before=common_module({cut.before for cut in alike}),
    )


def _kind_of(cut: GraphCut) -> tuple[str, str, str, bool]:
    return cut.operation, cut.module, cut.after, cut.feeds_layers


def _parameters(cut: GraphCut) -> str:
    """Return the parameters behind a cut: the name of a single one, or else their number and their modules."""
    if len(cut.parameters) == 1:
        return f"`{cut.parameters[0]}`"
    return f"{len(cut.parameters)} parameters of {names(_owner(name) for name in cut.parameters)}"


def _owner(parameter: str) -> str:
    return parameter.rpartition(".")[0] or parameter


def _is_in(group: str, parameter: str) -> bool:
    return parameter == group or parameter.startswith(f"{group}.")


def _in_a_loop(cut: GraphCut) -> bool:
    """Return whether a module takes its own detached output, as in a loop over time, and nothing else reaches it."""
    return cut.operation in DETACHING and cut.before == cut.after != "" and cut.feeds_layers


def _place_of(cut: GraphCut) -> str:
    if cut.operation == "no_grad":
        output = f", whose output goes to {module_in_code(cut.after)}," if cut.after and cut.after != cut.module else ""
        return f"`torch.no_grad()` around {module_in_code(cut.module)}{output}"
    operation = f"`{cut.operation}`"
    if cut.before == cut.after == cut.module or not cut.after:
        return f"{operation}{in_module(cut.module)}"
    return f"{operation}{in_module(cut.module)}, between {module_in_code(cut.before)} and {module_in_code(cut.after)},"


def _mending(cut: GraphCut | None) -> str:
    if cut is None:
        return "compute the loss from the output of the model by functions of torch, without `.item()` or `.detach()`."
    if cut.operation == "no_grad":
        return (
            "call these layers outside of `torch.no_grad()`; if they are not meant to be trained, say so with "
            "`module.requires_grad_(False)`."
        )
    if cut.operation in (*DETACHING, "item", "tolist", "numpy"):
        return (
            f"remove this `{cut.operation}`: compute the loss from the output of the layers itself, `loss = "
            "loss_function(output, target)`."
        )
    return (
        f"use a function with a slope in place of `{cut.operation}`, such as `softmax` or `F.gumbel_softmax(logits, "
        "hard=True)`, or pass the gradient around it: `x + (rounded - x).detach()`."
    )
