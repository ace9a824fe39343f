"""Run all benchmarks and write one page of the docs: ``python -m benchmarks.all [--quick] [--into docs/measured.md]``.

Each benchmark runs in its own process. If a package or a GPU that it needs is missing, its section says so.
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

from benchmarks.overhead.timing import environment

TIME_LIMIT = 3600
"""seconds after which a benchmark is ended"""


class Benchmark(NamedTuple):
    """The command of a benchmark, and its shorter command for ``--quick``; None if a quick run leaves it out."""

    title: str
    command: tuple[str, ...]
    quick: tuple[str, ...] | None


BENCHMARKS = (
    Benchmark(
        "What watching costs",
        ("benchmarks.overhead",),
        ("benchmarks.overhead", "steps", "floors", "import", "--models", "tiny MLP", "--only-ours", "--shorten", "0.2"),
    ),
    Benchmark("What a loss surface costs", ("benchmarks.surface",), ("benchmarks.surface", "--turns", "4")),
    Benchmark("Curvature, against other tools", ("benchmarks.curvature",), None),
    Benchmark(
        "The Landscape tab with many long runs",
        ("benchmarks.tab",),
        ("benchmarks.tab", "--runs", "3", "--steps", "2000"),
    ),
    Benchmark(
        "Stuck runs, open split",
        ("benchmarks.stuck_runs", "--split", "open", "--only-monitor"),
        ("benchmarks.stuck_runs", "--only-monitor", "--seeds", "0", "--names", "xor_from_tiny_weights", "--jobs", "1"),
    ),
)


def section(benchmark: Benchmark, arguments: Sequence[str] | None) -> str:
    """Run a benchmark with these arguments and return its command and output, or the reason why there is no output."""
    if arguments is None:
        return f"## {benchmark.title}\n\nNot measured in a quick run: `python -m {' '.join(benchmark.command)}`."
    command, start = f"python -m {' '.join(arguments)}", time.monotonic()
    try:
        process = subprocess.run(
            [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False, timeout=TIME_LIMIT
        )
    except subprocess.TimeoutExpired:
        return f"## {benchmark.title}\n\n`{command}`\n\nNot measured: it took more than {TIME_LIMIT} s."
    minutes = (time.monotonic() - start) / 60
    if process.returncode:
        reason = (process.stderr.strip().splitlines() or ["no reason given"])[-1]
        return f"## {benchmark.title}\n\n`{command}`\n\nNot measured: {reason}."
    output = separate_tables(lower_headings(process.stdout.strip()))
    return f"## {benchmark.title}\n\n`{command}`, {minutes:.1f} minutes.\n\n{output}"


def lower_headings(markdown: str) -> str:
    """Return the text with its second-level headings on the third level, since sections have second-level headings."""
    return "\n".join(f"#{line}" if line.startswith("## ") else line for line in markdown.splitlines())


def separate_tables(markdown: str) -> str:
    """Return the text with an empty line before and after every table, which Markdown needs to recognise a table."""
    lines: list[str] = []
    for line in markdown.splitlines():
        if line and lines and lines[-1] and line.startswith("|") != lines[-1].startswith("|"):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)


def page(*, quick: bool) -> str:
    """Run all benchmarks, or their quick versions, and return the page with one section for each."""
    command = "python -m benchmarks.all" + (" --quick" if quick else "")
    graphics = "" if torch.cuda.is_available() else " Without a GPU: CUDA is not measured."
    head = f"# As measured\n\nWritten by `{command}`, not by hand: {environment()}.{graphics}"
    sections = (section(benchmark, benchmark.quick if quick else benchmark.command) for benchmark in BENCHMARKS)
    return "\n\n".join([head, *sections]) + "\n"


def main() -> None:
    """Run all benchmarks and write the page."""
    options = ArgumentParser(prog="python -m benchmarks.all")
    options.add_argument("--quick", action="store_true", help="run shorter benchmarks, in a few minutes, as a test")
    options.add_argument("--into", type=Path, default=Path("docs/measured.md"), help="file to write the page to")
    chosen = options.parse_args()
    chosen.into.write_text(page(quick=chosen.quick), encoding="utf-8")


if __name__ == "__main__":
    main()
