"""Pictures of the Landscape tab with 1, 2 and 30 runs, in light and dark colours, wide and narrow.

``python -m benchmarks.tab.pictures INTO [--runs 1 2 30] [--widths 1600 800]`` writes one PNG file for each;
``python -m benchmarks.tab.pictures --docs`` writes those that the documentation shows.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.tab.browsing import Server, chromium, open_tab, set_colours, tensorboard, until
from benchmarks.tab.logs import write_logs

ROOT = Path(__file__).parents[2]
STEPS = 5000
"""steps of each run"""
TALLEST = 4000
"""pixels of the tallest picture"""
HEAD = 64
"""pixels of TensorBoard's own bar, which pictures of the documentation leave out"""
IN_DOCS = {"runs.png": ("30_runs_12_chosen", 1100, 1150, False)}
"""view, width, height of the window, and whether the colours are dark, of each picture of the documentation"""
RUNS = "/data/plugin/lightning_landscape/runs"


def main() -> int:
    """Write the pictures, and return the exit status."""
    parser = ArgumentParser(prog="python -m benchmarks.tab.pictures", description=__doc__)
    parser.add_argument("into", type=Path, nargs="?", help="directory for the pictures")
    parser.add_argument("--docs", action="store_true", help="write the pictures of the documentation instead")
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 2, 30])
    parser.add_argument("--widths", type=int, nargs="+", default=[1600, 800])
    options = parser.parse_args()
    if options.into is None and not options.docs:
        parser.error("a directory is needed, or --docs")
    with tempfile.TemporaryDirectory() as folder:
        browser = chromium(Path(folder) / "profile")
        if browser is None:
            sys.stderr.write("chromium and chromedriver are needed\n")
            return 1
        try:
            for runs in (30,) if options.docs else options.runs:
                logdir = Path(folder) / str(runs)
                names = write_logs(logdir, runs, STEPS, picture_bytes=0)
                with tensorboard(ROOT, logdir) as server:
                    until(lambda: len(server.ask(RUNS)["runs"]) == len(names))  # noqa: B023
                    if options.docs:
                        _draw_for_docs(browser, server, names)
                    else:
                        _draw_all(browser, server, names, options.into, options.widths)
        finally:
            browser.quit()
    return 0


def _draw_all(browser: Any, server: Server, names: list[str], into: Path, widths: list[int]) -> None:
    """Save a picture of each view of these runs, of each width, in light and dark colours."""
    into.mkdir(parents=True, exist_ok=True)
    for name, link in _views(names).items():
        for width, dark in product(widths, (False, True)):
            path = into / f"{name}_{width}_{'dark' if dark else 'light'}.png"
            _save(browser, f"{server.url}/#lightning_landscape{link}", width, path, dark=dark)


def _draw_for_docs(browser: Any, server: Server, names: list[str]) -> None:
    """Save the pictures that the documentation shows of this many runs, with few colours to keep them small."""
    from PIL import Image

    for name, (view, width, height, dark) in IN_DOCS.items():
        if (link := _views(names).get(view)) is not None:
            path = ROOT / "docs" / "images" / name
            _save(browser, f"{server.url}/#lightning_landscape{link}", width, path, height=height, dark=dark)
            with Image.open(path) as picture:
                small = picture.convert("RGB").crop((0, HEAD, *picture.size)).quantize(200, Image.Quantize.MAXCOVERAGE)
            small.save(path, optimize=True)


def _views(names: list[str]) -> dict[str, str]:
    """Return what is shown of these runs, as the ends of addresses by the names of their pictures."""
    count = len(names)
    views = {f"{count}_runs" if count > 1 else "1_run": ""}
    for chosen in (3, 12):
        if count > chosen:
            runs = ",".join(name.replace("/", "%2F") for name in names[:chosen])
            views[f"{count}_runs_{chosen}_chosen"] = f"&p.lightning_landscape.runs={runs}"
    return views


def _save(browser: Any, url: str, width: int, path: Path, *, height: int | None = None, dark: bool) -> None:
    """Save a picture of the page at this address, of the whole page if no height is given."""
    set_colours(browser, dark=dark)
    browser.set_window_size(width, 1200)
    open_tab(browser, url)
    until(lambda: browser.execute_script("return document.querySelectorAll('figure.course svg, .overlay svg').length"))
    whole = browser.execute_script("return document.body.scrollHeight")
    browser.switch_to.default_content()
    browser.set_window_size(width, height or min(TALLEST, whole + 200))
    browser.execute_async_script("setTimeout(arguments[0], 700)")  # until the pictures have followed the width
    browser.save_screenshot(str(path))


if __name__ == "__main__":
    sys.exit(main())
