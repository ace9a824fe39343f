"""The texts of verdicts, findings and runs, for warnings, for TensorBoard's Text tab and for the end of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_landscape._text import capitalised
from lightning_landscape.diagnosis.findings.parts import is_said_at_once
from lightning_landscape.errors import DivergenceWarning, LandscapeWarning, PlateauWarning
from lightning_landscape.evidence import CAUSES, Cause, Divergence, Finding, LossLevel, Players, Verdict
from lightning_landscape.evidence.card import link_to
from lightning_landscape.evidence.message import message as message
from lightning_landscape.reporting.numbers import evidence_rows

NO_STEPS = (
    "[LL101] No optimizer step of this Trainer could be observed; perhaps the optimizer steps inside the backward "
    "pass. Gradient norms and weight updates are therefore not measured, and the loss is followed batch by batch."
)
"""the warning for a run in which Lightning's hooks show no optimizer step"""
OF_A_COPY = "this report is about a run that a copy of this monitor watched; the monitor itself has watched no run"
"""a note in the report of a monitor that Lightning has copied"""
NOT_JUDGED = "not judged: the run has several optimizers, whose losses need not fall"
"""a note in the report of a run with several optimizers, which gets no verdict unless it diverges"""
JUDGED_BY_METRIC = "the run is judged by its declared metrics, and not by its training loss"
"""a note in the report of a run whose loss says nothing, and which has a declared metric"""
NO_DETECTORS = "not judged: the monitor has no detectors"
"""a note in the report of a run whose monitor reaches no verdicts"""
NO_LOSS = "not judged: no training loss was seen; does `training_step` return the loss?"
"""a note in the report of a run without a loss"""
FALLEN = 0.1
"""share of its height by which the loss must have fallen, since a verdict or in all, for that to be said"""
TOO_SHORT = "too short to judge: the trend of the loss could not be tested yet"
"""a note in the report of a run that ended before the trend of its loss could be tested"""


def finding_message(finding: Finding, step: int) -> str:
    """Return the text of the warning of a mistake that is certain: what was found at this step, and what to do."""
    return f"[{finding.code}] step {step}: {finding.sentence}\n  Try: {capitalised(finding.advice)}"


def finding_markdown(finding: Finding) -> str:
    """Return the finding as Markdown."""
    title = capitalised(finding.words)
    return f"### {title}\n\n[{finding.code}] {finding.sentence}\n\n**Try:** {capitalised(finding.advice)}"


def category(verdict: Verdict) -> type[LandscapeWarning]:
    """Return the category of the warning for this verdict."""
    return DivergenceWarning if verdict.cause is Cause.DIVERGED else PlateauWarning


def verdict_markdown(verdict: Verdict) -> str:
    """Return the verdict as Markdown, with a table of the numbers in its evidence."""
    alarm = "**Alarm**" if verdict.stuck else "For information"
    link = link_to(verdict)
    code = f"[[{verdict.code}]]({link})" if link else f"[{verdict.code}]"
    since = "from the start" if verdict.since <= 0 else f"since step {verdict.since}"
    if verdict.evidence.get(Players) is None:
        what = "it holds" if verdict.finding and verdict.finding.title else "the loss has not fallen"
        since = f"{what} since step {verdict.since}"
    lines = [
        f"### {capitalised(verdict.title)}",
        f"{alarm}: `{verdict.cause}` {code}. Reported at step {verdict.step}; {since}.",
    ]
    if len(verdict.tries) > 1:
        items = (f"{i}. {capitalised(line)}" for i, line in enumerate(verdict.tries, 1))
        lines += ["**Try:**", "\n".join(items)]
    elif verdict.tries:
        lines.append(f"**Try:** {capitalised(verdict.tries[0])}")
    lines += [f"**Why:** {verdict.reason}"] if verdict.reason else []
    lines += [f"**Tried:** {capitalised(verdict.tried)}"] if verdict.tried else []
    rows = evidence_rows(verdict.evidence)
    if rows:
        table = ["| measured | value |", "|---|---|", *(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows)]
        lines.append("\n".join(table))
    return "\n\n".join(lines)


