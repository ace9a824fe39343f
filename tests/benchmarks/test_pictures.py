"""The command that draws the pictures of the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.pictures.figures import write_figures
from benchmarks.pictures.runs import Run, train

ROOT = Path(__file__).parents[2]
SOURCES = (
    "benchmarks/pictures/__main__.py",
    "benchmarks/pictures/browser.py",
    "benchmarks/phenomena.py",
    "benchmarks/tab/pictures.py",
    "examples/escape.py",
)


def test_every_picture_of_the_docs_is_written_by_the_command_and_no_other_picture_lies_beside_them():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = {name for page in pages for name in re.findall(r"images/([\w-]+\.png)", page.read_text(encoding="utf-8"))}
    code = "".join((ROOT / source).read_text(encoding="utf-8") for source in SOURCES)
    assert {name for name in shown if f'{name}"' not in code} == set()
    assert {path.name for path in (ROOT / "docs/images").glob("*.png")} == shown


@pytest.mark.slow
def test_the_figures_of_a_run_are_written_as_small_files(tmp_path):
    files = write_figures(train(Run("healthy", epochs=6)), tmp_path, "healthy_")
    assert {path.name for path in files} >= {"healthy_timeline.png", "healthy_grad_norms.png"}
    for path in files:
        assert path.stat().st_size < 100_000
        with Image.open(path) as picture:
            assert picture.width == 640
