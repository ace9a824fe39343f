"""Names, lists and shares in words, of a length that fits into messages, tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence


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


def capitalised(text: str) -> str:
    """Return the text with a capital letter at its beginning; a text that begins with code stays as it is.

    >>> capitalised("remove this softmax."), capitalised("`loss` is NaN.")
    ('Remove this softmax.', '`loss` is NaN.')
    """
    return text[:1].upper() + text[1:]


def listed(words: Sequence[str], most: int = 3) -> str:
    """Return the first words in a sentence, and the number of the others.

    >>> listed(["a", "b"]), listed(["a", "b", "c", "d", "e"])
    ('a and b', 'a, b, c and 2 more')
    """
    shown = list(words) if len(words) <= most + 1 else [*words[:most], f"{len(words) - most} more"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1]))) if shown else ""


def percent(share: float) -> str:
    """Return a share in percent; a very small one, and one of over 1,000%, in words.

    >>> percent(0.72), percent(0.013), percent(0.0123), percent(0.00004), percent(29.67)
    ('72%', '1.3%', '1.2%', 'less than 0.01%', '30 times')
    """
    if share >= 10:
        return f"{ratio(share)} times"
    if 0 < share < 1e-4:
        return "less than 0.01%"
    return f"{share:.0%}" if share >= 0.0995 or share <= 0 else f"{100 * share:.2g}%"


def ratio(number: float) -> str:
    """Return a large ratio without decimals; one of a million or more in words.

    >>> ratio(959.7), ratio(12345.0), ratio(1e9)
    ('960', '12,345', 'more than a million')
    """
    return f"{number:,.0f}" if number < 1e6 else "more than a million"
