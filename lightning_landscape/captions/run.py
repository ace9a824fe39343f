"""What the loss of a run does, and what was said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lightning_landscape.captions.caption import Caption
from lightning_landscape.evidence import Cause, MetricTrend, Verdict

STATES: Mapping[str, str] = {
    "learning": "learning",
    "stalled": "loss stands still",
    "not_judged": "not judged",
    **{cause.value: cause.value.replace("_", " ") for cause in Cause},
    Cause.NOT_UPDATING.value: "weights not updated",
    Cause.NOTHING_TO_LEARN.value: "inputs do not help",
    Cause.SCHEDULED_END.value: "schedule has ended",
    Cause.UNDECIDED.value: "cause undecided",
}
"""every state of a run in a few words, for the band below its loss; the keys are those of `evidence.TONES`"""


def run_caption(
    state: str, verdicts: Sequence[Verdict], steps: Sequence[int], losses: Sequence[float | None]
) -> Caption:
    """Return the state of the run and the alarms so far.

    Args:
        state: the latest state of the run, one of `evidence.TONES`.
        verdicts: all verdicts of the run; those on metrics only count as alarms.
        steps: shape (n,), optimizer steps; at least one.
        losses: shape (n,), the losses there; None or NaN for those that are not finite.
    """
    finite = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    course = f"training loss from {finite[0]:.3g} to {finite[-1]:.3g}" if finite else "training loss"
    alarms = sum(verdict.stuck for verdict in verdicts)
    details = (f"to step {steps[-1]:,}", f"{alarms} alarm{'s' * (alarms != 1)}" if alarms else "no alarm")
    if state == "not_judged":
        return Caption(f"{_capitalised(course)}, not judged", details[:1])
    if state == "stalled":
        return Caption("The training loss stands still", (course, *details))
    named = [one for one in verdicts if one.cause.value == state and one.evidence.get(MetricTrend) is None]
    if not named:
        return Caption(_capitalised(course), details)
    verdict = named[-1]
    since = f"since step {verdict.since:,}" if verdict.since > 0 else "from the start"
    reported = f"reported at step {verdict.step:,}"
    return Caption(f"{_capitalised(verdict.title)} {since}", (reported, course, *details))


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
