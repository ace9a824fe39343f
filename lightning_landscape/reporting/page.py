"""The report as one HTML file: the Landscape tab's own module and the data, and no request to anywhere."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

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
<noscript><p>This report is drawn by JavaScript; the same in words stands in events.jsonl beside it.</p></noscript>
<script type="module">
{module}
await report({runs});
</script>
</body>
</html>
"""


def report_page(runs: Mapping[str, Mapping[str, Any]]) -> str:
    """The page for these documents, by the names under which they are to be shown."""
    return _PAGE.format(
        title=html.escape(f"Landscape: {', '.join(runs)}"),
        module=_module(),
        runs=_literal(runs),
    )


def framed(page: str, title: str, height: int = 720) -> str:
    """The page inside another one, such as a notebook, in a frame that can do nothing but draw."""
    return (
        f'<iframe srcdoc="{html.escape(page, quote=True)}" sandbox="allow-scripts" title="{html.escape(title)}" '
        f'style="width:100%;height:{height}px;border:0;border-radius:8px"></iframe>'
    )


@cache
def _module() -> str:
    return files("lightning_landscape").joinpath("tensorboard_plugin/static/landscape.js").read_text(encoding="utf-8")


def _literal(content: Any) -> str:
    """JSON that neither ends the script element nor a line of it."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
