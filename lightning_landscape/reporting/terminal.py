"""Show warnings, lines, notices and tables on the terminal without breaking a progress bar."""

from __future__ import annotations

import io
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, TextIO

from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.evidence.message import short_text
from lightning_landscape.reporting._compat import rich_console

PACKAGE = "lightning_landscape"
"""stands where other warnings name a file, so that no message begins with a path into ``site-packages``"""
NOTICE_AFTER = 5.0
"""seconds of work after which a notice is printed"""


@contextmanager
def progress_bar_cleared(stream: TextIO) -> Iterator[None]:
    """Clear tqdm's progress bars inside the context and draw them again afterwards; Rich does so by itself."""
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
    with nullcontext() if tqdm is None else tqdm.external_write_mode(file=stream):
        yield


def announce(text: str, kind: type[Warning], brief: Callable[[str, int], str] | None = None) -> None:
    """Raise a warning of this category, on lines of its own above any progress bar.

    The warning has the whole text. What is printed is wrapped for the terminal and cut off if it is long.

    Args:
        text: the text of the warning.
        kind: the category.
        brief: returns what is printed, from what it has to begin with and the number of columns; None for the text.
    """
    printed = (lambda begin, width: short_text(begin + text, width)) if brief is None else brief
    with progress_bar_cleared(sys.stderr), _formatted_by(printed):
        warnings.warn_explicit(text, kind, PACKAGE, 1, module=PACKAGE)


@contextmanager
def _formatted_by(printed: Callable[[str, int], str]) -> Iterator[None]:
    """Let warnings of this package be printed in this form inside the context, and all others as they are usually."""
    usual = warnings.formatwarning

    def formatted(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if filename != PACKAGE:
            return usual(message, category, filename, lineno, line)
        console = rich_console(sys.stderr)
        if console is not None:
            return _in_panel(printed("", console.width - 4), category.__name__, console)
        return printed(f"{category.__name__}: ", shutil.get_terminal_size((100, 24)).columns) + "\n"

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _in_panel(text: str, title: str, console: Any) -> str:
    """Return the text in a panel of Rich, as characters and colour codes that the display of this console prints."""
    from rich.console import Console
    from rich.panel import Panel
    from rich.text import Text

    first, _, rest = text.partition("\n")
    content = Text.assemble((first, "bold"), f"\n{rest}" if rest else "")
    panel = Panel(content, title=title, title_align="left", border_style="yellow", expand=False)
    drawn = Console(
        file=io.StringIO(), width=console.width, force_terminal=True, color_system=console.color_system or "auto",
        no_color=console.no_color, legacy_windows=False,
    )  # fmt: skip
    with drawn.capture() as captured:
        drawn.print(panel)
    return str(captured.get())


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
