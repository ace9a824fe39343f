"""Fit names and values of unknown length into messages, tables and pictures."""

from __future__ import annotations


def shortened(text: str, length: int) -> str:
    """Return the text on one line of at most `length` characters; an ellipsis replaces the middle of a longer text.

    Characters that cannot be printed, such as line breaks, become spaces.

    >>> shortened("encoder.layers.11.attention", 16)
    'encoder…ttention'
    """
    line = "".join(character if character.isprintable() else " " for character in text)
    tail = length // 2
    return line if len(line) <= length else f"{line[: length - tail - 1]}…{line[-tail:]}"


def times(count: int) -> str:
    """Return a count in words.

    >>> times(1), times(3)
    ('1 time', '3 times')
    """
    return f"{count} time{'s' * (count > 1)}"
