"""Finders for parts of the model that were trained at first, and are not any more."""

from __future__ import annotations

from lightning_landscape.diagnosis.findings.parts import described
from lightning_landscape.diagnosis.learning import gains_nothing, is_far_above_zero, on_plateau, share_of_start
from lightning_landscape.diagnosis.thresholds import PARAMETERS_UNREACHED, UNITS_DEAD
from lightning_landscape.evidence import Activity, Cause, Evidence, Finding, LostGradients, Part, Parts, Plateau, Trend

SOLVED = 0.1
"""Below this share of its start, a loss may stop falling without anything being wrong, as in `LossLevel.solved`"""


def frozen_midway(evidence: Evidence) -> Finding | None:
    """Return `frozen-midway` if a large part of the model was frozen before the loss stopped falling.

    Training may freeze layers step by step, so a part that was frozen at several times explains nothing.
    """
    parts, plateau = evidence.get(Parts), evidence.get(Plateau)
    frozen = () if parts is None else parts.where(lambda part: part.frozen_since is not None)
    if parts is None or not frozen:
        return None
    share, steps = sum(part.share for part in frozen), sorted({part.frozen_since or 0 for part in frozen})
    large = share > PARAMETERS_UNREACHED and len(steps) == 1 and on_plateau(evidence, parts)
    near = large and _ended_with(evidence, steps[-1])
    when = f"at step {steps[0]}" if len(steps) == 1 else f"between steps {steps[0]} and {steps[-1]}"
    stopped = f", and the loss stopped falling at step {plateau.since}" if plateau is not None and near else ""
    return Finding(
        "frozen-midway",
        Cause.NOT_UPDATING,
        f"The parameters of {described(frozen)} were trainable at the start, and were frozen {when}{stopped}.",
        "look for `freeze()`, `requires_grad_(False)` or `requires_grad = False` in the hooks of the run, for example "
        "in a validation, and undo it with `self.unfreeze()` or `requires_grad_(True)`.",
        "evidence" if near else "note",
    )


def detached_midway(evidence: Evidence) -> Finding | None:
    """Return `detached-midway` if a large part of the model no longer gets a gradient since the loss stopped falling.

    Parts may be trained in turns, so each must have had a gradient at nearly every step before, and none since. Where
    units are dead, a gradient of zeros is no sign of a cut.
    """
    parts, lost, plateau = evidence.get(Parts), evidence.get(LostGradients), evidence.get(Plateau)
    if parts is None or lost is None or plateau is None:
        return None
    activity = evidence.get(Activity)
    dead = activity is not None and activity.dead >= UNITS_DEAD

    def is_silent(part: Part) -> bool:
        held = part.name in lost.last and part.held and part.trainable and not part.unmoved
        return held and (part.grad_norm is None or (part.grad_norm == 0 and not dead))

    silent = parts.where(is_silent)
    if not silent or not parts.where(lambda part: part.held and part.trainable and bool(part.grad_norm)):
        return None
    share, step = sum(part.share for part in silent), max(lost.last[part.name] for part in silent)
    explains = share > PARAMETERS_UNREACHED and on_plateau(evidence, parts) and _ended_with(evidence, step)
    return Finding(
        "detached-midway",
        Cause.NOT_UPDATING,
        f"The loss gives no gradient to {described(silent)} any more: the last one was at step {step}, and the loss "
        f"stopped falling at step {plateau.since}. An optimizer holds them.",
        "look for what changes at that step on the way from these layers to the loss: a condition with `.detach()` or "
        "`torch.no_grad()`, or a weight of the loss that becomes 0. If they are not to be trained any more, say so "
        "with `requires_grad_(False)`.",
        "evidence" if explains else "note",
    )


def _ended_with(evidence: Evidence, step: int) -> bool:
    """Return whether a change of the training at this step explains that the loss stopped falling.

    The rest of the model may go on for a while, so a loss far above zero may have stopped later. A loss that has fallen
    a lot must have stopped then. How precisely the beginning of a plateau is known, is one window.
    """
    plateau, trend = evidence.get(Plateau), evidence.get(Trend)
    if plateau is None or trend is None or step > plateau.since + trend.window or not gains_nothing(evidence):
        return False
    if is_far_above_zero(evidence):
        return True
    return share_of_start(evidence) > SOLVED and step >= plateau.since - trend.window
