"""Detectors for the place on the loss surface: slope, saddle, flat region, minimum."""

from __future__ import annotations

from lightning_landscape.diagnosis.judging import (
    GAIN_CLEAR,
    GAIN_LARGE,
    GAIN_NONE,
    GAIN_SMALL,
    HAS_GRADIENT,
    LEVEL,
    LINEAR,
    RISEN,
    SATURATED,
    STEEP,
    TRAVEL_LARGE,
    TRAVEL_NONE,
    TRAVEL_SMALL,
    TWINS,
    UNUSED,
    VANISHED,
    WAY_DOWN,
    came_by_inputs,
    has_learned,
    share_of_start,
    still_high,
    verdict_of,
)
from lightning_landscape.evidence import (
    Activity,
    Cause,
    Curvature,
    Evidence,
    GradientScale,
    InputUse,
    LossLevel,
    Restart,
    Symmetry,
    Trend,
    Trials,
    UpdateStatistics,
    Verdict,
)


def too_small(evidence: Evidence) -> Verdict | None:
    """The run is on a slope and as good as stands still on it."""
    movement, trials = evidence.get(UpdateStatistics), evidence.get(Trials)
    if movement is None or trials is None or movement.travelled is None:
        return None
    gain, tenfold = max(trials.gain("adam"), trials.gain("line search")), trials.gain("learning rate x10")
    wanted, steep = GAIN_CLEAR if not has_learned(evidence) else GAIN_LARGE, STEEP
    if trials.own > 0 and LINEAR[0] < tenfold / trials.own < LINEAR[1] and not has_learned(evidence):
        wanted, steep = GAIN_NONE, LEVEL  # ten times the step, ten times the gain: the slope goes on
    if movement.travelled >= TRAVEL_SMALL or trials.relative_gradient < steep:
        return None
    if max(gain, tenfold) >= wanted:
        why = f"larger steps lower the loss by {max(gain, tenfold):.0%}"
    elif movement.travelled < TRAVEL_NONE and not has_learned(evidence) and not _saturates(evidence):
        why = "whatever the data hold, steps this short lead nowhere"
    else:
        return None
    return verdict_of(
        evidence,
        Cause.LEARNING_RATE_TOO_SMALL,
        f"In 5% of the run the updates add up to {movement.travelled:.1g} of the weights (threshold {TRAVEL_SMALL:g}) "
        f"on a slope of relative size {trials.relative_gradient:.2g} (threshold {steep:g}); {why}.",
    )


def without_slope(evidence: Evidence) -> Verdict | None:
    """The gradient is exactly zero where the loss is not: nothing that follows it can move."""
    trials, level = evidence.get(Trials), evidence.get(LossLevel)
    if trials is None or level is None or trials.relative_gradient != 0 or trials.best > 0 or level.now == 0:
        return None
    curvature = evidence.get(Curvature)
    if curvature is not None and not curvature.degenerate:
        return None
    reason = f"The gradient is exactly zero on all {trials.samples} samples, and so is what every trial gained."
    return verdict_of(evidence, Cause.FLAT_REGION, reason, stuck=True)


def duplicate_units(evidence: Evidence) -> Verdict | None:
    """Units started as copies of one another and stay so: a saddle by symmetry [Fukumizu and Amari 2000]."""
    symmetry, restart = evidence.get(Symmetry), evidence.get(Restart)
    if symmetry is None or symmetry.share <= TWINS or restart is None or restart.gain < 0.1:
        return None
    trials = evidence.get(Trials)
    plain = restart.gain > GAIN_LARGE and trials is not None and trials.own <= GAIN_SMALL
    return verdict_of(
        evidence,
        Cause.SADDLE_POINT,
        f"In {symmetry.layer} {symmetry.share:.0%} of the units started alike or empty (threshold {TWINS:.0%}); a "
        f"run from weights drawn at random lowers the loss by {restart.gain:.0%} in {restart.steps} steps.",
        stuck=True if plain else None,
    )


