"""Write an answer: as JSON, in Rich's tables where a terminal is attached, and as plain text where not."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from lightning_landscape.command_line.answer import Answer, Block, Panel, Table

WIDEST = 110
"""columns for which text is wrapped on a wider terminal"""


def write_json(document: Mapping[str, Any]) -> None:
    """Write a document to standard output as JSON; a number that is not finite becomes null."""
    write(sys.stdout, json.dumps(_finite(document), indent=2, allow_nan=False) + "\n")


def write_answer(answer: Answer) -> None:
    """Write the blocks of an answer to standard output."""
    if sys.stdout.isatty() and _write_with_rich(answer.blocks):
        return
    width = shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else None
    write(sys.stdout, plain_text(answer.blocks, width) + "\n")


def write(stream: TextIO, text: str) -> None:
    """Write a text to a stream; what its encoding does not have becomes a question mark."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()


def plain_text(blocks: Sequence[Block], width: int | None = None) -> str:
    """Return the blocks as text, with an empty line between two of them.

    >>> print(plain_text(["Two runs.", Table(["run", "loss"], [["a", "0.5"], ["long", "12"]], numbers=frozenset([1]))]))
    Two runs.
    <BLANKLINE>
    run   loss
    a      0.5
    long    12

    Args:
        blocks: what to write.
        width: columns at which paragraphs are wrapped; None to leave each line as long as it is.
    """
    return "\n\n".join(_plain(block, width) for block in blocks)


def _plain(block: Block, width: int | None) -> str:
    if isinstance(block, Table):
        return _plain_table(block)
    text = block if isinstance(block, str) else block.text
    lines = [f"── {_one_line(block.title)}"] if isinstance(block, Panel) and block.title else []
    for line in printable(text).splitlines():
        lines += _wrapped(line, min(width, WIDEST)) if width else [line]
    return "\n".join(lines)


def _wrapped(line: str, width: int) -> list[str]:
    """Return a line in lines of this width; those after the first are indented by two more spaces where it is."""
    indent = len(line) - len(line.lstrip())
    following = " " * (indent + 2 if indent else 0)
    return textwrap.wrap(line, max(width, 40), subsequent_indent=following, break_on_hyphens=False) or [""]


def _plain_table(table: Table) -> str:
    rows = [[_one_line(cell) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = [
        "  ".join(
            f"{cell:>{width}}" if i in table.numbers else f"{cell:<{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*([printable(table.title)] if table.title else []), *aligned])


def _write_with_rich(blocks: Sequence[Block]) -> bool:
    """Write the blocks with Rich, and return whether it is installed."""
    try:
        from rich.console import Console
    except ImportError:
        return False
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(console.width, WIDEST) if all(isinstance(b, str) for b in blocks) else console.width
    for i, block in enumerate(blocks):
        if i:
            console.print()
        console.print(_rich(block, console.width))
    return True


def _rich(block: Block, width: int) -> Any:
    from rich import box
    from rich.panel import Panel as RichPanel
    from rich.table import Table as RichTable
    from rich.text import Text

    if isinstance(block, Panel):
        lines = (line for long in printable(block.text).splitlines() for line in _wrapped(long, min(width, WIDEST) - 4))
        first, _, rest = "\n".join(lines).partition("\n")
        content = Text.assemble((first, "bold"), f"\n{rest}" if rest else "")
        colour = "yellow" if block.alarm else "blue"
        title = Text(_one_line(block.title)) if block.title else None
        return RichPanel(content, title=title, title_align="left", border_style=colour, expand=False)
    if isinstance(block, str):
        return Text("\n".join(line for long in printable(block).splitlines() for line in _wrapped(long, WIDEST)))
    drawn = RichTable(title=Text(printable(block.title)) if block.title else None, box=box.SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(block.columns):
        drawn.add_column(Text(name), justify="right" if i in block.numbers else "left", overflow="fold")
    for i, row in enumerate(block.rows):
        style = "bold yellow" if i in block.alarms else None
        drawn.add_row(*(Text(_one_line(cell)) for cell in row), style=style)
    return drawn


def printable(text: str) -> str:
    """Return the text with a space in place of each character that cannot be printed, line breaks excepted.

    A name from a file may contain the control characters of terminals.
    """
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)


def _one_line(text: str) -> str:
    return printable(text).replace("\n", " ")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
