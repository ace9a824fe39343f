"""The report as one HTML file with the JavaScript of the TensorBoard plugin and the data; it loads nothing else."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

Document = Mapping[str, Mapping[str, Any]]
"""the parts of a run's document by name, each a JSON object"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'">
<title>{title}</title>
</head>
<body>
<noscript><p>This report needs JavaScript. The file events.jsonl beside it holds the verdicts as text.</p></noscript>
<script type="module">
{module}
await report({runs});
</script>
</body>
</html>
"""


def report_page(runs: Mapping[str, Document]) -> str:
    """Return an HTML page that draws these documents, each under the name of its run."""
    return _PAGE.format(
        title=html.escape(f"Landscape: {', '.join(runs)}"),
        module=_javascript(),
        runs=_json_for_script(runs),
    )


def page_in_iframe(page: str, title: str, height: int = 720) -> str:
    """Return an iframe, for example for a notebook, in which the page can run scripts and do nothing else."""
    return (
        f'<iframe srcdoc="{html.escape(page, quote=True)}" sandbox="allow-scripts" title="{html.escape(title)}" '
        f'style="width:100%;height:{height}px;border:0;border-radius:8px"></iframe>'
    )


@cache
def _javascript() -> str:
    return files("lightning_landscape").joinpath("tensorboard_plugin/static/landscape.js").read_text(encoding="utf-8")


def _json_for_script(runs: Mapping[str, Document]) -> str:
    """Return JSON for a script element, with ``<``, ``>``, ``&`` and non-ASCII characters escaped."""
    text = json.dumps(runs, allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
