"""The first screen of the README: its terminal output and its picture, from the runs of ``examples/quickstart.py``.

Both are made by the runs of ``make demo``. The picture's file has the verdicts of the run that it shows, so that a test
can tell whether run and picture still agree.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.pictures.browser import write_hero
from lightning_landscape import read_events

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SHOWN = "stuck"
"""the run that the picture shows"""
KINDS = (SHOWN, "miswired")
"""the runs whose warnings the README shows"""
COLUMNS = 100
"""columns of the terminal"""
# The demo as it is, but for the effort: "auto" allows less work on a slow machine, and the README is the same on all.
PROGRAM = """
import functools, sys, quickstart
quickstart.LandscapeMonitor = functools.partial(quickstart.LandscapeMonitor, effort="standard")
quickstart.main(sys.argv[1:])
"""
WARNING = re.compile(r"^\w+Warning: \[LL.*(?:\n  .*)*", re.MULTILINE)
BLOCK = re.compile(r"(<!-- printed by the demo: (\w+) -->\n+```text\n)(.*?)(\n```)", re.DOTALL)
TOKEN = re.compile(r"[^\W\d]\w*|\d+(?:\.\d+)?(?:e[+-]?\d+)?|[^\w\s]")
"""a word, which may end with digits as a code does, a number, or a sign"""
KEY = "verdicts"
"""the key of the verdicts in the picture's file"""


@dataclass(frozen=True)
class Demo:
    """What the demo has printed and written."""

    warnings: dict[str, str]
    """the first warning of each run, as printed"""
    verdicts: str
    """the verdicts of the run that is shown, as JSON: cause, steps, reason and advice"""
    report: Path
    """the report of the run that is shown"""


def run_demo(out: Path) -> Demo:
    """Train those runs of the demo that the README shows, with their logs in this folder.

    Raises:
        RuntimeError: if the demo fails, with what it has printed.
    """
    path = os.pathsep.join([str(ROOT / "examples"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(out), *KINDS],
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": str(COLUMNS), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    if process.returncode:
        raise RuntimeError(f"the demo has failed:\n{process.stdout}")
    parts = re.split(r"^=== (\w+) ===$", process.stdout, flags=re.MULTILINE)
    printed = dict(zip(parts[1::2], parts[2::2], strict=False))
    found = {kind: WARNING.search(printed[kind]) for kind in KINDS}
    folder = out / SHOWN / "version_0" / "landscape"
    return Demo(
        {kind: match[0] for kind, match in found.items() if match},
        _verdicts(folder / "events.jsonl"),
        folder / "landscape_report.html",
    )


def shown_warnings(text: str) -> dict[str, str]:
    """Return the warnings that this text of a README shows, by the names of their runs."""
    return {match[2]: match[3] for match in BLOCK.finditer(text)}


def shown_verdicts(picture: Path) -> str:
    """Return the verdicts of the run that this picture shows; empty if its file does not have them."""
    with Image.open(picture) as image:
        return str(image.info.get(KEY, ""))


def differences(shown: str, printed: str, tolerance: float = 0.2) -> list[str]:
    r"""Return where two texts differ: in their words, or in a number by more than this share.

    Numbers may differ a little, since processors round differently. Line breaks may lie elsewhere for the same reason.

    >>> differences("no gain in 90 steps", "no gain in\n  92 steps")
    []
    >>> differences("no gain in 90 steps", "a gain in 190 steps")
    ["'no' is now 'a'", "'90' is now '190'"]
    """
    before, now = (TOKEN.findall(text) for text in (shown, printed))
    if len(before) != len(now):
        return [f"{shown!r} is now {printed!r}"]
    return [f"{a!r} is now {b!r}" for a, b in zip(before, now, strict=True) if a != b and not _close(a, b, tolerance)]


def write_readme(folder: Path) -> None:
    """Write the terminal output into the README, and its picture into this folder."""
    with tempfile.TemporaryDirectory() as out:
        demo = run_demo(Path(out))
        write_hero(demo.report, folder / "hero.png", {KEY: demo.verdicts})
    text = README.read_text(encoding="utf-8")
    README.write_text(BLOCK.sub(lambda m: f"{m[1]}{demo.warnings[m[2]]}{m[4]}", text), encoding="utf-8")


def _verdicts(events: Path) -> str:
    keys = ("cause", "step", "since", "reason", "advice")
    verdicts: list[Any] = [event for event in read_events(events) if event["event"] == "verdict"]
    return json.dumps([{key: verdict[key] for key in keys} for verdict in verdicts], ensure_ascii=False, indent=1)


def _close(a: str, b: str, tolerance: float) -> bool:
    try:
        x, y = float(a), float(b)
    except ValueError:
        return False
    return abs(x - y) <= tolerance * max(abs(x), abs(y))
