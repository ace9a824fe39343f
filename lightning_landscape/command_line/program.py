"""Read the arguments, run the verb, write its answer, and return the exit status."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import NoReturn

from lightning_landscape import __version__
from lightning_landscape.command_line.answer import CannotLookError, Verb
from lightning_landscape.command_line.output import printable, write, write_answer, write_json
from lightning_landscape.command_line.verbs import VERBS
from lightning_landscape.errors import LandscapeError

PROGRAM = "landscape"
NOTHING_WRONG, ALARM, COULD_NOT_LOOK, INTERRUPTED = 0, 1, 2, 130
"""the exit statuses"""
STATUSES = "Exit status: 0 if nothing is wrong, 1 for an alarm, 2 if the command could not look."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status: 0 if nothing is wrong, 1 for an alarm, 2 if it could not look."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not given:
            write(sys.stderr, parser().format_help())
            return COULD_NOT_LOOK
        return _answered(given)
    except KeyboardInterrupt:
        return INTERRUPTED


def _answered(given: Sequence[str]) -> int:
    """Run a command, write its answer or why there is none, and return the exit status."""
    try:
        options = parser().parse_args(given)
        answer = options.verb.run(options)
    except (LandscapeError, OSError) as error:
        reason = _sentence(error)
        write(sys.stderr, f"{PROGRAM}: {printable(reason)}\n")
        if "--json" in given:
            write_json({"error": reason})
        return COULD_NOT_LOOK
    try:
        if options.json:
            write_json(answer.document)
        else:
            write_answer(answer)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough; Python would complain when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ALARM if answer.alarm else NOTHING_WRONG


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error) or type(error).__name__


class _Parser(ArgumentParser):
    """A parser that raises an error for wrong arguments in place of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise CannotLookError(f"{message}; `{self.prog} --help` lists the arguments")


def parser() -> ArgumentParser:
    """Return the parser of all verbs; what it returns has the chosen one as `verb`."""
    whole = _Parser(
        prog=PROGRAM,
        description=_filled("Says what is wrong with a training run, from its logs and checkpoints."),
        epilog="\n".join([f"examples:\n{_examples(VERBS)}\n", STATUSES]),
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"lightning_landscape {__version__}")
    verbs = whole.add_subparsers(required=True, metavar="command", parser_class=_Parser)
    for verb in VERBS:
        own = verbs.add_parser(
            verb.name,
            help=verb.help,
            description=_filled(verb.description),
            epilog="\n".join([f"examples:\n{_examples([verb])}\n", STATUSES]),
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        verb.add_arguments(own)
        own.add_argument("--json", action="store_true", help="print one JSON document in place of text")
        own.set_defaults(verb=verb)
    return whole


def _filled(text: str) -> str:
    return textwrap.fill(text, min(shutil.get_terminal_size((100, 24)).columns, 100) - 2)


def _examples(verbs: Sequence[Verb]) -> str:
    """Return the examples of one verb, or the first example of each of several, with a comment above each."""
    shown = [example for verb in verbs for example in (verb.examples if len(verbs) == 1 else verb.examples[:1])]
    return "\n".join(f"  # {example.does}\n  {example.command}" for example in shown)
