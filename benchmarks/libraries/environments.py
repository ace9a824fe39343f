"""An environment of its own for each library, made with `venv` and pip."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.libraries.catalogue import ROOT, Library

CONSTRAINTS = ROOT / "constraints.txt"
FEW = r"^(torch|lightning|pytorch-lightning|torchmetrics)=="
"""what stays constrained where a library needs other versions than those of constraints.txt"""


def installations(library: Library) -> list[list[str]]:
    """Return what pip installs in turn: torch first and pinned, so that no other package chooses a build of it.

    An unpinned torch comes with several gigabytes of CUDA packages.
    """
    pinned = re.search(r"^torch==\S+", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    torch = pinned.group()
    return [[torch], [torch, str(ROOT), library.package, *library.needs]]


def few_constraints() -> str:
    """Return the lines of constraints.txt that every library keeps to."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    return "".join(f"{line}\n" for line in lines if re.match(FEW, line))


def install(python: Path, packages: list[str], constraints: Path) -> str:
    """Install the packages, and return what pip says if it fails; empty if it does not."""
    command = [str(python), "-m", "pip", "install", "--quiet", "-c", str(constraints), *packages]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    return process.stderr.strip()[-500:] or "no reason given" if process.returncode else ""


def environment(library: Library, folder: Path) -> Path:
    """Return the Python of the library's environment below `folder`, which is made if it is not there.

    Raises:
        RuntimeError: if pip fails; the message ends with what pip said.
    """
    place = folder / library.package
    python, done = place / "bin" / "python", place / "installed"
    if done.is_file():  # written last, so an environment that was interrupted is made again
        return python
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    few = place / "constraints.txt"
    few.write_text(few_constraints(), encoding="utf-8")
    for packages in installations(library):
        if install(python, packages, CONSTRAINTS) and (said := install(python, packages, few)):
            raise RuntimeError(f"pip cannot install {library.package}: {said}")
    done.touch()
    return python
