"""How long the Landscape tab takes to show many long runs: ``python -m benchmarks.tab [--runs 50] [--steps 50000]``.

It writes a log directory, starts TensorBoard, waits until TensorBoard has read the files, and opens the tab.
"""

from __future__ import annotations

import sys
import tempfile
import time
import urllib.request
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.tab.browsing import PATIENCE, Server, chromium, open_tab, tensorboard, until
from benchmarks.tab.logs import write_logs

ROOT = Path(__file__).parents[2]
OVERVIEW = "/data/plugin/lightning_landscape/runs"
OPENED = 3
"""times that the tab is opened; the shortest time counts, since a busy machine makes any time longer"""
ROW, CURVE = ".table tbody tr", "figure.course svg path.line"


def main() -> int:
    """Write the runs, measure, print a table, and return the exit status."""
    parser = ArgumentParser(prog="python -m benchmarks.tab", description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--steps", type=int, default=50_000, help="optimizer steps of each run (default: 50,000)")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        logdir = Path(folder) / "logs"
        write_logs(logdir, options.runs, options.steps)
        size = sum(path.stat().st_size for path in logdir.rglob("*") if path.is_file())
        with tensorboard(ROOT, logdir) as server:
            rows.append((
                "from the first answer of TensorBoard until it has read all files",
                _seconds(lambda: _until_read(server, options.runs)),
            ))
            content = _bytes(server)
            rows.append((f"the overview of all runs, {len(content) / 1000:.0f} kB", _shortest(lambda: _bytes(server))))
            if (browser := chromium(Path(folder) / "profile")) is not None:
                try:
                    opened = [_open(browser, server) for _ in range(OPENED)]
                finally:
                    browser.quit()
                rows.append(("from the address to the table of all runs", min(row for row, _ in opened)))
                rows.append(("from the address to the first loss curve", min(curve for _, curve in opened)))
    print(f"{options.runs} runs of {options.steps:,} steps, {size / 1e6:.0f} MB of event files.\n")
    print("| | seconds |\n|---|---:|")
    for name, seconds in rows:
        print(f"| {name} | {seconds:.2f} |")
    return 0


def _until_read(server: Server, runs: int) -> None:
    """Wait until TensorBoard has read the last record of every run."""

    def complete() -> bool:
        found = server.ask(OVERVIEW)["runs"]
        ended = sum(run["course"] is not None and run["course"]["status"] == "ended" for run in found)
        return len(found) == runs and ended >= runs - 1  # one run was killed

    until(complete)


def _open(browser: Any, server: Server) -> tuple[float, float]:
    """Open the tab, and return the seconds until the table and until a loss curve are shown."""
    start = time.perf_counter()
    open_tab(browser, f"{server.url}/#lightning_landscape")
    times = []
    for selector in (ROW, CURVE):
        until(lambda: browser.execute_script("return document.querySelector(arguments[0]) !== null", selector))  # noqa: B023
        times.append(time.perf_counter() - start)
    return times[0], times[1]


def _bytes(server: Server) -> bytes:
    with urllib.request.urlopen(server.url + OVERVIEW, timeout=PATIENCE) as answer:
        content: bytes = answer.read()
    return content


def _shortest(work: Callable[[], object]) -> float:
    return min(_seconds(work) for _ in range(OPENED))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