def saturated(evidence: Evidence) -> Verdict | None:
    """Nearly all values of a layer sit at the bounds of its activation, where it has no slope."""
    activity, restart = evidence.get(Activity), evidence.get(Restart)
    if activity is None or activity.saturated < SATURATED:
        return None
    if has_learned(evidence) and (restart is None or restart.gain < 0.1):
        return None
    reason = f"In {activity.saturated_layer} {activity.saturated:.0%} of the values sit at the activation's bounds"
    return verdict_of(evidence, Cause.FLAT_REGION, f"{reason} (threshold {SATURATED:.0%}).", stuck=True)


def saddle(evidence: Evidence) -> Verdict | None:
    """There is a way down that the run does not find: along negative curvature, or by a better-scaled step."""
    curvature, trials, gradient = evidence.get(Curvature), evidence.get(Trials), evidence.get(GradientScale)
    if trials is None:
        return None
    drop, critical = _drop(curvature), trials.relative_gradient < HAS_GRADIENT
    if has_learned(evidence):
        found = trials.gain("adam") > GAIN_LARGE and (drop > WAY_DOWN or trials.relative_gradient < LEVEL)
    else:
        # Where the run as good as stands, a smaller gain by other steps shows a way.
        wanted = WAY_DOWN if critical else GAIN_CLEAR
        found = trials.gain("adam") > wanted or drop > WAY_DOWN
    fades = gradient is not None and gradient.first_to_last < VANISHED and not critical
    if not found or (fades and drop <= WAY_DOWN):
        return None
    way = (
        f"Along the direction of most negative curvature the loss falls by {drop:.0%} on batches not used to find it"
        if drop > WAY_DOWN
        else f"{trials.steps} steps of Adam lower it by {trials.gain('adam'):.0%} on batches that they did not see"
    )
    return verdict_of(
        evidence, Cause.SADDLE_POINT, f"{way}; gradient x weight / loss = {trials.relative_gradient:.2g}."
    )


def vanishing(evidence: Evidence) -> Verdict | None:
    """The gradient dies away on its way back through the layers."""
    gradient = evidence.get(GradientScale)
    if gradient is None or gradient.first_to_last >= VANISHED or gradient.norm == 0 or has_learned(evidence):
        return None
    first, *_, last = gradient.groups
    return verdict_of(
        evidence,
        Cause.FLAT_REGION,
        f"The gradient vanishes on its way back: its norm is {gradient.groups[first]:.2g} in {first} and "
        f"{gradient.groups[last]:.2g} in {last}, a ratio of {gradient.first_to_last:.1g} (threshold {VANISHED:g}).",
    )


def elsewhere_better(evidence: Evidence) -> Verdict | None:
    """A run from other weights does better: a poor minimum where this one is bent up, else a saddle of high order."""
    restart, trials, curvature = evidence.get(Restart), evidence.get(Trials), evidence.get(Curvature)
    level = evidence.get(LossLevel)
    if restart is None or trials is None or level is None:
        return None
    known = has_learned(evidence)
    if restart.gain < (0.3 if known else 0.1) or (known and share_of_start(evidence) < 0.3):
        return None
    bent_up = curvature is not None and curvature.lambda_min > -0.01 * curvature.lambda_max > float("-inf")
    bowl = bent_up and trials.relative_gradient < LEVEL
    cause = Cause.POOR_MINIMUM if known or bowl else Cause.SADDLE_POINT
    return verdict_of(
        evidence,
        cause,
        f"Trained anew from re-drawn weights, the best of {restart.seeds} runs lowers the loss by {restart.gain:.0%} "
        f"in {restart.steps} steps, where nothing leads down from here.",
    )


def nothing_to_learn(evidence: Evidence) -> Verdict | None:
    """The model makes no use of its inputs, and neither trials nor restarts that train find one."""
    use, restart, trials = evidence.get(InputUse), evidence.get(Restart), evidence.get(Trials)
    if use is None or restart is None or trials is None or has_learned(evidence) or use.unpaired or not restart.trained:
        return None
    if came_by_inputs(evidence):
        return None
    return verdict_of(
        evidence,
        Cause.NOTHING_TO_LEARN,
        f"With inputs and targets paired at random the loss changes by {use.share:.1%} (threshold {UNUSED:.0%}); the "
        f"best trial gained {max(0.0, trials.best):.0%}, the best restart {restart.gain:.0%}.",
    )


