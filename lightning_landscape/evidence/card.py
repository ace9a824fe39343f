"""A verdict as HTML, for a notebook: it needs no script and no style sheet, and is readable on light and on dark."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

from lightning_landscape.evidence.causes import CAUSES, Tone
from lightning_landscape.evidence.message import sections_of, since

if TYPE_CHECKING:
    from lightning_landscape.evidence.verdict import Verdict

MARKS: dict[Tone, tuple[str, str]] = {
    "alarm": ("▲", "#d55e00"),
    "unsure": ("◆", "#b8860b"),
    "quiet": ("◐", "#0072b2"),
    "good": ("●", "#009e73"),
}
"""a sign and a colour for each tone; both, since some people cannot tell the colours apart"""


def card(verdict: Verdict) -> str:
    """Return the card of a verdict: its title, what to try, why, and what was tried."""
    tone: Tone = "alarm" if verdict.stuck else CAUSES[verdict.cause].tone
    mark, colour = MARKS["unsure" if tone == "alarm" and not verdict.stuck else tone]
    title = html.escape(verdict.title[:1].upper() + verdict.title[1:])
    parts = [
        f'<div style="font-weight:600"><span style="color:{colour}">{mark}</span> {title}</div>',
        f'<div style="opacity:.75">Reported at step {verdict.step}{since(verdict).replace(" since", ", since")} '
        f"[{code_link(verdict)}]</div>",
    ]
    parts += [_section(word, lines) for word, lines in sections_of(verdict)]
    style = f"border-left:4px solid {colour};padding:.25em .9em;max-width:60em;line-height:1.45"
    return f'<div style="{style}">{"".join(parts)}</div>'


def code_link(verdict: Verdict) -> str:
    """Return the code as a link to the section of the documentation that explains it; the plain code without one."""
    code, link = html.escape(verdict.code), link_to(verdict)
    return f'<a href="{html.escape(link, quote=True)}" target="_blank" rel="noopener">{code}</a>' if link else code


def link_to(verdict: Verdict) -> str:
    """Return the address of the section that explains the verdict; empty if the package declares no documentation."""
    address = documentation()
    section = "" if verdict.finding is None else f"#{re.sub('[^a-z0-9_]+', '-', verdict.code.lower())}"
    return f"{address}/causes/{verdict.cause}/{section}" if address else ""


@cache
def documentation() -> str:
    """Return the address of the documentation, as the installed package declares it; empty if it declares none."""
    try:
        urls = metadata.metadata("lightning-landscape").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:
        return ""
    named = dict(str(url).split(", ", 1) for url in urls if ", " in str(url))
    return named.get("Documentation", "").rstrip("/")


def _section(word: str, lines: Sequence[str]) -> str:
    if word == "Try" and len(lines) > 1:
        items = "".join(f"<li>{_text(line.partition('. ')[2])}</li>" for line in lines)
        return f'<div style="margin-top:.5em"><b>Try</b><ol style="margin:0">{items}</ol></div>'
    return f'<div style="margin-top:.5em"><b>{word}</b> {"<br>".join(map(_text, lines))}</div>'


def _text(line: str) -> str:
    """Return a line as HTML; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(line))
