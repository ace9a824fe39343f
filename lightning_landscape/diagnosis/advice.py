"""What to try: what mends the finding, else the trials that lowered the loss, else what helps in general."""

from __future__ import annotations

import math

from lightning_landscape._text import listed, ratio
from lightning_landscape.diagnosis.thresholds import GAIN_ADVISED
from lightning_landscape.evidence import (
    CAUSES,
    Alternatives,
    Cause,
    Curvature,
    Evidence,
    Finding,
    LossLevel,
    Restart,
    RestartedRun,
    Schedule,
    Trials,
)
from lightning_landscape.evidence.trial_words import TRIAL_WORDS
from lightning_landscape.evidence.trials import RATE_FACTORS

ALONG_CURVATURE = "along the most negative curvature"
"""name of a further trial, beside those of `Trials` and `Alternatives`"""
RESTARTS = {
    "own": "new weights",
    "adam": "new weights, adam",
    "tenth": "initial weights, learning rate x0.1",
    "hundredth": "initial weights, learning rate x0.01",
    "usual_rate": "usual learning rate",
}
"""names of the runs of `Restart`, by its fields"""
WORDS = {
    **TRIAL_WORDS,
    ALONG_CURVATURE: "a step along the most negative curvature",
    RESTARTS["own"]: "another initialisation",
    RESTARTS["adam"]: "Adam at a learning rate of 0.01 from new weights",
    RESTARTS["tenth"]: "a tenth of the learning rate from the initial weights",
    RESTARTS["hundredth"]: "a hundredth of the learning rate from the initial weights",
    RESTARTS["usual_rate"]: "the learning rate from before the schedule ended",
}
"""every trial in words"""
NOT_ADVISED = ("this optimizer", "line search")
"""trials that are no advice: the first changes nothing, and training has no line search"""
ADAM = "torch.optim.Adam(self.parameters(), lr=0.01)"
HOW_TO = {
    "adam": ADAM,
    "mean of the path": "Trainer(callbacks=[WeightAveraging()])",
    "batch x4": "Trainer(accumulate_grad_batches=4)",
    "a perturbation": "LandscapeMonitor(remedies=[Perturb()])",
    ALONG_CURVATURE: 'LandscapeMonitor(remedies=[Perturb(direction="lambda_min")])',
    RESTARTS["own"]: "seed_everything(...)",
    RESTARTS["adam"]: ADAM,
}
"""the code with which a user repeats a trial on the run itself; trials at another learning rate give that rate"""
FACTORS = {
    **RATE_FACTORS,
    "learning rate x3": 3.0,
    RESTARTS["tenth"]: 0.1,
    RESTARTS["hundredth"]: 0.01,
}
"""the factors on the learning rate of the run, by trials"""
TRIED = {
    Cause.LEARNING_RATE_TOO_SMALL: "learning rate x10",
    Cause.SLOW: "learning rate x10",
    Cause.LEARNING_RATE_TOO_LARGE: "learning rate x0.1",
    Cause.SADDLE_POINT: "a perturbation",
}
"""the trial of what the first line of the general advice for a cause proposes"""
UNCHANGED = 0.005
"""change of the loss, over the loss, below which it is said to be unchanged: it would be rounded to 0%"""
SMALL_RISE = 0.1
"""rise of the loss, over the loss, below which trials that did not lower it are named together"""
LONG_RATIO = 10.0
"""change of the loss, over the loss, from which on it is given as a ratio instead of in percent"""
ABOVE_BEST = 1.05
"""height of the loss over its lowest height from which on a settled run is told to go back to its best weights"""


def advice(cause: Cause, evidence: Evidence, finding: Finding | None = None, particular: str = "") -> str:
    """Return what to try, one thing in each line.

    That is what mends the finding, or else up to three trials that helped and what helps in particular; without these,
    what helps in general, but not what was tried on a copy of the run and made the loss worse.

    Args:
        cause: the named cause.
        evidence: the readings, with the trials.
        finding: what was found; None if nothing was.
        particular: what helps against what a detector has seen, in lines; empty for nothing in particular.
    """
    if finding is not None:
        return finding.advice
    if cause is Cause.SETTLED:
        return _for_settled(evidence, particular)
    if not CAUSES[cause].step_size_may_help:
        return particular or CAUSES[cause].advice
    own, restarts = max(0.0, gains(evidence).get("this optimizer", 0.0)), _restarts(evidence)
    by_chance = {name for name, run in restarts.items() if not run.beyond_chance}
    helpful = [
        f"{_instruction(name, evidence)}: {change(gain)} in {_steps(name, evidence)} steps on a copy of the run."
        for name, gain in ranked(evidence)
        if name in WORDS
        and name not in NOT_ADVISED
        and name not in by_chance
        and gain - _unchanged(name, evidence) > GAIN_ADVISED
    ]
    if helpful:
        return "\n".join(filter(None, (*helpful[:3], particular)))
    gain = gains(evidence).get(TRIED.get(cause, ""))
    failed = gain is not None and gain - own < -GAIN_ADVISED
    _, _, rest = CAUSES[cause].advice.partition("\n")
    return particular or (rest if failed else CAUSES[cause].advice)


def _for_settled(evidence: Evidence, particular: str) -> str:
    """Return what to try with a run that has settled; it depends on whether the loss is at its best, and on the tests.

    Where the loss has been lower, or nothing was tried, it is not said that the run is done.
    """
    level, trials = evidence.get(LossLevel), evidence.get(Trials)
    lines = [particular] if particular else []
    if level is not None and level.risen_from_best > ABOVE_BEST:
        lines.append(
            f"go back to the best weights so far, which had a loss of {level.best:.4g}: `ModelCheckpoint(monitor=...)` "
            "keeps them; or bring the loss down to that with a smaller learning rate."
        )
    if trials is None:
        lines.append("another learning rate: none was tried on a copy of this run.")
    return "\n".join(lines) or CAUSES[Cause.SETTLED].advice


