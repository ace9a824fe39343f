"""What a person can do about each cause, in words, and the code by which they look it up."""

from __future__ import annotations

import math

from lightning_landscape.evidence import Alternatives, Cause, Curvature, Evidence, Restart, Trials, Verdict

CODES = {
    Cause.SADDLE_POINT: "LL201",
    Cause.FLAT_REGION: "LL202",
    Cause.POOR_MINIMUM: "LL203",
    Cause.LEARNING_RATE_TOO_SMALL: "LL204",
    Cause.LEARNING_RATE_TOO_LARGE: "LL205",
    Cause.NOT_UPDATING: "LL206",
    Cause.NOTHING_TO_LEARN: "LL207",
    Cause.DIVERGED: "LL208",
    Cause.UNDECIDED: "LL209",
    Cause.SETTLED: "LL210",
    Cause.SCHEDULED_END: "LL211",
    Cause.SLOW: "LL212",
}

TITLES = {
    Cause.SADDLE_POINT: "stuck at a saddle point",
    Cause.FLAT_REGION: "stuck on a flat region",
    Cause.POOR_MINIMUM: "stuck in a poor minimum",
    Cause.LEARNING_RATE_TOO_SMALL: "stuck because the learning rate is too small",
    Cause.LEARNING_RATE_TOO_LARGE: "stuck because the learning rate is too large",
    Cause.NOT_UPDATING: "stuck because the weights are not updated",
    Cause.NOTHING_TO_LEARN: "stuck because the inputs do not tell the targets",
    Cause.DIVERGED: "diverged",
    Cause.UNDECIDED: "the loss has stopped falling, the cause is undecided",
    Cause.SETTLED: "settled",
    Cause.SCHEDULED_END: "the learning-rate schedule has come to its end",
    Cause.SLOW: "slow, but still falling",
}

GENERAL = {
    Cause.SADDLE_POINT: (
        "a larger initialisation, momentum, or a small random perturbation of the weights (Dauphin 2014, Jin 2017)."
    ),
    Cause.FLAT_REGION: (
        "an initialisation made for the activation (Glorot 2010, He 2015), normalisation layers (Ioffe 2015) or "
        "residual connections (He 2016), or activations that do not saturate; dead units come back only by "
        "re-initialising them."
    ),
    Cause.POOR_MINIMUM: "other seeds, a larger model, or a larger learning rate early in the run (Keskar 2017).",
    Cause.LEARNING_RATE_TOO_SMALL: "a larger learning rate (Smith 2017), or a looser gradient clip.",
    Cause.LEARNING_RATE_TOO_LARGE: "a smaller learning rate, a warm-up (Goyal 2017), or gradient clipping.",
    Cause.NOT_UPDATING: (
        "look at `configure_optimizers`: does the optimizer hold `self.parameters()`, and not a copy made before? "
        "Is part of the forward pass cut off by `detach()`, `no_grad` or `requires_grad=False`?"
    ),
    Cause.NOTHING_TO_LEARN: "look at a batch: do the inputs vary, and do they still belong to their targets?",
    Cause.DIVERGED: (
        "a smaller learning rate, a warm-up (Goyal 2017), or gradient clipping (Pascanu 2013); for NaN, look for a "
        "logarithm, a division or a root of 0, and for float16 overflow (bfloat16 has the wider range)."
    ),
    Cause.UNDECIDED: (
        "look at the gradient norms and at the loss along the line from the initial weights: a notebook draws both "
        "from `monitor.report`, and `LandscapeMonitor(folder=...)` writes them to an HTML file."
    ),
    Cause.SETTLED: (
        "nothing has to be done. Whether a lower minimum exists, only other seeds (a restart, `compare_runs`) or a "
        "target loss would tell."
    ),
    Cause.SCHEDULED_END: "nothing has to be done; a longer schedule would let the loss fall further.",
    Cause.SLOW: "more steps, or a larger learning rate (Smith 2017).",
}
"""what helps in general, where no trial has shown what helps here; docs/causes.md has the references"""

