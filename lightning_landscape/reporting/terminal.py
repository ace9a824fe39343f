"""Print lines, notices and tables to the terminal without tearing a progress bar."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, TextIO

from lightning_landscape.clock import SYSTEM_CLOCK, Clock

LONG = 5.0
"""seconds of work after which a notice is printed"""


@contextmanager
def past_the_bar(stream: TextIO) -> Iterator[None]:
    """Where tqdm draws a bar on this terminal, take it away and draw it again afterwards; Rich needs no help."""
    tqdm: Any = sys.modules.get("tqdm")
    with tqdm.tqdm.external_write_mode(file=stream) if hasattr(tqdm, "tqdm") else nullcontext():
        yield


def say(text: str) -> None:
    """Lines on standard output, whole; where nobody can read it, nothing."""
    stream = sys.stdout
    with suppress(AttributeError, OSError, ValueError), past_the_bar(stream):  # None, a broken pipe, a closed file
        readable = text.encode(stream.encoding or "utf-8", "replace").decode(stream.encoding or "utf-8")
        stream.write(readable + "\n")
        stream.flush()


@contextmanager
def announced(what: str, clock: Clock = SYSTEM_CLOCK) -> Iterator[None]:
    """Print one line if the work inside takes longer than `LONG` seconds by this clock."""
    cancel = clock.call_after(LONG, partial(say, f"lightning_landscape: {what} …"))
    try:
        yield
    finally:
        cancel()


def table(title: str, rows: Sequence[tuple[str, str]], width: int | None = None) -> str:
    """Names and what is to be said of them, between two rules, no wider than the terminal.

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
