"""A file in the directory of a run's events, by which another process asks the run for a diagnosis."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from lightning_landscape._files import write_atomically

FILE = "question.json"
NO_QUESTION, UNLESS_IT_FALLS, IN_ANY_CASE = 0, 1, 2
"""there is no question; a diagnosis is asked for unless the loss falls; one is asked for whatever the loss does"""
MOST_BYTES = 1000
"""bytes of the file that are read"""


@dataclass(frozen=True)
class Asked:
    """A question."""

    id: str = ""
    """letters and digits that the answer repeats"""
    number: int = UNLESS_IT_FALLS
    """`UNLESS_IT_FALLS` or `IN_ANY_CASE`"""


def put_question(folder: Path, asked: Asked) -> None:
    """Write a question into the directory of a run's events."""
    text = json.dumps({"id": asked.id, "now": asked.number == IN_ANY_CASE})
    write_atomically(folder / FILE, lambda draft: draft.write_text(text, encoding="utf-8"))


def withdraw_question(folder: Path) -> bool:
    """Remove the question from the directory, and return whether it was still there."""
    try:
        (folder / FILE).unlink()
    except OSError:
        return False
    return True


def take_question(folder: Path) -> Asked | None:
    """Return the question in the directory and remove its file; None if there is none, or it cannot be removed."""
    path = folder / FILE
    if not os.path.exists(path):
        return None
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(MOST_BYTES))
        known = content if isinstance(content, dict) else {}
    except (OSError, ValueError, RecursionError):
        known = {}
    if not withdraw_question(folder):  # it would be answered at every check
        return None
    letters = re.sub(r"[^0-9A-Za-z]", "", str(known.get("id", "")))[:64]
    return Asked(letters, IN_ANY_CASE if known.get("now") is True else UNLESS_IT_FALLS)
