"""What was tried on a copy of the weights, compared with going on as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lightning_landscape.captions.caption import Caption
from lightning_landscape.evidence import Alternatives, Curvature, Evidence, Restart, RestartedRun, Trials
from lightning_landscape.evidence.trial_words import TRIAL_WORDS

GOING_ON = "going on as it is"
"""the name of the trials that change nothing, with which the others are compared"""
TRIALS = {**TRIAL_WORDS, "this optimizer": GOING_ON}
"""every trial of `Trials` and `Alternatives` in words"""
LINE_SEARCH = TRIALS["line search"]
"""the name of the trial that cannot be repeated in training, so it is named only if nothing else helps"""
RESTARTS = {
    "going_on": GOING_ON,
    "own": "new weights",
    "adam": "new weights, Adam at 0.01",
    "tenth": "initial weights, a tenth of the rate",
    "hundredth": "initial weights, a hundredth of the rate",
    "usual_rate": "the rate before the schedule ended",
}
"""every run of `Restart` in words, by its field"""
UNCHANGED = 0.005
"""change of the loss, over its height, that is called no change, since it would be rounded to 0%"""
CLEAR = 0.05
"""gain over that of going on from which on a trial is said to lower the loss"""


@dataclass(frozen=True)
class TrialBar:
    """The result of one trial."""

    name: str
    """what was tried, in words"""
    gain: float
    """relative fall of the loss on batches that the trial did not use; negative if it rose, -inf if it is not finite"""
    result: str
    """the same in words"""


@dataclass(frozen=True)
class TrialGroup:
    """Trials that took equally many steps, so that they can be compared."""

    heading: str
    """how many optimizer steps each trial takes, in words"""
    going_on: float | None
    """gain of going on as it is for as many steps; None if it was not measured"""
    bars: tuple[TrialBar, ...]
    """all trials, the largest gain first, going on among them"""

    @property
    def baseline(self) -> float:
        """Gain of going on as it is; 0 if the loss rises or it was not measured."""
        return max(0.0, self.going_on or 0.0)


@dataclass(frozen=True)
class TrialChart:
    """All trials of a diagnosis, and what they show."""

    caption: Caption
    groups: tuple[TrialGroup, ...]
    """short trials from the present weights, and longer runs from new or initial weights"""


def trial_chart(evidence: Evidence) -> TrialChart | None:
    """Return what was tried on a copy of the weights; None if nothing was."""
    groups = tuple(group for group in (_short_trials(evidence), _restarts(evidence)) if group is not None)
    return TrialChart(_caption(groups), groups) if groups else None


def result(gain: float) -> str:
    """Return in words how the loss of a trial differs from the present one.

    >>> result(0.72), result(-0.03), result(0.001), result(-959.0), result(-math.inf)
    ('72% lower', '3% higher', 'unchanged', '960 times as high', 'not finite')
    """
    if not math.isfinite(gain):
        return "not finite"
    if abs(gain) < UNCHANGED:
        return "unchanged"
    if gain > 0:
        return f"{gain:.0%} lower" if gain <= 1 else "more than 100% lower"
    if gain > -1:
        return f"{-gain:.0%} higher"
    ratio = 1 - gain
    return f"{ratio:,.1f} times as high" if ratio < 10 else f"{ratio:,.0f} times as high" if ratio < 1e6 else "huge"


def _short_trials(evidence: Evidence) -> TrialGroup | None:
    trials, alternatives, curvature = evidence.get(Trials), evidence.get(Alternatives), evidence.get(Curvature)
    if trials is None:
        return None
    gains = dict(trials.gains)
    if alternatives is not None and alternatives.steps == trials.steps:
        gains |= alternatives.gains
    named = {TRIALS.get(name, name): gain for name, gain in gains.items()}
    if curvature is not None and curvature.followed is not None:
        named["a step along negative curvature"] = curvature.followed
    return _group(named, f"{trials.steps:,} steps each")


def _restarts(evidence: Evidence) -> TrialGroup | None:
    restart = evidence.get(Restart)
    if restart is None:
        return None
    runs: dict[str, RestartedRun | None] = {words: getattr(restart, field) for field, words in RESTARTS.items()}
    gains = {words: run.gain for words, run in runs.items() if run is not None}
    if not gains.keys() - {GOING_ON}:
        return None
    longest = max(run.steps for run in runs.values() if run is not None)
    return _group(gains, f"up to {longest:,} steps")


def _group(gains: Mapping[str, float], heading: str) -> TrialGroup | None:
    bars = [TrialBar(name, -math.inf if math.isnan(gain) else gain, result(gain)) for name, gain in gains.items()]
    if not bars:
        return None
    return TrialGroup(heading, gains.get(GOING_ON), tuple(sorted(bars, key=lambda bar: -bar.gain)))


def _caption(groups: tuple[TrialGroup, ...]) -> Caption:
    """Return the trial that lowers the loss most beyond going on, or that none does."""
    details = ("tried on a copy of the weights", "scored on other batches")
    helpful = [
        (bar.name != LINE_SEARCH, bar.gain - group.baseline, bar, group)
        for group in groups
        for bar in group.bars
        if bar.name != GOING_ON and bar.gain - group.baseline > CLEAR
    ]
    if not helpful:
        return Caption("Nothing that was tried lowers the loss clearly more than going on as it is", details)
    _, _, best, group = max(helpful, key=lambda trial: trial[:2])
    going_on = () if group.going_on is None else (f"{GOING_ON}: {result(group.going_on)}",)
    return Caption(f"{best.name[:1].upper()}{best.name[1:]}: loss {best.result}", (*going_on, *details))
