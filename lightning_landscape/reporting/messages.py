"""The texts of verdicts, for warnings and for TensorBoard's Text tab, and how warnings are raised."""

from __future__ import annotations

import sys
import warnings

from lightning_landscape.errors import DivergenceWarning, LandscapeWarning, PlateauWarning
from lightning_landscape.evidence import Cause, Evidence, Finding, Verdict, short_name
from lightning_landscape.reporting.terminal import progress_bar_cleared

NO_STEPS = (
    "[LL101] No optimizer step of this Trainer could be observed; perhaps the optimizer steps inside the backward "
    "pass. Gradient norms and weight updates are therefore not measured, and the loss is followed batch by batch."
)
"""the warning for a run in which Lightning's hooks show no optimizer step"""
OF_A_COPY = "this report is about a run that a copy of this monitor watched; the monitor itself has watched no run"
"""a note in the report of a monitor that Lightning has copied"""
NOT_JUDGED = "the run is not judged, because it has several optimizers, whose losses need not fall"
"""a note in the report of a run with several optimizers, which gets no verdict unless it diverges"""


def message(verdict: Verdict, code: str | None = None) -> str:
    """Return the text of the warning: a line each for the step and the cause, the reasons, and the advice."""
    since = "" if verdict.since >= verdict.step else f" since step {verdict.since}"
    lines = [f"[{code or verdict.code}] step {verdict.step}: {verdict.title}{since}."]
    lines += [f"  {line}" for line in verdict.reason.splitlines()]
    return "\n".join([*lines, f"  Try: {verdict.advice}"] if verdict.advice else lines)


def finding_message(finding: Finding, step: int) -> str:
    """Return the text of the warning of a mistake that is certain: what was found at this step, and what to do."""
    return f"[{finding.code}] step {step}: {finding.sentence}\n  Try: {finding.advice}"


def finding_markdown(finding: Finding) -> str:
    """Return the finding as Markdown."""
    title = finding.name.replace("-", " ").capitalize()
    return f"### {title}\n\n[{finding.code}] {finding.sentence}\n\n**Try:** {finding.advice}"


def category(verdict: Verdict) -> type[LandscapeWarning]:
    """Return the category of the warning for this verdict."""
    return DivergenceWarning if verdict.cause is Cause.DIVERGED else PlateauWarning


def verdict_markdown(verdict: Verdict) -> str:
    """Return the verdict as Markdown, with a table of the numbers in its evidence."""
    alarm = "**Alarm**" if verdict.stuck else "For information"
    lines = [
        f"### {verdict.title.capitalize()}",
        f"{alarm}: `{verdict.cause}` [{verdict.code}]. The verdict was reached at step {verdict.step} and holds since "
        f"step {verdict.since}.",
        verdict.reason,
    ]
    if verdict.advice:
        lines.append(f"**Try:** {verdict.advice}")
    rows = evidence_rows(verdict.evidence)
    if rows:
        table = ["| reading | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
        lines.append("\n".join(table))
    return "\n\n".join(lines)


def evidence_rows(evidence: Evidence) -> list[tuple[str, str]]:
    """Return every single number or text of the readings as (name, value), in the order of the measurements."""
    return [
        (f"{short_name(reading)}.{name}", _cell(value))
        for reading, fields in evidence.to_dict().items()
        for name, value in fields.items()
        if value is not None and not isinstance(value, (list, dict))
    ]


def announce(text: str, kind: type[Warning]) -> None:
    """Raise a warning of this category, on a line of its own above any progress bar of tqdm."""
    with progress_bar_cleared(sys.stderr):
        warnings.warn(text, kind, stacklevel=2)


def _cell(value: float | str) -> str:
    """Return the value for a cell of a Markdown table."""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")
