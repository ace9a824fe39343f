"""What a verb answers: a document for ``--json``, and blocks of text and tables for people."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lightning_landscape.errors import LandscapeError


class CannotLookError(LandscapeError):
    """The command cannot answer: its arguments, or the files that they name, cannot be used. The message says why.

    The message is one sentence without a full stop, for the user to read; the exit status is then 2.
    """


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; the cells of a row that is an alarm are emphasised on a terminal."""

    columns: Sequence[str]
    """the headings"""
    rows: Sequence[Sequence[str]]
    """one text for each column; none of them is markup"""
    title: str = ""
    """stands above the table; empty for none"""
    alarms: frozenset[int] = frozenset()
    """indices of the rows that are alarms"""
    numbers: frozenset[int] = frozenset()
    """indices of the columns that hold numbers, which are aligned at their right ends"""


@dataclass(frozen=True)
class Panel:
    """A text in a frame, such as a verdict; the first line of the text is emphasised."""

    text: str
    """lines of any length; a line that begins with spaces keeps them when it is wrapped"""
    title: str = ""
    """stands in the frame; empty for none"""
    alarm: bool = False
    """whether the frame has the colour of an alarm"""


Block: TypeAlias = "str | Table | Panel"
"""a paragraph, whose lines may have any length, a table, or a text in a frame"""


@dataclass(frozen=True)
class Answer:
    """The answer of a verb."""

    document: Mapping[str, Any]
    """the whole answer as builtins, for ``--json``; its schema stands in docs/command_line.md"""
    blocks: Sequence[Block]
    """the answer for people, in the order in which it is printed"""
    alarm: bool = False
    """whether something is wrong with what was looked at; the exit status is then 1"""


@dataclass(frozen=True)
class Example:
    """A command line as it is typed, and what it does."""

    command: str
    """begins with ``landscape``"""
    does: str
    """what it does, in a few words in lower case without a full stop"""


@dataclass(frozen=True)
class Verb:
    """One command of the command line.

    `run` returns the answer, or raises `CannotLookError`. Of other errors, the frame turns a `LandscapeError` and an
    `OSError` into the exit status 2; any other is a mistake in this library and is shown with its traceback.
    """

    name: str
    help: str
    """what it does, in one line in lower case without a full stop, for the list of all verbs"""
    description: str
    """what it does, in sentences"""
    examples: Sequence[Example]
    """at least one"""
    add_arguments: Callable[[ArgumentParser], None]
    """declares the arguments; ``--json`` is there already"""
    run: Callable[[Namespace], Answer]
