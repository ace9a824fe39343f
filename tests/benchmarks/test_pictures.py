"""The command that draws the pictures of the docs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.pictures.figures import write_figures
from benchmarks.pictures.readme import KINDS, README, differences, run_demo, shown_verdicts, shown_warnings
from benchmarks.pictures.runs import Run, train

ROOT = Path(__file__).parents[2]
SOURCES = (
    "benchmarks/pictures/__main__.py",
    "benchmarks/pictures/browser.py",
    "benchmarks/pictures/readme.py",
    "benchmarks/phenomena.py",
    "tests/command_line/test_page.py",
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
def test_terminal_output_and_picture_of_the_readme_are_those_of_the_demo(tmp_path):
    demo, shown = run_demo(tmp_path), shown_warnings(README.read_text(encoding="utf-8"))
    renewed_by = "`python -m benchmarks.pictures --readme` writes both anew"
    assert {*shown} == {*KINDS}
    assert {kind: differences(shown[kind], demo.warnings[kind]) for kind in KINDS} == {k: [] for k in KINDS}, renewed_by
    assert differences(shown_verdicts(ROOT / "docs/images/hero.png"), demo.verdicts) == [], renewed_by


def test_other_words_and_other_numbers_differ_and_rounding_does_not():
    shown = "[LL202] lowers the loss by 72% (threshold 1e-03)"
    assert differences(shown, "[LL202] lowers the\n  loss by 70% (threshold 1.1e-03)") == []
    assert differences(shown, "[LL202] lowers the loss by 30% (threshold 1e-03)") != []
    assert differences(shown, "[LL202] raises the loss by 72% (threshold 1e-03)") != []
    assert differences(shown, "[LL203] lowers the loss by 72% (threshold 1e-03)") != []


@pytest.mark.slow
def test_the_figures_of_a_run_are_written_as_small_files(tmp_path):
    files = write_figures(train(Run("healthy", epochs=6)), tmp_path, "healthy_")
    assert {path.name for path in files} >= {"healthy_timeline.png", "healthy_grad_norms.png"}
    for path in files:
        assert path.stat().st_size < 100_000
        with Image.open(path) as picture:
            assert picture.width == 640
