"""What the loss of a log shows, in sentences."""

from __future__ import annotations

from lightning_landscape._text import listed, percent
from lightning_landscape.evidence import Cause
from lightning_landscape.logs.judgement import JudgedLoss, Stretch, probable_fall

STATES = {
    "falling": "falls",
    "unclear": "noise hides whether it falls",
    "still": "stands still",
    "diverged": "diverged",
}
"""each state in a few words, for a table"""


def title(judged: JudgedLoss) -> str:
    """Return what the loss does at the end of the log, in one sentence."""
    level, since = judged.level, _since(judged)
    if judged.divergence is not None:
        now = f"is {judged.divergence.now}" if not judged.divergence.finite else "grows without bound"
        return f"The loss has diverged: it {now}{since}."
    if judged.state == "falling":
        return f"The loss falls: it came from {level.began:.4g} to {level.now:.4g}."
    if judged.state == "unclear":
        seems = f" It seems to stand still{since}." if judged.since is not None else ""
        return f"Noise hides whether the loss still falls; it came from {level.began:.4g} to {level.now:.4g}.{seems}"
    where = "near its start" if judged.alarm else f"after it came from {level.began:.4g} to {level.now:.4g}"
    return f"The loss stands still{since}, {where}."


def sentences(judged: JudgedLoss) -> list[str]:
    """Return the reasons and the numbers behind the title."""
    if judged.divergence is not None:
        start = f"{judged.divergence.start:.4g}"
        return [f"It started at {start}; the last value that counts is {judged.divergence.now:.4g}."]
    lines = [_tested(judged), pace(judged)]
    if judged.cause is Cause.SCHEDULED_END:
        lines.append("The learning rate has come to the end of its schedule, which explains it.")
    elif judged.state == "still" and not judged.alarm:
        lines.append("Its losses alone do not tell whether the run has learned all it can or is held back.")
    if earlier := [stretch for stretch in judged.stretches if stretch.until is not None]:
        lines.append(f"Before that it stood still {listed([_between(s) for s in earlier[-4:]], 4)}.")
    return lines


def _tested(judged: JudgedLoss) -> str:
    """Return what the test found; where only the weaker one shows that the loss stands still, with its confidence."""
    trend = judged.trend
    if judged.state != "still" or trend.stalled or not trend.level:
        return trend.sentence().replace("The training loss", "The loss").replace("the training loss", "the loss")
    most, noticed = probable_fall(trend) / trend.level, max(trend.tolerance, trend.margin / trend.level)
    fall = f"fell by less than {percent(most)}" if most > 0 else "did not fall"
    return (
        f"With 95% confidence, the loss {fall} in {trend.window:,} steps; a fall of {percent(noticed)} would have been "
        "certain."
    )


def pace(judged: JudgedLoss) -> str:
    """Return how many steps a further fall by 1% takes."""
    usual, fastest, slowest = judged.steps_to_fall
    if fastest is None:
        return "Nothing in these losses shows that it will fall further."
    if judged.state == "falling" and usual is not None:
        most = "" if slowest is None else f" (between {_steps(fastest)} and {_steps(slowest)})"
        return f"At this pace, a further 1% takes about {_steps(usual)} step{_plural(usual)}{most}."
    return f"A further 1% takes at least {_steps(fastest)} step{_plural(fastest)}, as far as the noise shows."


def since_in_words(judged: JudgedLoss) -> str:
    """Return the step since which the present state holds, for a table; "start" for the first one, "" for none."""
    if judged.since is None:
        return ""
    return "start" if judged.since <= judged.first_step else f"step {judged.since:,.0f}"


def _since(judged: JudgedLoss) -> str:
    words = since_in_words(judged)
    return {"": "", "start": " from the start"}.get(words, f" since {words}")


def _between(stretch: Stretch) -> str:
    stuck = ", and was stuck" if stretch.stuck else ""
    return f"from step {stretch.since:,.0f} to {stretch.until:,.0f} (at {stretch.loss:.4g}{stuck})"


def _steps(number: float) -> str:
    """Return a number of steps with two significant digits, at least 1."""
    if number >= 1e9:
        return "a billion or more"
    return f"{max(1, int(float(f'{number:.2g}'))):,}"


def _plural(number: float) -> str:
    """Return the ending of "steps" after this number."""
    return "" if _steps(number) == "1" else "s"
