"""Each code of the package has a section in `docs/causes.md`, and each section belongs to a code that is in use."""

import re
from pathlib import Path

import pytest

from lightning_landscape.evidence import CAUSES, Cause

ROOT = Path(__file__).parents[1]
SECTIONS = dict(
    re.findall(r"^## (LL\d{3})\n(.*?)(?=^## |\Z)", (ROOT / "docs" / "causes.md").read_text("utf-8"), re.M | re.S)
)
USED = {
    code
    for path in (ROOT / "lightning_landscape").rglob("*.py")
    for code in re.findall(r"\bLL\d{3}\b", path.read_text(encoding="utf-8"))
}


def test_every_code_has_a_section_and_every_section_a_code():
    assert set(SECTIONS) == USED
    assert list(SECTIONS) == sorted(SECTIONS)


@pytest.mark.parametrize("code", SECTIONS)
def test_each_section_begins_with_a_bold_title_and_has_a_sentence_to_do(code):
    assert re.search(r"^\*\*.+?\*\*", SECTIONS[code], re.M | re.S)
    assert re.search(r"^To do: .+\.|^To do: .+\?", SECTIONS[code], re.M | re.S)


@pytest.mark.parametrize("cause", Cause)
def test_the_section_of_a_cause_begins_with_its_name(cause):
    assert SECTIONS[CAUSES[cause].code].lstrip().startswith(f"**`{cause}`.**")


def test_the_table_of_the_page_equals_the_table_of_the_code():
    page = (ROOT / "docs" / "causes.md").read_text("utf-8")
    rows = {
        f"| [{facts.code}](#{facts.code.lower()}) | `{cause}` | {facts.number} | {'yes' if facts.alarms else 'no'} | "
        f"{facts.title} |"
        for cause, facts in CAUSES.items()
    }
    assert {line for line in page.splitlines() if re.match(r"\| \[LL\d+\]", line)} == rows


def test_each_cause_is_the_verdict_of_a_detector_and_no_section_says_that_causes_are_not_told_apart():
    sources = (ROOT / "lightning_landscape" / "diagnosis").glob("*.py")
    detected = {cause for path in sources for cause in re.findall(r"Cause\.(\w+)", _detectors(path.read_text("utf-8")))}
    assert detected == {cause.name for cause in Cause}
    assert not [code for code, text in SECTIONS.items() if "told apart" in text]


def _detectors(source: str) -> str:
    """Return the source of all functions that return a verdict."""
    functions = [part for part in re.split(r"^(?=def )", source, flags=re.M) if part.startswith("def ")]
    return "".join(part for part in functions if "return verdict_of(" in part)


PAGES = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs" / "findings").glob("*.md")}
SECTIONS_OF_FINDINGS = {
    (page, code, name)
    for page, text in PAGES.items()
    for code, name in re.findall(r"^### `(LL2\d\d) ([a-z-]+)`$", text, re.M)
}
SOURCES = "".join(
    path.read_text("utf-8") for path in (ROOT / "lightning_landscape" / "diagnosis" / "findings").glob("*.py")
)
NAMES = {"".join(names) for names in re.findall(r'Finding\(\s*"([a-z-]+)"|"(not-finite[a-z-]*)"', SOURCES)}


def test_every_finding_has_a_section_and_every_section_a_finding():
    assert len(NAMES) > 30
    assert {name for _, _, name in SECTIONS_OF_FINDINGS} == NAMES
    assert len(SECTIONS_OF_FINDINGS) == len(NAMES)


def test_the_table_of_findings_links_to_the_section_of_each():
    page = (ROOT / "docs" / "causes.md").read_text("utf-8")
    rows = re.findall(r"^\| \[(LL2\d\d) ([a-z-]+)\]\(findings/(\w+)\.md#(\S+)\) \|", page, re.M)
    assert {(of, code, name) for code, name, of, _ in rows} == SECTIONS_OF_FINDINGS
    assert all(anchor == f"{code.lower()}-{name}" for code, name, _, anchor in rows)


@pytest.mark.parametrize(("page", "code", "name"), sorted(SECTIONS_OF_FINDINGS))
def test_the_section_of_a_finding_has_a_failing_and_a_mended_example_and_says_what_to_do(page, code, name):
    section = re.search(rf"^### `{code} {name}`$(.*?)(?=^##|\Z)", PAGES[page], re.M | re.S)[1]
    assert "broken" in section
    assert "mended" in section
    assert re.search(r"^To do: ", section, re.M)
