"""How docstrings become Markdown: doctests as code, papers as notes. Used by mkdocs alone; see mkdocs.yml."""

from __future__ import annotations

import re
from typing import Any

import griffe

DOCTEST = re.compile(r"((?:^ *>>> .*\n?(?:^(?! *$).*\n?)*)(?:\n*(?=^ *>>> ))?)+", re.MULTILINE)
"""prompts and what they print, up to a blank line that no prompt follows"""
PAPER = re.compile(r"^( *)\.\. \[(\w+)\] ", re.MULTILINE)
CITED = re.compile(r"\[(\w+)\]_")


def as_markdown(docstring: str) -> str:
    r"""The docstring as Markdown.

    >>> print(as_markdown("Twice [Doe20]_.\n\n>>> twice(1)\n[2]\n\n.. [Doe20] On doubling."))
    Twice (Doe20).
    <BLANKLINE>
    ```python
    >>> twice(1)
    [2]
    ```
    <BLANKLINE>
    Doe20: On doubling.
    """
    fenced = DOCTEST.sub(lambda found: f"```python\n{found[0].strip()}\n```\n\n", docstring)
    return CITED.sub(r"(\1)", PAPER.sub(r"\1\2: ", re.sub(r"\n{3,}", "\n\n", fenced))).rstrip()


class Docstrings(griffe.Extension):
    """Rewrites every docstring that is shown."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Called by griffe for each module, class, function and attribute."""
        if not obj.is_alias and obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
