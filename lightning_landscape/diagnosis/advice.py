"""What a person can try: what trials on a copy have shown to help, or what helps in general."""

from __future__ import annotations

import math

from lightning_landscape.evidence import CAUSES, Alternatives, Cause, Curvature, Evidence, Restart, Trials

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
WORTH = 0.15
"""gain over that of simply going on, from which on a trial is an answer"""


def advice(cause: Cause, evidence: Evidence) -> str:
    """What to try: what trials have shown to help here, the best first; only where none has, what helps in general."""
    if not CAUSES[cause].step_size_may_help:
        return CAUSES[cause].advice
    own = max(0.0, gains(evidence).get("this optimizer", 0.0))
    shown = [
        f"{MEASURED[name]}: {_change(gain)} in {_lengths(name, evidence)}"
        for name, gain in ranked(evidence)
        if name in MEASURED and gain - own > WORTH
    ]
    return f"{'; '.join(shown[:3])} (measured on a copy)." if shown else CAUSES[cause].advice


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
