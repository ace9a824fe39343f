"""The report as one HTML file with the JavaScript of the TensorBoard plugin and the data; it loads nothing else."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

from lightning_landscape.reporting.javascript import one_script

Document = Mapping[str, Mapping[str, Any]]
"""the parts of a run's document by name, each a JSON object"""

COMPLETE = 2
"""runs whose documents are complete in one page; of more runs, only the latest lines are kept, to keep it small"""
LINES = 4
"""lines from each anchor that are then kept"""
NAMED = 3
"""runs whose names stand in the title of a page; of more, only their number does"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
</head>
<body>
<noscript><p>This report needs JavaScript. The file events.jsonl beside it holds the verdicts as text.</p></noscript>
<script type="module">
{module}
await report({runs}, {times});
</script>
</body>
</html>
"""


def report_page(
    runs: Mapping[str, Document], *, written: float | None = None, seen: Mapping[str, float] | None = None
) -> str:
    """Return an HTML page that draws these documents, each under the name of its run.

    Args:
        runs: the document of each run by its name; the page shows those with an alarm first.
        written: when the page is written, in seconds since 1970. A run that is still running then is called so; without
            this time, the page does not say until when that holds.
        seen: when each run wrote its last record, in seconds since 1970; `written` for those that are left out.
    """
    names = list(runs)
    title = ", ".join(names) if len(names) <= NAMED else f"{len(names)} runs"
    return _PAGE.format(
        title=html.escape(f"Landscape: {title}"),
        module=one_script(),
        runs=_json_for_script(runs if len(names) <= COMPLETE else {name: _thinned(runs[name]) for name in names}),
        times=_json_for_script({"now": written, "seen": dict(seen or {})}),
    )


def page_in_iframe(page: str, title: str, height: int = 720) -> str:
    """Return an iframe, for example for a notebook, in which the page can run scripts, save files and open links."""
    return (
        f'<iframe srcdoc="{html.escape(page, quote=True)}" sandbox="allow-scripts allow-downloads allow-popups" '
        f'title="{html.escape(title)}" style="width:100%;height:{height}px;border:0;border-radius:8px"></iframe>'
    )


def _thinned(document: Document) -> Document:
    """Return the document with only the latest lines from each anchor."""
    lines = document.get("lines", {})
    latest = {name: value[-LINES:] if isinstance(value, list) else value for name, value in lines.items()}
    return {**document, "lines": latest} if lines else document


def _json_for_script(content: Mapping[str, Any]) -> str:
    """Return JSON for a script element, with ``<``, ``>``, ``&`` and non-ASCII characters escaped."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