def headline(steps: int, level: LossLevel | None, verdicts: Sequence[Verdict], notes: Sequence[str]) -> str:
    """Return a few sentences on one line: how long the run was watched, its loss, and whether there were alarms."""
    if steps == 0:
        return "No optimizer step was watched."
    sentences = [f"{steps} optimizer step{'s were' if steps > 1 else ' was'} watched."]
    if level is not None:
        sentences.append(f"The training loss went from {level.began:.4g} to {level.now:.4g}.")
    broken = next((d for v in verdicts if (d := v.evidence.get(Divergence)) is not None and not d.finite), None)
    if broken is not None:
        subject = "The training loss" if level is None else "It"
        sentences.append(f"{subject} was {broken.value} at step {broken.step:,}.")
    alarms = sum(verdict.stuck for verdict in verdicts)
    if alarms:
        sentences.append(f"{alarms} alarm{'s were' if alarms > 1 else ' was'} raised.")
    elif TOO_SHORT in notes:
        sentences.append("The run was too short to judge.")
    elif _not_judged(notes):
        sentences.append("The run was not judged.")
    elif hardly_fallen := _hardly_fallen(level, verdicts, notes):
        sentences.append(f"No alarm was raised, but {hardly_fallen}.")
    elif level is not None and not _findings(notes) and all(map(_is_quiet, verdicts)):
        sentences.append("The run is healthy: no alarm was raised.")
    else:
        sentences.append("No alarm was raised.")
    return " ".join(sentences)


def has_fallen_since(verdict: Verdict, level: LossLevel | None) -> bool:
    """Return whether the loss has clearly fallen since a verdict, which then says nothing of the present any more.

    The fall of a loss that runs down without end shows nothing.
    """
    before = verdict.evidence.get(LossLevel)
    if level is None or before is None or level.runs_down:
        return False
    return level.is_below(before.now, FALLEN)


def fallen_since(verdict: Verdict, level: LossLevel | None) -> str:
    """Return a sentence that the loss has fallen since this verdict; empty if it has not."""
    before = verdict.evidence.get(LossLevel)
    if level is None or before is None or not has_fallen_since(verdict, level):
        return ""
    return f"Since then the loss has fallen from {before.now:.4g} to {level.now:.4g}."


def closing_line(
    steps: int, level: LossLevel | None, verdicts: Sequence[Verdict], notes: Sequence[str], written: Path | None
) -> str:
    """Return the one line that is printed at the end of a run without an alarm.

    It says that there was no alarm and what was last said of the loss, or else why the run was not judged, how many
    findings were noted, and where the report is.
    """
    holds = bool(verdicts) and not has_fallen_since(verdicts[-1], level)
    latest = f"; from step {verdicts[-1].since:,}: {verdicts[-1].title}" if holds else ""
    said = f"no alarm in {steps:,} step{'s' * (steps != 1)}{latest}"
    if TOO_SHORT in notes:
        said = f"too short to judge ({steps:,} step{'s' * (steps != 1)})"
    elif reason := _not_judged(notes):
        said = reason
    loss = "" if level is None else f"; the training loss went from {level.began:.4g} to {level.now:.4g}"
    if hardly_fallen := _hardly_fallen(level, verdicts, notes):
        loss += f": {hardly_fallen}"
    untrained = [note.partition("] ")[2] for note in notes if is_said_at_once(note)]
    noted = len(_findings(notes)) - len(untrained)
    look = f" {noted} finding{'s' * (noted != 1)} noted: `print(monitor.report)`." if noted else ""
    look = "".join(f" {note}" for note in untrained) + look
    report = "" if written is None else f" Report: {written}"
    return f"lightning_landscape: {said}{loss}.{look}{report}"


def _hardly_fallen(level: LossLevel | None, verdicts: Sequence[Verdict], notes: Sequence[str]) -> str:
    """Return that the loss of a run without a verdict has not clearly fallen; empty if it has, or does not count."""
    if level is None or verdicts or JUDGED_BY_METRIC in notes or level.is_below(level.began, FALLEN):
        return ""
    return "the loss has not clearly fallen"


def _is_quiet(verdict: Verdict) -> bool:
    """Return whether a verdict says that nothing is wrong."""
    return CAUSES[verdict.cause].tone == "quiet" and not (verdict.finding and verdict.finding.title)


def _findings(notes: Sequence[str]) -> list[str]:
    """Return the notes on findings, which begin with the code of a cause."""
    return [note for note in notes if note.startswith("[LL2")]


def _not_judged(notes: Sequence[str]) -> str:
    """Return the note that says why the run was not judged; empty if there is none."""
    return next((note for note in notes if note.startswith("not judged: ")), "")


def _cell(text: str) -> str:
    """Return the text such that it fits into a cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
