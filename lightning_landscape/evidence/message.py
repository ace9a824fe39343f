"""A verdict in words: the whole message, and one that is short enough for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning_landscape._text import capitalised
from lightning_landscape.evidence.causes import CAUSES, Cause
from lightning_landscape.evidence.parts import Parts

if TYPE_CHECKING:
    from lightning_landscape.evidence.verdict import Verdict

Section = tuple[str, Sequence[str]]
"""a word that says what follows, and its lines"""
MOST_LINES = 8
"""most lines of a message on the terminal"""
NARROWEST, WIDEST = 40, 110
"""columns for which a message is wrapped, whatever the width of the terminal is"""
LINES_OF_WHY = 2
"""most lines of reasons in a message that is cut off"""
REST = "  All of it: `print(monitor.verdict)`"
"""the last line of a message that is cut off"""


def title_of(verdict: Verdict) -> str:
    """Return the first line: the code, the step, the cause, since when it holds, and the name of the finding."""
    words = with_since(verdict.cause_in_words, since(verdict)) + verdict.finding_in_words
    return f"[{verdict.code}] step {verdict.step}: {words}."


def with_since(title: str, since: str) -> str:
    """Return a title with the words since when it holds behind its first clause, to which they belong.

    >>> with_since("slow: the loss could still fall a lot", " since step 19")
    'slow since step 19: the loss could still fall a lot'
    >>> with_since("stuck at a saddle point", " from the start")
    'stuck at a saddle point from the start'
    """
    first = re.match(r".*?(?=: |, the )|.*", title)
    end = len(title) if first is None else first.end()
    return f"{title[:end]}{since}{title[end:]}"


def since(verdict: Verdict) -> str:
    """Return since when the verdict holds, as in " since step 90"; "" if it begins with the step of the verdict.

    Weights that have never moved are as they were at the start, whenever the loss was found to stand still.
    """
    if verdict.since >= verdict.step:
        return ""
    return " from the start" if verdict.since <= 0 or _never_moved(verdict) else f" since step {verdict.since}"


def sections_of(verdict: Verdict) -> list[Section]:
    """Return what to try, why, and what was tried, each with its lines; without those that are empty."""
    tries = [capitalised(line) for line in verdict.tries]
    if len(tries) > 1:
        tries = [f"{i}. {line}" for i, line in enumerate(tries, 1)]
    sections = [("Try", tries), ("Why", verdict.reason.splitlines()), ("Tried", [capitalised(verdict.tried)])]
    return [(word, lines) for word, lines in sections if any(lines)]


def message(verdict: Verdict, code: str | None = None) -> str:
    """Return the whole message: the title, what to try, why, and what was tried; each line is as long as it is.

    Args:
        verdict: the verdict.
        code: the code of the warning; None for that of the verdict.
    """
    title = title_of(verdict) if code is None else title_of(verdict).replace(f"[{verdict.code}]", f"[{code}]", 1)
    lines = [title]
    for word, of_section in sections_of(verdict):
        indents = [f"  {word}: ", " " * (len(word) + 4)]
        lines += [indents[i > 0] + line for i, line in enumerate(of_section)]
    return "\n".join(lines)


def short_message(verdict: Verdict, begin: str, width: int) -> str:
    """Return the message in at most `MOST_LINES` lines of this width, with as much of it as there is room for.

    What to try comes before the reasons, of which at least the first one is given.

    Args:
        verdict: the verdict.
        begin: stands before the title.
        width: columns of the terminal.
    """
    width = max(NARROWEST, min(width, WIDEST))
    title = textwrap.wrap(begin + title_of(verdict), width, subsequent_indent="  ")
    blocks = [_wrapped(section, width) for section in sections_of(verdict)]
    if len(title) + sum(map(len, blocks)) <= MOST_LINES:
        return "\n".join([*title, *(line for block in blocks for line in block)])
    words = [word for word, _ in sections_of(verdict)]
    lines, left = title[:2], MOST_LINES - len(title[:2]) - 1
    for word, block in zip(words, blocks, strict=True):
        reserved = LINES_OF_WHY if word == "Try" and "Why" in words else 0
        room = max(0, left - reserved) if len(block) > left - reserved else len(block)
        lines += _cut(block, room, width)
        left -= min(room, len(block))
    return "\n".join([*lines, REST])


def short_text(text: str, width: int) -> str:
    """Return a text in lines of this width, at most `MOST_LINES`; a line that begins with spaces keeps them."""
    width = max(NARROWEST, min(width, WIDEST))
    lines: list[str] = []
    for line in text.splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        lines += textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return "\n".join(lines if len(lines) <= MOST_LINES else _cut(lines, MOST_LINES, width))


def _wrapped(section: Section, width: int) -> list[str]:
    word, lines = section
    first, indent = f"  {word}: ", " " * (len(word) + 4)
    wrapped: list[str] = []
    for i, line in enumerate(lines):
        start = indent if i else first
        wrapped += textwrap.wrap(
            line, width, initial_indent=start, subsequent_indent=indent, break_on_hyphens=False
        ) or [start.rstrip()]
    return wrapped


def _cut(lines: Sequence[str], most: int, width: int) -> list[str]:
    """Return at most this many of the lines; an ellipsis ends the last one if some are left out."""
    if len(lines) <= most:
        return list(lines)
    if not most:
        return []
    last = lines[most - 1]
    return [*lines[: most - 1], f"{last if len(last) <= width - 2 else last[: width - 2].rpartition(' ')[0]} …"]


def _never_moved(verdict: Verdict) -> bool:
    """Return whether no weight that is to be trained has moved since the start of the run."""
    parts = verdict.evidence.get(Parts)
    if verdict.cause is not Cause.NOT_UPDATING or parts is None:
        return False
    trained = parts.where(lambda part: part.trainable and part.held)
    return bool(trained) and all(part.unmoved for part in trained)


def cause_in_words(cause: Cause, *, stuck: bool) -> str:
    """Return the title of the cause; for a verdict that is no alarm, "perhaps stuck" in place of "stuck"."""
    title = CAUSES[cause].title
    return title if stuck or not title.startswith("stuck") else f"perhaps {title}"
