"""Each cause has a page in `docs/causes`, each finding a section on it, every other code one in `docs/warnings.md`."""

import re
from pathlib import Path

import pytest

from lightning_landscape.evidence import CAUSES, Cause

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OVERVIEW = (DOCS / "causes.md").read_text("utf-8")
PAGES = {Cause(path.stem): path.read_text("utf-8") for path in (DOCS / "causes").glob("*.md")}
WARNINGS = dict(re.findall(r"^## (LL\d{3})\n(.*?)(?=^## |\Z)", (DOCS / "warnings.md").read_text("utf-8"), re.M | re.S))
USED = {
    code
    for path in (ROOT / "lightning_landscape").rglob("*.py")
    for code in re.findall(r"\bLL\d{3}\b", path.read_text(encoding="utf-8"))
}


def test_every_code_that_names_no_cause_has_a_section_and_every_section_a_code():
    assert set(WARNINGS) == USED - {facts.code for facts in CAUSES.values()}
    assert list(WARNINGS) == sorted(WARNINGS)


@pytest.mark.parametrize("code", WARNINGS)
def test_each_section_of_a_warning_begins_with_a_bold_title_and_has_a_sentence_to_do(code):
    assert re.match(r"\s*\*\*.+?\*\*", WARNINGS[code], re.S)
    assert re.search(r"^To do: .+\.", WARNINGS[code], re.M | re.S)


def test_every_cause_has_a_page():
    assert set(PAGES) == set(Cause)


@pytest.mark.parametrize("cause", Cause)
def test_the_page_of_a_cause_has_its_title_and_code_and_says_what_it_looks_like_what_was_measured_and_what_to_try(
    cause,
):
    facts, page = CAUSES[cause], PAGES[cause]
    title, line = page.split("\n\n")[:2]
    alarm = "only where" if cause is Cause.UNDECIDED else "yes" if facts.alarms else "no"
    assert facts.title.removeprefix("the loss has stopped falling, ").lower() == title.removeprefix("# ").lower()
    assert line.startswith(f"**Cause** `{cause}` · **code** {facts.code} · **alarm** {alarm}")
    assert line.endswith(f"**`landscape/verdict`** {facts.number}")
    sections = re.findall(r"^## (.+)$", page, re.M)
    assert sections[:3] == ["What it looks like", "What was measured", "What to try"]
    assert re.search(r"^## What to try\n\n1\. ", page, re.M)


def test_the_table_of_causes_equals_the_table_of_the_code():
    rows = {
        f"| {facts.code} | [`{cause}`](causes/{cause}.md) | {facts.number} | {'yes' if facts.alarms else 'no'} | "
        f"{facts.title} |"
        for cause, facts in CAUSES.items()
    }
    assert {line for line in OVERVIEW.splitlines() if re.match(r"\| LL\d+ \|", line)} == rows


def test_each_cause_is_the_verdict_of_a_detector():
    sources = (ROOT / "lightning_landscape" / "diagnosis").glob("*.py")
    detected = {cause for path in sources for cause in re.findall(r"Cause\.(\w+)", _detectors(path.read_text("utf-8")))}
    assert detected == {cause.name for cause in Cause}


def _detectors(source: str) -> str:
    """Return the source of all functions that return a verdict."""
    functions = [part for part in re.split(r"^(?=def )", source, flags=re.M) if part.startswith("def ")]
    return "".join(part for part in functions if "verdict_of(" in part)


EXAMPLES = {path.stem: path.read_text("utf-8") for path in (DOCS / "findings").glob("*.md")}
SECTIONS_OF_EXAMPLES = {
    (page, code, name)
    for page, text in EXAMPLES.items()
    for code, name in re.findall(r"^### `(LL2\d\d) ([a-z-]+)`$", text, re.M)
}
SECTIONS_OF_CAUSES = {
    (cause, name): section
    for cause, page in PAGES.items()
    for name, section in re.findall(rf"^### {CAUSES[cause].code} ([a-z-]+)\n(.*?)(?=^##|\Z)", page, re.M | re.S)
}
SOURCES = "".join(
    path.read_text("utf-8") for path in (ROOT / "lightning_landscape" / "diagnosis" / "findings").glob("*.py")
)
NAMES = {"".join(names) for names in re.findall(r'Finding\(\s*"([a-z-]+)"|"(not-finite[a-z-]*)"', SOURCES)}
NAMED_WITH_CAUSE = re.findall(r'Finding\(\s*"([a-z-]+)",\s*Cause\.(\w+)(?: if \w+ else Cause\.(\w+))?,', SOURCES)
"""the name of each finding, the cause that it is made with in the code, and the other one if there are two"""


def test_every_finding_has_an_example_and_every_example_a_finding():
    assert len(NAMES) > 30
    assert {name for _, _, name in SECTIONS_OF_EXAMPLES} == NAMES
    assert len(SECTIONS_OF_EXAMPLES) == len(NAMES)


def test_the_table_of_findings_links_to_the_example_of_each():
    rows = re.findall(r"^\| \[(LL2\d\d) ([a-z-]+)\]\(findings/(\w+)\.md#(\S+)\) \|", OVERVIEW, re.M)
    assert {(of, code, name) for code, name, of, _ in rows} == SECTIONS_OF_EXAMPLES
    assert all(anchor == f"{code.lower()}-{name}" for code, name, _, anchor in rows)


def test_every_finding_has_a_section_on_the_page_of_each_cause_that_it_may_have():
    assert {name for _, name in SECTIONS_OF_CAUSES} == NAMES
    named = {(Cause[cause], name) for name, *causes in NAMED_WITH_CAUSE for cause in filter(None, causes)}
    assert len(named) > 30
    assert named <= set(SECTIONS_OF_CAUSES)
    codes = {(CAUSES[cause].code, name) for cause, name in SECTIONS_OF_CAUSES}
    assert {(code, name) for _, code, name in SECTIONS_OF_EXAMPLES} <= codes


@pytest.mark.parametrize(("cause", "name"), SECTIONS_OF_CAUSES)
def test_the_section_of_a_finding_on_the_page_of_its_cause_links_to_its_example(cause, name):
    linked = re.findall(r"\[Example\]\(\.\./findings/(\w+)\.md#(ll2\d\d)-([a-z-]+)\)", SECTIONS_OF_CAUSES[cause, name])
    assert [(page, code.upper(), of) for page, code, of in linked if of == name] == [
        section for section in SECTIONS_OF_EXAMPLES if section[2] == name
    ]


@pytest.mark.parametrize(("page", "code", "name"), sorted(SECTIONS_OF_EXAMPLES))
def test_the_example_of_a_finding_fails_and_is_mended_and_says_what_to_do(page, code, name):
    section = re.search(rf"^### `{code} {name}`$(.*?)(?=^##|\Z)", EXAMPLES[page], re.M | re.S)[1]
    assert "broken" in section
    assert "mended" in section
    assert re.search(r"^To do: ", section, re.M)
