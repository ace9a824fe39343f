"""Pictures of the Landscape tab with 1, 2 and 30 runs, in light and dark colours, wide and narrow.

``python -m benchmarks.tab.pictures INTO [--runs 1 2 30] [--widths 1600 800]`` writes one PNG file for each.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from benchmarks.tab.browsing import chromium, open_tab, set_colours, tensorboard, until
from benchmarks.tab.logs import write_logs

ROOT = Path(__file__).parents[2]
STEPS = 5000
"""steps of each run"""
TALLEST = 4000
"""pixels of the tallest picture"""
RUNS = "/data/plugin/lightning_landscape/runs"


def main() -> int:
    """Write the pictures, and return the exit status."""
    parser = ArgumentParser(prog="python -m benchmarks.tab.pictures", description=__doc__)
    parser.add_argument("into", type=Path)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 2, 30])
    parser.add_argument("--widths", type=int, nargs="+", default=[1600, 800])
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        browser = chromium(Path(folder) / "profile")
        if browser is None:
            sys.stderr.write("chromium and chromedriver are needed\n")
            return 1
        try:
            for runs in options.runs:
                logdir = Path(folder) / str(runs)
                names = write_logs(logdir, runs, STEPS)
                with tensorboard(ROOT, logdir) as server:
                    until(lambda: len(server.ask(RUNS)["runs"]) == len(names))  # noqa: B023
                    for name, link in _views(names).items():
                        for width in options.widths:
                            for dark in (False, True):
                                set_colours(browser, dark=dark)
                                path = options.into / f"{name}_{width}_{'dark' if dark else 'light'}.png"
                                _save(browser, f"{server.url}/#lightning_landscape{link}", width, path)
        finally:
            browser.quit()
    return 0


def _views(names: list[str]) -> dict[str, str]:
    """Return what is shown of these runs, as the ends of addresses by the names of their pictures."""
    count = len(names)
    views = {f"{count}_runs" if count > 1 else "1_run": ""}
    for chosen in (3, 12):
        if count > chosen:
            runs = ",".join(name.replace("/", "%2F") for name in names[:chosen])
            views[f"{count}_runs_{chosen}_chosen"] = f"&p.lightning_landscape.runs={runs}"
    return views


def _save(browser: Any, url: str, width: int, path: Path) -> None:
    """Save a picture of the whole page at this address."""
    browser.set_window_size(width, 1200)
    open_tab(browser, url)
    until(lambda: browser.execute_script("return document.querySelectorAll('figure.course svg, .overlay svg').length"))
    height = browser.execute_script("return document.body.scrollHeight")
    browser.switch_to.default_content()
    browser.set_window_size(width, min(TALLEST, height + 200))
    browser.execute_async_script("setTimeout(arguments[0], 700)")  # until the pictures have followed the width
    browser.save_screenshot(str(path))


if __name__ == "__main__":
    sys.exit(main())
