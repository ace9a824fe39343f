"""The pages in `docs/`: every code is explained, every image is small, every public name is on the API page."""

import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_landscape

DOCS = Path(__file__).parents[1] / "docs"


def test_every_code_in_a_message_of_the_package_is_explained():
    package = DOCS.parent / "lightning_landscape"
    codes = {code for path in package.rglob("*.py") for code in re.findall(r"\[(LL\d{3})\]", path.read_text("utf-8"))}
    assert codes <= set(re.findall(r"LL\d{3}", (DOCS / "causes.md").read_text(encoding="utf-8")))


def test_every_image_on_a_page_exists_and_is_small():
    names = [
        name for page in DOCS.glob("*.md") for name in re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text("utf-8"))
    ]
    images = {(DOCS / name).resolve() for name in names}
    assert all(path.is_file() for path in images)
    assert all(path.stat().st_size < 100_000 for path in images)


@pytest.mark.slow
def test_the_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "api" / "index.html").read_text(encoding="utf-8")
    assert "<blockquote>" not in page  # a doctest that was taken for plain Markdown
    assert (tmp_path / "images" / "tab.png").is_file()


def test_every_name_on_the_api_page_exists_and_has_a_docstring():
    names = re.findall(r"^::: ([\w.]+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(names) == len(set(names)) > 20
    for name in names:
        assert pkgutil.resolve_name(name).__doc__, name


def test_every_public_name_is_on_the_api_page():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    entries = re.findall(r"^::: ([\w.]+)$", page, re.MULTILINE)
    described = {name for entry in entries for name in (entry.rpartition(".")[2], *vars(pkgutil.resolve_name(entry)))}
    modules = {name for name in lightning_landscape._MODULES if f".{name}" in page}
    assert set(lightning_landscape.__all__) - {"__version__"} - modules <= described


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r": (\w+\.md)$", (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == {path.name for path in DOCS.glob("*.md")}
