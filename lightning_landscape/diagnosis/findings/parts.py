"""Finders for parts of the model that training does not change although they are meant to be trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lightning_landscape.diagnosis.findings.schedule import rate_of_zero
from lightning_landscape.diagnosis.learning import gains_nothing, has_fallen, has_learned, is_far_above_zero, on_plateau
from lightning_landscape.diagnosis.proof import proven
from lightning_landscape.diagnosis.thresholds import GAIN_CLEAR, GAIN_LARGE, PARAMETERS_UNREACHED
from lightning_landscape.evidence import (
    Cause,
    Evidence,
    Finding,
    HeldTensors,
    OptimizerGroup,
    Part,
    Parts,
    Schedule,
    Trials,
    Wiring,
)

HALF_OF_THE_MODEL = 0.5
"""Above this share of parameters that have never moved, most of the model is still as it was initialised. This can also
be the reason why a loss that has fallen stops far above 0."""
UNTRAINED = "The loss gives them a gradient, but they stay as they are"
"""a sentence in the finding that a large part of the model is in no optimizer; it is printed in the first steps and at
the end of a run without an alarm"""
NOT_TRAINED = "Most of the model is not trained"
"""follows the sentence on parts without a gradient that are most of the model, which is printed then as well"""
IN_A_LOOP = "at every step of a loop, so they are never trained"
"""ends the sentence on a module whose own output comes back to it without a gradient, which is printed then as well"""
HALF_OF_THE_RUN = 0.5
"""A schedule that is going to raise a learning rate of 0 does so before this share of the run."""


def stale_optimizer(evidence: Evidence) -> Finding | None:
    """Return `stale-optimizer` if the optimizer holds tensors that the module has replaced by others."""
    held = evidence.get(HeldTensors)
    if held is None or not held.replaced:
        return None
    return Finding(
        "stale-optimizer",
        Cause.NOT_UPDATING,
        f"The optimizer holds {_count(held.outside, 'tensor')} ({percent(held.outside_share)} of its elements) that "
        f"the module does not have. It does not hold the parameters of {names(held.replaced)}, which have taken their "
        "place. Layers were replaced after the optimizer was made, or it was made of a copy of the module.",
        "replace or copy layers before the optimizer is made, so that `configure_optimizers` returns "
        "`torch.optim.Adam(self.parameters())` with the layers that are trained.",
        "certain",
    )


def unheld_parameters(evidence: Evidence) -> Finding | None:
    """Return `unheld-parameters` if no optimizer holds some trainable parameters.

    Target networks and teachers are not held by design, and get no gradient. It explains a plateau only if nothing was
    learned, be it that the loss has not fallen or that it stands where a constant prediction does, and if the run's own
    optimizer cannot lower it with the parameters that it holds, or not half as much as Adam does with all of them.
    """
    held = evidence.get(HeldTensors)
    if held is None or held.replaced or not held.unheld:
        return None
    if held.unfrozen:
        return Finding(
            "unheld-parameters",
            Cause.NOT_UPDATING,
            f"{names(held.unfrozen)} was frozen at the start and gets a gradient now, but no optimizer holds it, so it "
            "is not trained.",
            "give it to the optimizer where it is unfrozen: `optimizer.add_param_group({'params': ..., 'lr': ...})`, "
            "as Lightning's `BaseFinetuning.unfreeze_and_add_param_group` does; or pass all parameters to the "
            "optimizer in `configure_optimizers`, also those that are still frozen.",
            "certain",
        )
    large = held.unheld_with_gradient > PARAMETERS_UNREACHED
    nothing_learned = not has_fallen(evidence) or not has_learned(evidence)
    held_back = gains_nothing(evidence) or _more_with_all(evidence)
    explains = large and on_plateau(evidence) and held_back and nothing_learned
    sentence = f"No optimizer holds {percent(held.unheld_share)} of the trainable parameters: {names(held.unheld)}."
    return Finding(
        "unheld-parameters",
        Cause.NOT_UPDATING,
        f"{sentence} {UNTRAINED}." if large else sentence,
        "pass all of them to the optimizer in `configure_optimizers`, as in `torch.optim.Adam(self.parameters())`, or "
        "freeze those that are not to be trained with `requires_grad_(False)`.",
        "evidence" if explains else "note",
    )


def _more_with_all(evidence: Evidence) -> bool:
    """Return whether Adam, which trains all parameters of a copy, gains twice as much as the run's own optimizer."""
    trials = evidence.get(Trials)
    return trials is not None and trials.gain("adam") > max(GAIN_CLEAR, 2 * trials.own_at_any_rate)


