"""Whoever looks up a code finds it: every code of the package has a section, and no section has outlived its code."""

import re
from pathlib import Path

import pytest

from lightning_landscape.advice import CODES
from lightning_landscape.evidence import Cause

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
def test_a_section_says_what_it_means_and_what_to_do(code):
    assert re.search(r"^\*\*.+?\*\*", SECTIONS[code], re.M | re.S)
    assert re.search(r"^To do: .+\.|^To do: .+\?", SECTIONS[code], re.M | re.S)


@pytest.mark.parametrize("cause", Cause)
def test_the_section_of_a_cause_names_it(cause):
    assert SECTIONS[CODES[cause]].lstrip().startswith(f"**`{cause}`.**")


def test_exactly_the_causes_that_no_detector_names_are_said_not_to_be_told_apart_yet():
    source = (ROOT / "lightning_landscape" / "diagnosis.py").read_text(encoding="utf-8")
    named = {Cause[name] for name in re.findall(r"_verdict\(\s*evidence,\s*Cause\.(\w+)", source)}
    assert Cause.UNDECIDED in named
    assert {cause for cause in Cause if "ot told apart" in SECTIONS[CODES[cause]]} == set(Cause) - named
