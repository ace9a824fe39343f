"""`landscape explain`: the section of the documentation on a code, a cause or a finding."""

from __future__ import annotations

import difflib
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lightning_landscape._text import listed
from lightning_landscape.command_line.answer import Answer, CannotLookError, Example, Verb
from lightning_landscape.evidence import CAUSES, Cause
from lightning_landscape.evidence.card import documentation

PACKAGE = Path(__file__).parents[1]
FOLDERS = (PACKAGE / "docs", PACKAGE.parent / "docs")
"""where the pages are: in an installed package, and in a checkout of the sources"""


@dataclass(frozen=True)
class Section:
    """A section of the documentation."""

    code: str
    """such as "LL202", or "LL202 squashed-twice" for a finding"""
    cause: str | None
    """value of the `Cause`; None for a warning that names none"""
    markdown: str


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "topic",
        nargs="+",
        metavar="TOPIC",
        help="a code such as LL202, a cause such as flat_region, or a finding such as squashed-twice",
    )


def _run(options: Namespace) -> Answer:
    """Return the section on the topic.

    Raises:
        CannotLookError: if there is no such topic.
    """
    topic = " ".join(options.topic).strip("[]. ")
    sections = list(_sections(_folder()))
    found = [section for section in sections if _key(topic) in _names(section)]
    if not found:
        names = {name: section.code for section in sections for name in _names(section)}
        near = [names[name] for name in difflib.get_close_matches(_key(topic), names, n=4, cutoff=0.5)]
        nearest = f"; the nearest are {listed([*dict.fromkeys(near)])}" if near else ""
        raise CannotLookError(
            f"there is no code, cause or finding {topic!r}{nearest}; the causes are {', '.join(map(str, Cause))}"
        )
    address = documentation()
    document = {
        "topic": topic,
        "sections": [{"code": s.code, "cause": s.cause, "markdown": s.markdown} for s in found],
    }
    blocks = [_as_text(section.markdown) for section in found]
    return Answer(document, [*blocks, *([f"{address}/causes/"] if address and found[0].cause else [])])


def _folder() -> Path:
    """Return the folder of the pages.

    Raises:
        CannotLookError: if they are not installed.
    """
    for folder in FOLDERS:
        if (folder / "warnings.md").is_file() and (folder / "causes").is_dir():
            return folder
    raise CannotLookError(f"the pages of the documentation are not installed in {FOLDERS[0]}")


def _sections(folder: Path) -> Iterator[Section]:
    """Yield a section for each cause, each finding, and each warning that names no cause."""
    for cause, facts in CAUSES.items():
        page = (folder / "causes" / f"{cause}.md").read_text(encoding="utf-8")
        yield Section(facts.code, cause.value, page.strip())
        for name, text in re.findall(r"^### LL\d{3} ([a-z-]+)$\n(.*?)(?=^###? |\Z)", page, re.M | re.S):
            yield Section(f"{facts.code} {name}", cause.value, f"# {facts.code} {name}\n\n{text.strip()}")
    warnings = (folder / "warnings.md").read_text(encoding="utf-8")
    for code, text in re.findall(r"^## (LL\d{3})$\n(.*?)(?=^## |\Z)", warnings, re.M | re.S):
        yield Section(code, None, f"# {code}\n\n{text.strip()}")


def _names(section: Section) -> set[str]:
    """Return the names under which a section is found: its code, its cause or its finding."""
    _, _, finding = section.code.partition(" ")
    other = finding or section.cause
    return {_key(section.code), *([_key(other)] if other else [])}


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().lower()


def _as_text(markdown: str) -> str:
    """Return Markdown as text: paragraphs on one line each, without pictures, link targets and marks of emphasis."""
    lines: list[str] = []
    for block in re.split(r"\n{2,}", re.sub(r"(!\[[^\]]*\]|\s*\[Example\])\([^)]*\)", "", markdown)):
        text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", block).replace("**", "")
        if not text.strip():
            continue
        items = re.split(r"\n(?=(?:- |\d+\. ))", text.strip("\n"))
        lines += ["", *(re.sub(r"\s*\n\s*", " ", item) for item in items)]
    return "\n".join(re.sub(r"^(#+) (.*)$", lambda found: _heading(*found.groups()), line) for line in lines).strip()


def _heading(marks: str, text: str) -> str:
    return f"{text}\n{('=', '-', '·')[min(len(marks), 3) - 1] * len(text)}"


VERB = Verb(
    name="explain",
    help="explain a code, a cause or a finding",
    description="Prints the section of the documentation that explains a code, a cause or a finding: what it looks "
    "like, what was measured, and what to try.",
    examples=[
        Example("landscape explain LL202", "a code from a warning"),
        Example("landscape explain LL202 squashed-twice", "a finding"),
        Example("landscape explain learning_rate_too_small", "a cause"),
    ],
    add_arguments=_add_arguments,
    run=_run,
)