def zero_learning_rate(evidence: Evidence) -> Finding | None:
    """Return `zero-learning-rate` if parameters that are to be trained have stood still at a learning rate of 0.

    A schedule may begin at 0, so a rate that comes from a schedule counts in the second half of the run only.
    """
    parts = evidence.get(Parts)
    if parts is None:
        return None
    all_still = parts.where(lambda part: _stands_still(part) and part.learning_rate == 0)
    nothing_moves = not parts.where(lambda part: part.held and part.trainable and part not in all_still)
    if all_still and nothing_moves and on_plateau(evidence, parts):
        return rate_of_zero(evidence)
    still = tuple(part for part in all_still if not _may_rise(parts, part, evidence))
    if not still:
        return None
    share = sum(part.share for part in still)
    sentence = f"The learning rate of {described(still)} is 0, so these parameters have not moved since the start."
    large = sum(part.share for part in still if part.grad_norm) > PARAMETERS_UNREACHED
    return Finding(
        "zero-learning-rate",
        Cause.NOT_UPDATING,
        f"{sentence} {UNTRAINED}." if large else sentence,
        "give this parameter group a learning rate in `configure_optimizers`, as in "
        '`{"params": self.encoder.parameters(), "lr": 1e-3}`, or freeze it with `requires_grad_(False)`.',
        "evidence" if _holds_back(evidence, parts, share) else "note",
    )


def lost_updates(evidence: Evidence) -> Finding | None:
    """Return `lost-updates` if parameters have a gradient and a learning rate, but have not moved by a single bit."""
    parts = evidence.get(Parts)
    if parts is None or not on_plateau(evidence, parts):
        return None
    still = parts.where(lambda part: _stands_still(part) and bool(part.learning_rate) and bool(part.grad_norm))
    if not still or not parts.where(lambda part: part.held and part.trainable and not part.unmoved):
        return None
    share, rate = sum(part.share for part in still), max(part.learning_rate or 0.0 for part in still)
    return Finding(
        "lost-updates",
        Cause.NOT_UPDATING,
        f"There is a gradient for {described(still)} and a learning rate of {rate:.2g}, but not one bit has changed "
        "since the start: the updates are smaller than the precision of the weights.",
        f'a larger learning rate than {rate:.2g} for this parameter group; with `precision="bf16-true"`, use '
        '`Trainer(precision="bf16-mixed")`, which keeps the weights in 32 bits.',
        "evidence" if _holds_back(evidence, parts, share) else "note",
    )


def part_without_gradient(evidence: Evidence) -> Finding | None:
    """Return `part-without-gradient` if no gradient reaches parameters that an optimizer holds and that never moved.

    A head or an expert that is off for a while has moved before. A backbone that is used under `no_grad` on purpose is
    not a mistake: its layers are often in evaluation mode, or what is trained on top of it lowers the loss.
    """
    parts = evidence.get(Parts)
    if parts is None:
        return None
    unreached = parts.where(lambda part: _stands_still(part) and part.reached is False)
    share = sum(part.share for part in unreached)
    if not unreached or not parts.where(lambda part: part.held and part.trainable and part.reached is True):
        return None
    meant = all(not part.in_training_mode for part in unreached)
    most = f" {NOT_TRAINED}." if share > HALF_OF_THE_MODEL and not meant else ""
    return Finding(
        "part-without-gradient",
        Cause.NOT_UPDATING,
        f"The loss gives no gradient to {described(unreached)}, so these parameters have not moved since the start, "
        f"although an optimizer holds them.{most}",
        "look between them and the loss for `.detach()`, `torch.no_grad()`, `.item()` or `argmax`, and for outputs "
        "that the loss does not use. If they are not to be trained, say so with `requires_grad_(False)`.",
        "evidence" if not meant and _cannot_go_on_without(evidence, parts, share) else "note",
    )


def zero_gradient(evidence: Evidence) -> Finding | None:
    """Return the note `part-without-gradient` if the gradient of parameters that never moved is exactly 0.

    In the first steps this is usual, for example behind layers that begin at 0, so the loss must stand still.
    """
    parts = evidence.get(Parts)
    if parts is None or not on_plateau(evidence, parts):
        return None
    still = parts.where(lambda part: _stands_still(part) and bool(part.learning_rate) and part.grad_norm == 0)
    if not still or not parts.where(lambda part: part.held and part.trainable and bool(part.grad_norm)):
        return None
    return Finding(
        "part-without-gradient",
        Cause.NOT_UPDATING,
        f"The gradient of {described(still)} is exactly 0, so these parameters have not moved since the start. Nothing "
        "reaches them: a gradient that vanishes on its way would be small.",
        "look at what they get and at what becomes of their outputs: inputs that are all 0 or all `padding_idx`, a "
        "mask or a factor of 0, units that are dead, or weights behind them that are all 0.",
        "note",
    )


