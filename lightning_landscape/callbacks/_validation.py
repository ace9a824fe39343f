"""The door of the public monitors: what is passed in is what is meant, or it is refused with its value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning_landscape.examination.effort import SETTINGS


def check_numbers(**numbers: Any) -> None:
    """Refuse what is not a whole number; None stands for "choose yourself".

    Raises:
        ValueError: naming the first such argument.
    """
    for name, value in numbers.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValueError(f"{name} must be a whole number, got {value!r}")


def check_functions(**functions: Any) -> None:
    """Refuse what cannot be called; None stands for "none".

    Raises:
        ValueError: naming the first such argument.
    """
    for name, value in functions.items():
        if value is not None and not callable(value):
            raise ValueError(f"{name} must be a function, got {value!r}")


def check_sequences(**functions: Any) -> None:
    """Refuse what is not a sequence of functions; None stands for the usual ones.

    A class is refused as well: it has to be called first, as in `HessianExtremes()`.

    Raises:
        ValueError: naming the first such argument.
    """
    for name, value in functions.items():
        if value is None:
            continue
        if not isinstance(value, Sequence) or not all(callable(f) and not isinstance(f, type) for f in value):
            raise ValueError(f"{name} must be a sequence of functions, got {value!r}")


def check_share(**shares: Any) -> None:
    """Refuse what is not a share in (0, 1]; None stands for "no limit".

    Raises:
        ValueError: naming the first such argument.
    """
    for name, value in shares.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
            raise ValueError(f"{name} must be a share above 0 and at most 1, got {value!r}")


def check_effort(effort: Any, *, budget: Any, **of_examinations: Any) -> None:
    """Refuse an effort that is unknown, or that another argument contradicts.

    Args:
        effort: one of `SETTINGS`.
        budget: the share of the training time at which the clock ends an examination, or None.
        of_examinations: other arguments that have no effect without examinations, by name; None where not given.

    Raises:
        ValueError: listing the settings, or showing both values.
    """
    if effort not in SETTINGS:
        raise ValueError(f"effort must be one of {', '.join(map(repr, SETTINGS))}, got {effort!r}")
    if effort == "light":
        for name, value in {"budget": budget, **of_examinations}.items():
            if value is not None and value != ():
                raise ValueError(
                    f"effort='light' runs no examination, so {name}={value!r} has no effect; remove one of the two"
                )
    if effort == "thorough" and budget is not None:
        raise ValueError(
            f"effort='thorough' asks for whole examinations, which budget={budget!r} would end; remove one of the two"
        )
