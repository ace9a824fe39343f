"""Every benchmark, into one page of the docs: ``python -m benchmarks.all [--quick] [--into docs/measured.md]``.

Each runs in a process of its own; what one could not measure here, for want of a package or a GPU, its section says.
"""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.overhead.timing import setting

LONGEST = 3600
"""seconds after which a benchmark is given up"""


class Part(NamedTuple):
    """One benchmark: its command, and the shorter one of a quick run, where there is one."""

    title: str
    command: tuple[str, ...]
    quick: tuple[str, ...] | None


PARTS = (
    Part(
        "What watching costs",
        ("benchmarks.overhead",),
        ("benchmarks.overhead", "steps", "floors", "import", "--models", "tiny MLP", "--only-ours", "--shorten", "0.2"),
    ),
    Part("What a loss surface costs", ("benchmarks.surface",), ("benchmarks.surface", "--turns", "4")),
    Part("Curvature, against other tools", ("benchmarks.curvature",), None),
    Part(
        "Stuck runs, open split",
        ("benchmarks.stuck_runs", "--split", "open", "--only-monitor"),
        ("benchmarks.stuck_runs", "--only-monitor", "--seeds", "0", "--names", "xor_from_tiny_weights", "--jobs", "1"),
    ),
)


def section(part: Part, arguments: Sequence[str] | None) -> str:
    """What the benchmark printed, below its command; or why there is nothing."""
    if arguments is None:
        return f"## {part.title}\n\nNot measured in a quick run: `python -m {' '.join(part.command)}`."
    command, start = f"python -m {' '.join(arguments)}", time.monotonic()
    try:
        ran = subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        return f"## {part.title}\n\n`{command}`\n\nNot measured: it took more than {LONGEST} s."
    minutes = (time.monotonic() - start) / 60
    if ran.returncode:
        reason = (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"## {part.title}\n\n`{command}`\n\nNot measured: {reason}."
    return f"## {part.title}\n\n`{command}`, {minutes:.1f} minutes.\n\n{set_apart(lowered(ran.stdout.strip()))}"


def lowered(markdown: str) -> str:
    """The same without headings as high as that of a section."""
    return "\n".join(f"#{line}" if line.startswith("## ") else line for line in markdown.splitlines())


def set_apart(markdown: str) -> str:
    """The same with an empty line before and after every table, without which Markdown shows none."""
    lines: list[str] = []
    for line in markdown.splitlines():
        if line and lines and lines[-1] and line.startswith("|") != lines[-1].startswith("|"):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def page(*, quick: bool) -> str:
    """All sections."""
    how = "python -m benchmarks.all" + (" --quick" if quick else "")
    graphics = "" if torch.cuda.is_available() else " Without a GPU: CUDA is not measured."
    head = f"# As measured\n\nWritten by `{how}`, not by hand: {setting()}.{graphics}"
    return "\n\n".join([head, *(section(part, part.quick if quick else part.command) for part in PARTS)]) + "\n"


def main() -> None:
    """Measure and write the page."""
    options = ArgumentParser(prog="python -m benchmarks.all")
    options.add_argument("--quick", action="store_true", help="a few minutes, to see that everything runs")
    options.add_argument("--into", type=Path, default=Path("docs/measured.md"))
    chosen = options.parse_args()
    chosen.into.write_text(page(quick=chosen.quick), encoding="utf-8")


if __name__ == "__main__":
    main()