def gains(evidence: Evidence) -> dict[str, float]:
    """Return the gain of every trial, by its name."""
    trials, alternatives = evidence.get(Trials), evidence.get(Alternatives)
    curvature = evidence.get(Curvature)
    by_name = {**(trials.gains if trials else {}), **(alternatives.gains if alternatives else {})}
    if curvature is not None and curvature.followed is not None:
        by_name[ALONG_CURVATURE] = curvature.followed
    return by_name | {name: run.gain for name, run in _restarts(evidence).items()}


def ranked(evidence: Evidence) -> list[tuple[str, float]]:
    """Return the name and the gain of every trial, the largest gain first."""
    return sorted(gains(evidence).items(), key=lambda item: -item[1])


def trials_sentence(evidence: Evidence) -> str:
    """Return a sentence with the result of every trial, the best first; empty if there were no trials."""
    trials, restarts = evidence.get(Trials), _restarts(evidence)
    if trials is None:
        return ""
    short_trials = [(WORDS.get(name, name), gain) for name, gain in ranked(evidence) if name not in restarts]
    longer_trials = {
        f"{WORDS[name]} in {run.stopped_at or run.steps} steps": run.gain for name, run in restarts.items()
    }
    on = f"of a copy of the run on {trials.batches} batch{'es' * (trials.batches > 1)}, scored on other batches"
    if short_trials and all(-SMALL_RISE < gain < UNCHANGED for _, gain in short_trials) and not longer_trials:
        names = listed([name for name, _ in short_trials], most=len(short_trials))
        rise = -min(gain for _, gain in short_trials)
        nothing = "changed the loss" if rise < UNCHANGED else f"lowered the loss, and it rose by at most {rise:.0%}"
        return f"nothing {nothing}: {names}, for {trials.steps} steps each {on}."
    results = [f"{name} {change(gain)}" for name, gain in short_trials if not abs(gain) < UNCHANGED]
    unchanged = [name for name, gain in short_trials if abs(gain) < UNCHANGED]
    if unchanged:
        names = listed(unchanged, most=len(unchanged))
        results.append(f"{names} {'leave' if len(unchanged) > 1 else 'leaves'} the loss as it is")
    results += [f"{name} {change(gain)}" for name, gain in longer_trials.items()]
    return f"{trials.steps} steps each {on}: {'; '.join(results)}."


def change(gain: float) -> str:
    """Return what a trial does to the loss, in words.

    >>> change(0.72), change(-0.03), change(0.001), change(-959.0)
    ('lowers the loss by 72%', 'raises the loss by 3%', 'leaves the loss as it is', 'raises the loss 960-fold')

    Args:
        gain: relative fall of the loss; negative if the loss rose, -inf if it is no longer finite.
    """
    if math.isnan(gain) or gain == -math.inf:
        return "makes the loss infinite or NaN"
    if abs(gain) < UNCHANGED:
        return "leaves the loss as it is"
    if gain >= LONG_RATIO:
        return f"lowers the loss by {ratio(gain)} times its value"
    if gain <= -LONG_RATIO:
        return f"raises the loss {ratio(1 - gain)}-fold"
    return f"lowers the loss by {gain:.0%}" if gain > 0 else f"raises the loss by {-gain:.0%}"


def _instruction(name: str, evidence: Evidence) -> str:
    """Return a trial in words, with the code that repeats it."""
    schedule, code = evidence.get(Schedule), HOW_TO.get(name, "")
    if schedule is not None and name in FACTORS:
        rate = schedule.typical if name in RESTARTS.values() else schedule.learning_rate
        code = f"lr={FACTORS[name] * rate:.3g}" if rate else ""
    if schedule is not None and name == RESTARTS["usual_rate"] and schedule.usual:
        code = f"lr={schedule.usual:.3g}"
    return f"{WORDS[name]}, `{code}`" if code else WORDS[name]


def _restarts(evidence: Evidence) -> dict[str, RestartedRun]:
    """Return the runs from new and from the initial weights by their names; version 0.1 knew those with Adam only."""
    restart = evidence.get(Restart)
    if restart is None:
        return {}
    runs = {kind: getattr(restart, kind) for kind in RESTARTS}
    by_name = {RESTARTS[kind]: run for kind, run in runs.items() if run is not None}
    return by_name or {RESTARTS["adam"]: RestartedRun(restart.gain, restart.steps, seeds=restart.seeds)}


def _unchanged(name: str, evidence: Evidence) -> float:
    """Return the gain of the unchanged run, with which that of a trial is compared; never negative.

    For a run from other weights, it is that of going on for as many steps, if it was measured.
    """
    restart, own = evidence.get(Restart), max(0.0, gains(evidence).get("this optimizer", 0.0))
    going_on = restart.going_on_gain if restart is not None and name in RESTARTS.values() else None
    return max(own, going_on or 0.0)


def _steps(name: str, evidence: Evidence) -> int:
    """Return the number of optimizer steps of a trial; 40 if it is unknown."""
    trials, alternatives, restarted = evidence.get(Trials), evidence.get(Alternatives), _restarts(evidence).get(name)
    if restarted is not None:
        return restarted.stopped_at or restarted.steps
    source = alternatives if alternatives is not None and name in alternatives.gains else trials
    return 40 if source is None else source.steps
