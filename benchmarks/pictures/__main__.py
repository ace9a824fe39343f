"""Draw every kind of picture from short real runs: ``python -m benchmarks.pictures [FOLDER]``.

The folder (out/pictures) gets the figures of all runs, to be looked at. With ``--docs``, the folder
(docs/images) gets the pictures of the docs: the figures, those of published phenomena, that of the example of a remedy,
and, where Chromium is installed, those of the Landscape tab and the report. With ``--readme``, the runs of
``make demo`` write the terminal output of the README, and the folder (docs/images) gets its picture.
"""

from __future__ import annotations

import runpy
import sys
from argparse import ArgumentParser
from pathlib import Path

from benchmarks import phenomena
from benchmarks.pictures.browser import write_screenshots, write_surface
from benchmarks.pictures.figures import write_barriers, write_chosen, write_figures
from benchmarks.pictures.readme import write_readme
from benchmarks.pictures.runs import RUNS, train

ROOT = Path(__file__).parents[2]
FIGURES_OF_DOCS = {
    "healthy": {"line_from_initial": "line.png"},
    "stuck": {"timeline": "course.png", "grad_norms": "gradients.png", "plane": "stuck_plane.png"},
    "small_rate": {"trials": "trials.png"},
    "memorises": {"metrics": "validation.png"},
}
"""the files of the docs by figure, for each run"""


def main() -> int:
    """Write the pictures, and return the exit status."""
    parser = ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--docs", action="store_true", help="write the pictures of the docs")
    parser.add_argument("--readme", action="store_true", help="write the terminal output and the picture of the README")
    parser.add_argument("--runs", nargs="+", choices=[run.name for run in RUNS], help="draw these runs only")
    options = parser.parse_args()
    folder = options.folder or ROOT / ("docs/images" if options.docs or options.readme else "out/pictures")
    folder.mkdir(parents=True, exist_ok=True)
    if options.readme:
        write_readme(folder)
    if options.docs:
        write_docs(folder)
    if options.docs or options.readme:
        return 0
    for run in RUNS:
        if options.runs is None or run.name in options.runs:
            monitor = train(run)
            print(f"{run.name}: {[str(verdict.cause) for verdict in monitor.verdicts]}")
            for path in write_figures(monitor, folder, f"{run.name}_"):
                print(f"  {path}")
    if options.runs is None:
        phenomena.draw_readings(folder, phenomena.trained(seed=0, steps=1500, snapshots=30))
        write_barriers(folder)
    return 0


def write_docs(folder: Path) -> None:
    """Write the pictures of the docs into this folder."""
    monitors = {run.name: train(run) for run in RUNS if run.name in FIGURES_OF_DOCS}
    for name, chosen in FIGURES_OF_DOCS.items():
        write_chosen(monitors[name], folder, chosen)
    phenomena.draw_all(folder)
    sys.argv = ["examples/escape.py", str(folder)]
    runpy.run_path(str(ROOT / "examples/escape.py"), run_name="__main__")
    step, plane = monitors["stuck"].planes[-1]
    write_surface(plane, step, folder / "surface.png")
    write_screenshots({name: monitors[name].report.document for name in ("stuck", "healthy")}, folder)


if __name__ == "__main__":
    sys.exit(main())
