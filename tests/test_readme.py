"""Every Python block of README and docs runs without changes, and every `make` command in them exists."""

import re
import traceback
from pathlib import Path
from typing import NamedTuple

import pytest

from lightning_landscape import Cause

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    page: Path
    line: int
    language: str
    source: str


def blocks(*languages):
    result = [
        Block(page, text.count("\n", 0, match.start(3)), match[2], re.sub(f"(?m)^{match[1]}", "", match[3]))
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for match in FENCE.finditer(text)
        if match[2] in languages
    ]
    return [pytest.param(block, id=f"{block.page.name}:{block.line}") for block in result]


def raised_by(block):
    """Return the traceback of the block as a program, with the line of the page; empty if nothing is raised."""
    padding = "\n" * block.line
    earlier = {}
    if block.page.parent.name == "findings":  # all blocks of such a page share what its first block defines
        for before in (param.values[0] for param in blocks("python")):
            if before.page == block.page and before.line < block.line:
                exec(before.source, earlier)
    try:
        exec(
            compile(padding + block.source, block.page, "exec", dont_inherit=True), {**earlier, "__name__": "__main__"}
        )
    except Exception:
        return traceback.format_exc()
    return ""


def test_an_error_of_a_block_is_shown_with_its_line_on_the_page():
    assert 'page.md", line 3' in raised_by(Block(Path("page.md"), 2, "python", "assert False\n"))
    assert not raised_by(Block(Path("page.md"), 2, "python", "assert True\n"))


@pytest.mark.filterwarnings("ignore::lightning_landscape.errors.PlateauWarning")  # a page has a run that is stuck
@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block_runs_without_changes(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert raised_by(block) == ""


@pytest.mark.parametrize("block", blocks("bash", "sh", "shell", "console"))
def test_a_make_command_of_a_shell_block_exists(block):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", block.source)) <= targets


def test_the_commands_make_demo_and_make_test_and_an_image_come_before_the_first_heading():
    introduction = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## ")[0].splitlines()
    assert any(line.startswith("make demo") for line in introduction)
    assert any(line.startswith("make test") for line in introduction)
    (image,) = [line for line in introduction if line.startswith("![")]
    assert (ROOT / re.search(r"\((.+)\)", image)[1]).exists()


def test_the_table_of_causes_is_complete_and_in_order():
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [cause.value for cause in Cause]