MEASURED = {
    "adam": "Adam at a learning rate of 0.01",
    "learning rate x0.1": "a tenth of the learning rate",
    "learning rate x3": "three times the learning rate",
    "learning rate x10": "ten times the learning rate",
    "mean of the path": "averaged weights (Lightning's `WeightAveraging`)",
    "batch x4": "a batch four times as large (`accumulate_grad_batches`)",
    "a perturbation": "a random perturbation (`remedies.Perturb()`)",
    "along the most negative curvature": (
        "a step along the most negative curvature (`remedies.Perturb(direction='lambda_min')`)"
    ),
    "re-drawn weights": "another initialisation",
}
"""trials that a person can repeat on the run itself; a line search is not one"""
MECHANICAL = frozenset({Cause.NOT_UPDATING, Cause.NOTHING_TO_LEARN, Cause.DIVERGED, Cause.SETTLED, Cause.SCHEDULED_END})
"""causes that no other way of stepping mends"""
WORTH = 0.15
"""gain over that of simply going on, from which on a trial is an answer"""


def title_of(verdict: Verdict) -> str:
    """The cause in words; where it is no alarm, "stuck" is only a possibility."""
    title = TITLES[verdict.cause]
    return title if verdict.stuck or not title.startswith("stuck") else f"perhaps {title}"


def advice(cause: Cause, evidence: Evidence) -> str:
    """What to try: what trials have shown to help here, the best first; only where none has, what helps in general."""
    if cause in MECHANICAL:
        return GENERAL[cause]
    own = max(0.0, gains(evidence).get("this optimizer", 0.0))
    shown = [
        f"{MEASURED[name]}: {_change(gain)} in {_lengths(name, evidence)}"
        for name, gain in ranked(evidence)
        if name in MEASURED and gain - own > WORTH
    ]
    return f"{'; '.join(shown[:3])} (measured on a copy)." if shown else GENERAL[cause]


def gains(evidence: Evidence) -> dict[str, float]:
    """The gain of everything that was tried, by its name."""
    trials, others, curvature = evidence.get(Trials), evidence.get(Alternatives), evidence.get(Curvature)
    found = {**(trials.gains if trials else {}), **(others.gains if others else {})}
    if curvature is not None and curvature.followed is not None:
        found["along the most negative curvature"] = curvature.followed
    restart = evidence.get(Restart)
    return found if restart is None else {**found, "re-drawn weights": restart.gain}


def ranked(evidence: Evidence) -> list[tuple[str, float]]:
    """The same, the largest gain first."""
    return sorted(gains(evidence).items(), key=lambda item: -item[1])


def tried(evidence: Evidence) -> str:
    """What was tried on a copy, the best first, with what stands behind it."""
    trials, restart = evidence.get(Trials), evidence.get(Restart)
    if trials is None:
        return ""
    each = "; ".join(f"{name} {_change(gain)}" for name, gain in ranked(evidence) if name != "re-drawn weights")
    anew = f"; re-drawn weights {_change(restart.gain)} in {restart.steps} steps" if restart is not None else ""
    batches = f"{trials.batches} batch{'es' * (trials.batches > 1)}"
    return f"Tried on a copy, {trials.steps} steps each on {batches}, judged on others: {each}{anew}."


def _lengths(name: str, evidence: Evidence) -> str:
    """Over how many steps a gain was measured."""
    restart, trials, others = evidence.get(Restart), evidence.get(Trials), evidence.get(Alternatives)
    if name == "re-drawn weights" and restart is not None:
        return f"{restart.steps} steps"
    source = others if others is not None and name in others.gains else trials
    return "40 steps" if source is None else f"{source.steps} steps"


def _change(gain: float) -> str:
    """Change of the loss by this gain: a fall is negative."""
    if gain == -math.inf:
        return "not finite"
    return f"{-gain:+.0%}" if abs(gain) >= 0.005 else "0%"
