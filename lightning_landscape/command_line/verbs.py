"""The verbs of the command line, in the order in which ``landscape --help`` lists them.

A verb is a file in this folder that defines `VERB`, and a line in `VERBS`; it imports torch and other large packages
only in the functions that need them, so that the others stay quick.
"""

from __future__ import annotations

from lightning_landscape.command_line import (
    ask,
    compare,
    examine,
    explain,
    path,
    plateau,
    report,
    runs,
    show,
    what_if,
)
from lightning_landscape.command_line.answer import Verb

VERBS: tuple[Verb, ...] = (
    *(runs.VERB, show.VERB, explain.VERB, report.VERB, plateau.VERB),
    *(ask.VERB, examine.VERB, what_if.VERB, path.VERB, compare.VERB),
)
