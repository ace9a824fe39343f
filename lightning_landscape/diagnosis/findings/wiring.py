"""Findings about how the parameters, the predictions and the loss of a training step are connected."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_landscape.diagnosis.learning import has_learned, measured_on_fixed_batches
from lightning_landscape.evidence import Cause, Evidence, Finding, Plateau, Wiring
from lightning_landscape.evidence.wiring import OutputRange, UnownedLeaf

UNREACHABLE = 0.05
"""share of the variance of the targets that lies out of the range of the output, from which it explains a plateau: no
prediction can then explain 95% of the variance"""
MANY_OUTSIDE = 0.1
"""share of the target's values outside of the range from which the range is certainly not meant: noise around a bound
does not put a tenth of the targets that far beyond it"""
OUTSIDE = 0.01
"""share of the target's values outside of the range from which it is reported; fewer may be outliers"""
DEAD_LOGITS = 0.1
"""share of the logits that are zero on all samples from which they explain a plateau: with a tenth of the classes never
predicted, a tenth of the samples is lost where the classes are equally frequent"""
NAMED = 3
"""number of tensors that a sentence names"""


def squashed_twice(evidence: Evidence) -> Finding | None:
    """Return that softmax or sigmoid is applied before a loss that applies it too, with the lowest possible loss."""
    wiring = evidence.get(Wiring)
    if wiring is None or not wiring.squashed:
        return None
    harmful = [squash for squash in wiring.squashed if squash.function != "log_softmax"]
    squash = harmful[0] if harmful else wiring.squashed[0]
    where = in_module(squash.module)
    if not harmful:
        return Finding(
            "squashed-twice",
            Cause.FLAT_REGION,
            f"`log_softmax`{where} is applied before `{squash.loss}`, which applies it again; this changes nothing.",
            "use `nll_loss` after `log_softmax`, or give `cross_entropy` the logits.",
            "note",
        )
    if squash.classes:
        floor = f"with {squash.classes} classes the loss of a sample cannot fall below {squash.floor:.2f}"
        reading = "logits.softmax(-1)"
    else:
        floor = f"the loss of a positive sample cannot fall below {squash.floor:.2f}, and that of a negative below 0.69"
        reading = "logits.sigmoid()"
    applied = f"`{squash.function}`{where} is applied before `{squash.loss}`, which expects logits of any size."
    if not squash.function:
        applied = (
            f"`{squash.loss}`{where} expects logits of any size, but gets numbers that are not below 0 and add up to 1 "
            "for each sample: something before it makes probabilities of them, as softmax does."
        )
    return Finding(
        "squashed-twice",
        Cause.FLAT_REGION,
        f"{applied} They now lie between 0 and 1, so {floor}.",
        f"remove this {squash.function or 'step'}, and give the loss the logits themselves: "
        f"`loss = F.{_public(squash.loss)}(logits, target)`. Use `{reading}` only where you read probabilities.",
        "certain",
    )


def softmax_of_one(evidence: Evidence) -> Finding | None:
    """Return that a softmax over a single value gets into the loss, so that the prediction never changes."""
    wiring = evidence.get(Wiring)
    if wiring is None or not wiring.softmax_of_one:
        return None
    found = wiring.softmax_of_one[0]
    shape = _shape(found.shape)
    if found.function == "cross_entropy":
        what = f"`cross_entropy` gets logits of shape {shape}, which are the logits of a single class: its value is 0"
        advice = (
            "for two classes with one logit, use `F.binary_cross_entropy_with_logits(logit, target.float())`; for a "
        )
        advice += "number, use `F.mse_loss(prediction, target)`."
    else:
        what = f"`{found.function}`{in_module(found.module)} normalises dimension {found.dim} of a tensor of shape "
        what += f"{shape}, which has size 1: its result is {'0' if found.function == 'log_softmax' else '1'}"
        advice = "for two classes with one output, use `sigmoid` or, without it, "
        advice += (
            "`F.binary_cross_entropy_with_logits(logit, target)`; else normalise another dimension, `softmax(dim=...)`."
        )
    return Finding(
        "softmax-of-one",
        Cause.FLAT_REGION,
        f"{what} for any input, so that its gradient is zero.",
        advice,
        "certain" if found.only_loss else "evidence" if stuck_from_the_start(evidence) else "note",
    )


def unowned_parameters(evidence: Evidence) -> Finding | None:
    """Return that the loss gives gradients to tensors that neither the module nor an optimizer holds."""
    wiring = evidence.get(Wiring)
    if wiring is None or not wiring.unowned:
        return None
    forgotten = [leaf for leaf in wiring.unowned if not leaf.may_be_meant]
    leaves = forgotten or list(wiring.unowned)
    places = _listed([f"`{leaf.place}`" for leaf in leaves if leaf.place])
    if len(leaves) == 1:
        which, they = "a tensor", "It never changes"
        held = f": {places}" if places else f" of shape {_shape(leaves[0].shape)}"
    else:
        which, they = f"{len(leaves)} tensors", "They never change"
        held = f": {places}" if places else f", the first of shape {_shape(leaves[0].shape)}"
    made = any(leaf.made_in_step for leaf in leaves)
    if made:
        they = "It is" if len(leaves) == 1 else "They are"
        they += " made anew in each step" + (", and what is learned is lost" if forgotten else "")
    return Finding(
        "unowned-parameters",
        Cause.NOT_UPDATING,
        f"The loss has a gradient for {which} that neither the module nor an optimizer holds{held}. {they}.",
        _registration(leaves[0]),
        "certain" if forgotten else "note",
    )