def slow(evidence: Evidence) -> Verdict | None:
    """The loss could fall much further, and nothing is in its way."""
    trials, trend = evidence.get(Trials), evidence.get(Trend)
    if trials is None or trend is None or not has_learned(evidence) or trials.gain("adam") <= GAIN_LARGE:
        return None
    found = f"{trials.steps} steps of Adam lower it by {trials.gain('adam'):.0%}; no obstacle was found"
    return verdict_of(evidence, Cause.SLOW, f"{found}. {forecast(trend)}")


def forecast(trend: Trend) -> str:
    """When the loss will have fallen by a further 1%, if it goes on as it did."""
    steps = trend.steps_to_fall(0.01)
    if steps is None:
        return "At its present pace it does not fall at all."
    fewest, expected, most = steps
    until = "without end" if most == float("inf") else f"{most:.0f}"
    return f"At its present pace it takes {expected:.0f} steps to fall by a further 1% (from {fewest:.0f} to {until})."


def settled(evidence: Evidence) -> Verdict | None:
    """The loss has come down and stays down, or noise hides whether it still falls."""
    level, trend = evidence.get(LossLevel), evidence.get(Trend)
    if level is None or trend is None or not has_learned(evidence):
        return None
    stays = "and stays there" if trend.powered else "and does not fall by more than the noise hides"
    return verdict_of(
        evidence,
        Cause.SETTLED,
        f"It came from {level.start:.4g} to {level.now:.4g} {stays}; that is a minimum, the noise floor, or the "
        "balance with weight decay, and nobody can tell from here whether a minimum is a good one.",
    )


def undecided(evidence: Evidence) -> Verdict | None:
    """The loss stands still where it started, and nothing that was measured says why."""
    level, trend = evidence.get(LossLevel), evidence.get(Trend)
    if level is None or trend is None:
        return None
    wanted = {"what trials on a copy gain": Trials, "whether the inputs are used": InputUse, "a restart": Restart}
    missing = [name for name, kind in wanted.items() if evidence.get(kind) is None]
    unknown = f"; not known: {', '.join(missing)}" if missing else ""
    restart = evidence.get(Restart)
    if restart is not None and not restart.trained:
        unknown += f"; the loss blew up in the restart of {restart.steps} steps as well, which therefore shows nothing"
    reason = f"It is at {level.now:.4g}, and started at {level.start:.4g}; nothing that was measured says why{unknown}."
    share, movement = share_of_start(evidence), evidence.get(UpdateStatistics)
    thrown = share > RISEN and movement is not None and (movement.travelled or 0.0) > TRAVEL_LARGE
    high = trend.powered and share > still_high(evidence) and not came_by_inputs(evidence)
    return verdict_of(evidence, Cause.UNDECIDED, reason, stuck=high or thrown)


def asks_for_restart(evidence: Evidence) -> bool:
    """Whether twin or saturated units may be what holds the run, which only a restart can tell."""
    symmetry = evidence.get(Symmetry)
    twins = symmetry is not None and symmetry.share > TWINS
    return evidence.get(Restart) is None and (twins or _saturates(evidence))


def _saturates(evidence: Evidence) -> bool:
    """Whether so many values sit at an activation's bounds that this alone keeps the run where it is."""
    activity = evidence.get(Activity)
    return activity is not None and activity.saturated >= SATURATED


def _drop(curvature: Curvature | None) -> float:
    """Fall of the held-out loss along the most negative curvature, over the loss; 0 where there is none."""
    if curvature is None or curvature.descent is None or not curvature.loss:
        return 0.0
    return (curvature.descent.held_out_drop or 0.0) / abs(curvature.loss)
