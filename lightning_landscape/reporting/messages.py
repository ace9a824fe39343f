"""A verdict in words: the warning, the card in TensorBoard's Text tab, and how a warning gets past a progress bar."""

from __future__ import annotations

import sys
import warnings
from typing import Any

from lightning_landscape.errors import DivergenceWarning, LandscapeWarning, PlateauWarning
from lightning_landscape.evidence import Cause, Evidence, Verdict, short_name
from lightning_landscape.reporting.terminal import past_the_bar

NO_STEPS = (
    "[LL101] this Trainer has taken no optimizer step that can be seen (does the optimizer step inside the backward "
    "pass?), so gradient norms and updates are not watched; the trend of the loss is watched by batches instead."
)
"""said of a Trainer whose steps nobody can see"""
OF_A_COPY = "a copy of this monitor watched this run; the monitor itself has watched none"
"""a note in the report of a monitor that answers for one of its copies"""
NOT_JUDGED = "not judged: several optimizers, whose losses need not fall"
"""a note in the report of a run of which no verdict is reached unless it diverges"""


def message(verdict: Verdict, code: str | None = None) -> str:
    """The text of the warning: what and where, why, what to try; one line each."""
    since = "" if verdict.since >= verdict.step else f" since step {verdict.since}"
    lines = [f"[{code or verdict.code}] step {verdict.step}: {verdict.title}{since}."]
    lines += [f"  {line}" for line in verdict.reason.splitlines()]
    return "\n".join([*lines, f"  Try: {verdict.advice}"] if verdict.advice else lines)


def category(verdict: Verdict) -> type[LandscapeWarning]:
    """The kind of warning that announces this verdict."""
    return DivergenceWarning if verdict.cause is Cause.DIVERGED else PlateauWarning


def card(verdict: Verdict) -> str:
    """The verdict as Markdown, with a table of the numbers behind it."""
    tone = "**Stuck**" if verdict.stuck else "For information"
    lines = [
        f"### {verdict.title.capitalize()}",
        f"{tone}: `{verdict.cause}` [{verdict.code}], said at step {verdict.step}, since step {verdict.since}.",
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
    """The scalar fields of every reading as (name, value), in the order in which they were taken."""
    return [
        (f"{short_name(reading)}.{name}", _number(value))
        for reading, fields in evidence.to_dict().items()
        for name, value in fields.items()
        if value is not None and not isinstance(value, (list, dict))
    ]


def announce(text: str, kind: type[Warning]) -> None:
    """Raise a real warning, on a line of its own where a tqdm progress bar is being drawn."""
    with past_the_bar(sys.stderr):
        warnings.warn(text, kind, stacklevel=2)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")
