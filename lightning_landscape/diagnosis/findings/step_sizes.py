"""Finders for weights and gradients of the wrong size: by decay, by clipping, or since gradients are never zeroed."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_landscape.diagnosis.findings.history import lost_midway
from lightning_landscape.diagnosis.findings.parts import described
from lightning_landscape.diagnosis.flatness import gradient_vanishes, is_saturated
from lightning_landscape.diagnosis.learning import (
    beats_constant,
    blown_up,
    has_fallen,
    has_learned,
    on_plateau,
    rise_of_first_steps,
    share_of_start,
)
from lightning_landscape.diagnosis.thresholds import (
    GAIN_CLEAR,
    GAIN_LARGE,
    GAIN_OF_RESTART,
    MOST_OF_THE_MODEL,
    RISE_FROM_BEST,
    RISE_OF_FIRST_STEPS,
    SHARE_OF_PEAK_SMALL,
    SHARE_OF_START_RISEN,
    TARGETS_AGREE,
    TRAVEL_SMALL,
    UNITS_DEAD,
    WEIGHTS_BLOWN_UP,
)
from lightning_landscape.evidence import (
    Activity,
    Cause,
    Clipping,
    Evidence,
    Finding,
    GradientScale,
    KeptGradients,
    LossLevel,
    Outputs,
    Part,
    Parts,
    Plateau,
    Restart,
    Schedule,
    Trials,
    UpdateStatistics,
    WeightHistory,
)

SHRUNK = 0.1
"""Below this ratio of the weights' norm to the initial norm, two layers together pass on less than a hundredth of the
signal, and of the gradient, that the initialisation was made for."""
SHRUNK_AWAY = 0.01
"""Below this ratio, the decay has won over the gradient and its noise, which alone keep weights at about √(η/2λ) with
Adam, at a learning rate η and a weight decay λ."""
CHANGED_RATE = 1.5
"""A learning rate that differs by more than this factor from the present one is another rate."""
CLIPPED_TO = 0.01
"""If clipping leaves less than this share of the gradient, plain SGD needs a hundredfold learning rate."""


def gradients_not_zeroed(evidence: Evidence) -> Finding | None:
    """Return `gradients-not-zeroed` if an optimizer's gradients were never zeroed between its first steps."""
    kept = evidence.get(KeptGradients)
    if kept is None:
        return None
    of_which = f" of optimizer {kept.optimizer}" if kept.optimizer else ""
    return Finding(
        "gradients-not-zeroed",
        Cause.LEARNING_RATE_TOO_LARGE,
        f"The gradients were never set to zero between the first {kept.steps} steps{of_which}, so each step uses the "
        "sum of the gradients of all batches so far.",
        "call `optimizer.zero_grad()` before `self.manual_backward(loss)`.",
        "certain",
    )


def weights_shrunk(evidence: Evidence) -> Finding | None:
    """Return `weights-shrunk` if weight decay has shrunk most weights and the model has lost, or never found, its use.

    If nothing can be learned from the data, the weights shrink as well. So the loss must have been far lower before, a
    restart from new initial weights must lower it, similar samples must have similar targets, or the weights must have
    shrunk to nothing.
    """
    parts, level = evidence.get(Parts), evidence.get(LossLevel)
    if parts is None or not on_plateau(evidence, parts) or has_learned(evidence):
        return None
    shrunk = parts.where(lambda p: p.trainable and p.held and p.norm_ratio is not None and p.norm_ratio < SHRUNK)
    groups = [parts.groups[part.group] for part in shrunk if part.group is not None]
    decays = [group.weight_decay for group in groups]
    share = sum(part.share for part in shrunk)
    if share <= MOST_OF_THE_MODEL or not any(decays):
        return None
    restart = evidence.get(Restart)
    lost = level is not None and level.risen_from_best > RISE_FROM_BEST
    gone = sum(part.share for part in shrunk if (part.norm_ratio or 0.0) < SHRUNK_AWAY) > MOST_OF_THE_MODEL
    smallest = min(part.norm_ratio or 0.0 for part in shrunk)
    rate = max((group.learning_rate or 0.0 for group in groups if group.scales_decay), default=0.0)
    why, also = "", ""
    if rate:
        why = " The optimizer divides the decay by the same root as the gradient, so one step can move every weight "
        why += f"towards 0 by the learning rate of {rate:g}."
        also = f", and a smaller learning rate, such as {rate / 10:g}; `torch.optim.AdamW` does not scale the decay"
    outputs = evidence.get(Outputs)
    learnable = outputs is not None and (outputs.targets_agree or 0.0) >= TARGETS_AGREE
    decisive = lost or gone or learnable or (restart is not None and restart.gain >= GAIN_OF_RESTART)
    return Finding(
        "weights-shrunk",
        Cause.LEARNING_RATE_TOO_LARGE if rate else Cause.FLAT_REGION,
        f"The weights of {described(shrunk)} have shrunk, down to {_ratio(smallest)} of their initial norm (threshold "
        f"{SHRUNK:.0%}), at a weight decay of {max(decays):g}.{why}",
        f"a smaller weight decay in `configure_optimizers`, such as `weight_decay={max(decays) / 100:g}`{also}.",
        "evidence" if decisive else "note",
    )


