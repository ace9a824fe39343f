"""Train the examples of ``examples/libraries``, each in an environment of its own, and print one table.

    python -m benchmarks.libraries                          # all, about an hour; environments of about a gigabyte each
    python -m benchmarks.libraries torch-geometric darts    # some of them
    python -m benchmarks.libraries --keep                   # keep the environments for the next time

Each library trains on small made data at the learning rate of its example, at 1e-7 and at 1,000 times that rate, with
and without the monitor, from the same random state. Times are processor times. Results are kept in the folder: a
library that has one is not measured again, unless ``--again`` is given.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.libraries.catalogue import LIBRARIES, ROOT, Library
from benchmarks.libraries.environments import environment
from benchmarks.libraries.table import table

TIME_LIMIT = 3600
"""seconds after which the runs of one library are ended"""


def measure(library: Library, python: Path, turns: int) -> dict[str, Any]:
    """Return the runs of one library, made in a process of its environment.

    Raises:
        RuntimeError: if the process fails; the message ends with what it said.
    """
    command = [str(python), "-m", "benchmarks.libraries.runs", library.example, "--steps", f"{library.steps}"]
    command += ["--turns", f"{turns}", "--package", library.package]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=TIME_LIMIT
    )
    if process.returncode:
        raise RuntimeError(f"The example failed: {process.stderr.strip()[-500:]}")
    result: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return result


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.libraries",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [library.package for library in LIBRARIES]
    options.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"any of {', '.join(names)}; default: all")
    options.add_argument("--folder", type=Path, default=Path("out/libraries"), help="for environments and results")
    options.add_argument("--keep", action="store_true", help="keep the environments")
    options.add_argument("--again", action="store_true", help="measure libraries again that have a result")
    options.add_argument("--turns", type=int, default=2, help="how often each run is timed; the least time counts")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for and print the table of all results."""
    options = parser()
    chosen = options.parse_args(arguments)
    unknown = set(chosen.packages) - {library.package for library in LIBRARIES}
    if unknown:
        options.error(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(x.package for x in LIBRARIES)}")
    folder, results, failures = chosen.folder.absolute(), [], {}
    environments = folder / "environments"
    environments.mkdir(parents=True, exist_ok=True)
    for library in LIBRARIES:
        kept = folder / f"{library.package}.json"
        asked = library.package in (chosen.packages or [library.package])
        if asked and (chosen.again or not kept.is_file()):
            try:
                result = measure(library, environment(library, environments), chosen.turns)
                kept.write_text(json.dumps(result), encoding="utf-8")
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                failures[library.package] = str(error)
            if not chosen.keep:
                shutil.rmtree(environments / library.package, ignore_errors=True)
        if asked and library.package not in failures:
            results.append(json.loads(kept.read_text(encoding="utf-8")))
    print(table(results, failures))


if __name__ == "__main__":
    main()
