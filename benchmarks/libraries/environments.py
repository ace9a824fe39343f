"""An environment of its own for each library, made with `venv` and pip."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.libraries.catalogue import ROOT, Library

CONSTRAINTS = ROOT / "constraints.txt"


def installations(library: Library) -> list[list[str]]:
    """Return what pip installs in turn: torch first and pinned, so that no other package chooses a build of it.

    An unpinned torch comes with several gigabytes of CUDA packages.
    """
    pinned = re.search(r"^torch==\S+", CONSTRAINTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    torch = pinned.group()
    return [[torch], [torch, str(ROOT), library.package, *library.needs]]


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
    for packages in installations(library):
        command = [str(python), "-m", "pip", "install", "--quiet", "-c", str(CONSTRAINTS), *packages]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            raise RuntimeError(f"pip cannot install {library.package}: {process.stderr.strip()[-500:]}")
    done.touch()
    return python