def _registration(leaf: UnownedLeaf) -> str:
    """Return how to register a tensor as a parameter of the module."""
    held, name = leaf.container, leaf.container.rpartition(".")[2]
    is_layer = leaf.place.count(".") > leaf.container.count(".")
    if leaf.made_in_step and not leaf.container:
        return "make the layer once, in `__init__`: `self.layer = nn.Linear(...)`."
    if leaf.container_kind == "list":
        return f"`{held} = nn.{'ModuleList' if is_layer else 'ParameterList'}({held})` registers them."
    if leaf.container_kind == "dict":
        return f"`{held} = nn.{'ModuleDict' if is_layer else 'ParameterDict'}({held})` registers them."
    if leaf.container_kind == "tensor":
        owner = held.rpartition(".")[0]
        return f"`{owner}.{name} = nn.Parameter(...)`, or `{owner}.register_parameter({name!r}, ...)`, registers it."
    return "make the layers attributes of the module: `self.layer = nn.Linear(...)`."


def broadcast(evidence: Evidence) -> Finding | None:
    """Return that prediction and target have other shapes, so that each prediction is compared with all targets."""
    wiring = evidence.get(Wiring)
    if wiring is None or not wiring.broadcasts:
        return None
    found = wiring.broadcasts[0]
    function = "The difference" if found.function == "sub" else f"`{found.function}`"
    return Finding(
        "broadcast",
        Cause.NOTHING_TO_LEARN,
        f"{function}{in_module(found.module)} compares a prediction of shape {_shape(found.prediction)} with a target "
        f"of shape {_shape(found.target)}, and broadcasts both to {_shape(found.result)}: each prediction is compared "
        "with all targets, so that one and the same number is the best prediction for every input.",
        "give both the same shape: `target = target.view_as(prediction)`.",
        "certain",
    )


def output_range(evidence: Evidence) -> Finding | None:
    """Return that a part of the targets lies outside of the range of the function that makes the predictions."""
    wiring = evidence.get(Wiring)
    ranges = [found for found in wiring.ranges if found.outside >= OUTSIDE] if wiring is not None else []
    if not ranges:
        return None
    found = max(ranges, key=lambda found: found.unreachable)
    best = f" The loss cannot fall below {found.best_loss:.3g}." if found.best_loss else ""
    matters, stalled = found.loss != "sub" and found.unreachable >= UNREACHABLE, evidence.get(Plateau) is not None
    targets = f"between {found.lowest_target:.3g} and {found.highest_target:.3g}"
    return Finding(
        "output-range",
        Cause.FLAT_REGION,
        f"The prediction comes from `{found.function}`{in_module(found.module)}, whose values lie {_range(found)}, "
        f"but the targets lie {targets}: {found.outside:.0%} of them are out of its reach.{best}",
        f"remove `{found.function}` after the last layer, or scale the targets into its range: "
        "`target = (target - low) / (high - low)`.",
        "certain" if matters and found.outside >= MANY_OUTSIDE else "evidence" if matters and stalled else "note",
    )


def _range(found: OutputRange) -> str:
    if found.low is None:
        return f"at or below {found.high:g}"
    return f"at or above {found.low:g}" if found.high is None else f"between {found.low:g} and {found.high:g}"


def rectified_logits(evidence: Evidence) -> Finding | None:
    """Return that a rectifier stands directly before a cross-entropy, so that no logit can be negative."""
    wiring = evidence.get(Wiring)
    if wiring is None or not wiring.rectified:
        return None
    found = max(wiring.rectified, key=lambda logits: logits.dead)
    dead = f" {found.dead:.0%} of the logits are zero on all samples: these are dead." if found.dead else ""
    on_plateau = evidence.get(Plateau) is not None
    explains = (found.dead >= DEAD_LOGITS and on_plateau) or stuck_from_the_start(evidence)
    return Finding(
        "rectified-logits",
        Cause.FLAT_REGION,
        f"`{found.function}`{in_module(found.module)} is applied directly before `{found.loss}`: logits cannot be "
        f"negative, and one that would be has no gradient.{dead}",
        f"remove the `{found.function}` after the last layer: `loss = F.{found.loss}(last_layer(hidden), target)`.",
        "evidence" if explains else "note",
    )


def stuck_from_the_start(evidence: Evidence) -> bool:
    """Return whether the loss stands still, and nothing was learned before."""
    return evidence.get(Plateau) is not None and measured_on_fixed_batches(evidence) and not has_learned(evidence)


def _public(loss: str) -> str:
    return "cross_entropy" if loss == "log_softmax" else loss


def module_in_code(name: str) -> str:
    """Return a submodule as Python code; "training_step" for the module itself."""
    if not name:
        return "`training_step`"
    return "`self" + "".join(f"[{part}]" if part.isdecimal() else f".{part}" for part in name.split(".")) + "`"


def in_module(name: str) -> str:
    """Return where an operation is called; `forward` and other methods of the module itself are not told apart."""
    return f" in {module_in_code(name)}" if name else " in `training_step` (or a method that it calls)"


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _listed(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    if len(names) <= NAMED + 1:
        return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""
    return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