def weights_blown_up(evidence: Evidence) -> Finding | None:
    """Return `weights-blown-up` if most weights have grown tenfold and the loss has not fallen.

    A loss that has only come down to that of a constant prediction has not fallen. Weights before a normalisation layer
    may grow without harm, so other evidence must show that the steps were too large: a loss above its start, units or
    gradients that saturate, smaller steps that lower the loss, or a restart that does. And the trials must have shown
    that the run does not recover by itself. Where a layer is dead, that is what holds the run back, unless its first
    steps have killed it.
    """
    parts, trials, restart = evidence.get(Parts), evidence.get(Trials), evidence.get(Restart)
    no_better = beats_constant(evidence) is False
    if parts is None or not on_plateau(evidence, parts) or (has_fallen(evidence) and not no_better):
        return None
    if lost_midway(evidence) is not None:  # the loss had fallen before the weights grew
        return None
    grown = blown_up(evidence)
    smaller = 0.0 if trials is None else trials.smaller_steps
    larger = 0.0 if trials is None else trials.gain("learning rate x10")
    if not grown or (larger > GAIN_CLEAR and larger >= smaller):
        return None
    activity = evidence.get(Activity)
    dead = activity is not None and activity.dead >= UNITS_DEAD and rise_of_first_steps(evidence) <= RISE_OF_FIRST_STEPS
    risen = share_of_start(evidence) > SHARE_OF_START_RISEN
    restarted = 0.0 if restart is None else max(restart.gain, restart.smaller_rate_gain or 0.0)
    better = smaller > GAIN_CLEAR or restarted >= GAIN_OF_RESTART
    flat = not has_learned(evidence) and (is_saturated(evidence) or gradient_vanishes(evidence))
    recovers = not flat if trials is None else trials.own > max(GAIN_CLEAR, smaller)
    outcome = "the model predicts no better than a constant" if has_fallen(evidence) else "the loss has not fallen"
    return Finding(
        "weights-blown-up",
        Cause.LEARNING_RATE_TOO_LARGE,
        f"The weights of {described(grown)} have grown to {max(part.norm_ratio or 0.0 for part in grown):.3g} times "
        f"their initial norm (threshold {WEIGHTS_BLOWN_UP:g}), and {outcome}.",
        _smaller_rate(evidence, grown),
        "evidence" if (risen or better or flat) and not dead and not recovers else "note",
    )


def _smaller_rate(evidence: Evidence, grown: Sequence[Part]) -> str:
    """Return the advice to take a tenth of the rate, of the present one or of that at which the weights moved fastest.

    They differ where a schedule or the user has changed the rate since then.
    """
    history, rate = evidence.get(WeightHistory), max(part.learning_rate or 0.0 for part in grown)
    then = None if history is None else history.largest_rate_when_fastest
    if then is None or CHANGED_RATE * then > rate > then / CHANGED_RATE:
        return f"a learning rate of {rate / 10:.1g} in place of {rate:.1g}, or a warm-up."
    return (
        f"a learning rate of {then / 10:.1g} in place of the {then:.1g} at which the weights moved fastest (it is now "
        f"{rate:.1g}), or a longer warm-up."
    )


def clipped_too_tight(evidence: Evidence) -> Finding | None:
    """Return `clipped-too-tight` if clipping leaves next to nothing of the gradient and the weights hardly move.

    Adam does not depend on the size of the gradient, so clipping alone is no evidence: larger steps must help as well.
    """
    clipping, updates, trials = evidence.get(Clipping), evidence.get(UpdateStatistics), evidence.get(Trials)
    scale, schedule = evidence.get(GradientScale), evidence.get(Schedule)
    if clipping is None or updates is None or evidence.get(Plateau) is None or clipping.median >= CLIPPED_TO:
        return None
    if updates.travelled is None or updates.travelled >= TRAVEL_SMALL:
        return None
    decayed = schedule is not None and schedule.share_of_peak < SHARE_OF_PEAK_SMALL
    least_gain = GAIN_LARGE if has_learned(evidence) else GAIN_CLEAR
    gain = 0.0 if trials is None else max(trials.own_at_any_rate, trials.gain("adam"), trials.gain("line search"))
    norm = "" if scale is None else f", whose median norm is {scale.norm:.3g},"
    limit = "" if scale is None else f" near the median norm, as in `Trainer(gradient_clip_val={scale.norm:.1g})`"
    return Finding(
        "clipped-too-tight",
        Cause.LEARNING_RATE_TOO_SMALL,
        f"Clipping leaves {_ratio(clipping.median)} of the gradient{norm} at most steps (threshold {CLIPPED_TO:.0%}), "
        f"and over 5% of the run the updates add up to {updates.travelled:.1g} times the norm of the weights "
        f"(threshold {TRAVEL_SMALL:g}).",
        f"a looser clip{limit}, or a larger learning rate.",
        "evidence" if gain >= least_gain and not decayed else "note",
    )


def _ratio(ratio: float) -> str:
    """Return a small ratio in words.

    >>> _ratio(0.034), _ratio(0.00004)
    ('3.4%', 'less than 0.01%')
    """
    return "less than 0.01%" if ratio < 1e-4 else f"{ratio:.2g}" if ratio >= 1 else f"{100 * ratio:.2g}%"