def is_said_at_once(text: str) -> bool:
    """Return whether the text holds a finding that is printed in the first steps, although it is only a note."""
    return any(sentence in text for sentence in (UNTRAINED, NOT_TRAINED, IN_A_LOOP))


def described(parts: Sequence[Part]) -> str:
    """Return the names of the parts and their share of the model, as in "`encoder` (75% of the model)"."""
    share = percent(sum(part.share for part in parts))
    return f"{names(label for part in parts for label in part.labels)} ({share} of the model)"


def names(labels: Iterable[str], most: int = 3) -> str:
    """Return the names of groups of parameters in a sentence.

    >>> names(["encoder", "head", "encoder"]), names(["a", "b", "c", "d", "e"])
    ('`encoder` and `head`', '`a`, `b`, `c` and 2 more')
    """
    distinct = [f"`{label}`" for label in dict.fromkeys(labels)]
    rest = [f"{len(distinct) - most} more"] if len(distinct) > most else []
    words = [*distinct[:most], *rest]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else "no parameters"


def percent(share: float) -> str:
    """Return a share in percent.

    >>> percent(0.75), percent(0.9996), percent(0.001)
    ('75%', 'nearly 100%', 'less than 1%')
    """
    if 0 < share < 0.01:
        return "less than 1%"
    return "nearly 100%" if 0.995 <= share < 1 - 1e-9 else f"{share:.0%}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _stands_still(part: Part) -> bool:
    """Return whether the parameters are to be trained by an optimizer, but have their initial values to the bit."""
    return part.held and part.trainable and part.unmoved


def _may_rise(parts: Parts, part: Part, evidence: Evidence) -> bool:
    """Return whether a schedule may still raise the learning rate of these parameters."""
    group: OptimizerGroup | None = None if part.group is None else parts.groups[part.group]
    if group is None or not group.base_rate:
        return False
    schedule = evidence.get(Schedule)
    return schedule is None or schedule.elapsed is None or schedule.elapsed < HALF_OF_THE_RUN


def _holds_back(evidence: Evidence, parts: Parts, share: float) -> bool:
    """Return whether it explains the plateau that this share of the model, which has a gradient, stands still.

    The run's own optimizer must gain nothing. If the loss has fallen, then besides Adam, which moves all trainable
    parameters, must lower the loss of a copy: clearly where most of the model stands still and the loss is far above
    zero, else by a lot. Where most of the model stands still, a trial of Adam that makes the loss worse says nothing,
    since its rate is too large for some models.
    """
    if share <= PARAMETERS_UNREACHED or not on_plateau(evidence, parts) or not gains_nothing(evidence):
        return False
    trials = evidence.get(Trials)
    if trials is None or not has_fallen(evidence):
        return not has_fallen(evidence)
    clear = share > HALF_OF_THE_MODEL and is_far_above_zero(evidence)
    if clear and proven(evidence) and trials.gain("adam") < -GAIN_CLEAR:
        return True
    return trials.gain("adam") - max(0.0, trials.own_at_any_rate) > (GAIN_CLEAR if clear else GAIN_LARGE)


def _cannot_go_on_without(evidence: Evidence, parts: Parts, share: float) -> bool:
    """Return whether it explains the plateau that this share of the model gets no gradient.

    No trial with the rest of the model may lower the loss. If the loss has fallen, it must also have stopped far above
    zero, with most of the model as it was initialised, and the step must use parameters whose gradient it cuts off:
    parameters that it does not use at all may be meant for other steps.
    """
    trials = evidence.get(Trials)
    if share <= PARAMETERS_UNREACHED or not on_plateau(evidence, parts) or not gains_nothing(evidence):
        return False
    if trials is not None and trials.best > GAIN_CLEAR:
        return False
    if not has_fallen(evidence):
        return True
    wiring = evidence.get(Wiring)
    cut_off = wiring is not None and any(cut.feeds_layers for cut in wiring.cuts)
    return cut_off and share > HALF_OF_THE_MODEL and is_far_above_zero(evidence)
