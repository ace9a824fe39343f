"""Print lines, notices and tables to the terminal without breaking a progress bar."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import TextIO

from lightning_landscape.clock import SYSTEM_CLOCK, Clock

NOTICE_AFTER = 5.0
"""seconds of work after which a notice is printed"""


@contextmanager
def progress_bar_cleared(stream: TextIO) -> Iterator[None]:
    """Clear tqdm's progress bars inside the context and draw them again afterwards; Rich does so by itself."""
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
    with nullcontext() if tqdm is None else tqdm.external_write_mode(file=stream):
        yield


def print_line(text: str) -> None:
    """Print the text to standard output, above any progress bar; print nothing if the output is closed."""
    stream = sys.stdout
    with suppress(AttributeError, OSError, ValueError), progress_bar_cleared(stream):  # None, a broken pipe, closed
        readable = text.encode(stream.encoding or "utf-8", "replace").decode(stream.encoding or "utf-8")
        stream.write(readable + "\n")
        stream.flush()


@contextmanager
def notice_if_slow(work: str, clock: Clock = SYSTEM_CLOCK) -> Iterator[None]:
    """Print one line that names the work if the context takes longer than `NOTICE_AFTER` seconds by this clock."""
    cancel = clock.call_after(NOTICE_AFTER, partial(print_line, f"lightning_landscape: {work} …"))
    try:
        yield
    finally:
        cancel()


def table(title: str, rows: Sequence[tuple[str, str]], width: int | None = None) -> str:
    """Return rows of a name and a text between two rules, no wider than the terminal.

    >>> print(table("Loss landscape", [("verdict", "settled"), ("steps", "200")], width=40))
    ── Loss landscape ──────────────────────
      verdict  settled
      steps    200
    ────────────────────────────────────────
    """
    width = max(40, min(width or shutil.get_terminal_size((100, 24)).columns, 110))
    column = max((len(name) for name, _ in rows), default=0)
    lines = [f"── {title} ".ljust(width, "─")]
    for name, text in rows:
        head, *rest = textwrap.wrap(text, width - column - 4) or [""]
        lines += [f"  {name:<{column}}  {head}", *(f"  {'':<{column}}  {line}" for line in rest)]
    return "\n".join([*lines, "─" * width])
