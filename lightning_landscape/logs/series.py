"""`Log`, the numbers that a logger has written, and which of them is the training loss."""

from __future__ import annotations

import difflib
import math
import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from lightning_landscape._text import listed
from lightning_landscape.errors import LogError

USUAL_TAGS = (
    *("train_loss_step", "train_loss", "train/loss_step", "train/loss", "training_loss", "loss_step", "loss"),
    *("loss/train", "train_loss_epoch", "train/loss_epoch"),
)
"""names of the training loss, the best first: one value for each step tells more than one for each epoch"""
OTHER_DATA = re.compile(r"(^|[^a-z])(val|valid|validation|test|eval|dev)([^a-z]|$)")
"""tags of losses on other data than those of training"""
DERIVED = re.compile(r"__(min|max)$|(^|/)landscape/", re.IGNORECASE)
"""columns of an export of W&B that surround a value, and the numbers of this library"""


@dataclass
class Series:
    """The values of one tag in the order of the run."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    """the x values as they were logged, ascending"""
    values: array[float] = field(default_factory=lambda: array("d"))
    """the values, of which some may be NaN or infinite"""

    def add(self, step: float, value: float) -> None:
        """Add a value; those of later steps are dropped, since a run that resumes writes them anew."""
        while self.steps and self.steps[-1] > step:
            self.steps.pop()
            self.values.pop()
        self.steps.append(step)
        self.values.append(value)

    def __len__(self) -> int:
        return len(self.steps)


@dataclass
class Log:
    """The numbers of one run."""

    series: dict[str, Series] = field(default_factory=dict)
    """by tag"""
    notes: list[str] = field(default_factory=list)
    """sentences about what could not be read"""
    seen: float | None = None
    """when the last value was written, in seconds since 1970; None if it is unknown"""

    def add(self, tag: str, step: float, value: float) -> None:
        """Add one value of a tag."""
        self.series.setdefault(tag, Series()).add(step, value)

    def chosen(self, tag: str | None = None) -> tuple[str, Series]:
        """Return a tag and its values: that of this name or, without a name, the training loss.

        Raises:
            LogError: if there is no such tag, or none that is called a loss.
        """
        tags = [name for name, series in self.series.items() if series]
        if tag is not None:
            found = tag if tag in tags else _only([name for name in tags if _bare(name) == tag])
            if found is None:
                raise LogError(f"there is no tag {tag!r}; {_nearest(tag, tags)}")
            return found, self.series[found]
        losses = [name for name in tags if "loss" in _bare(name).lower() and not DERIVED.search(name)]
        usual = sorted((USUAL_TAGS.index(_bare(name)), name) for name in losses if _bare(name) in USUAL_TAGS)
        training = [name for name in losses if not OTHER_DATA.search(_bare(name).lower())]
        named = [name for name in training if "train" in _bare(name).lower()]
        if usual and [rank for rank, _ in usual].count(usual[0][0]) == 1:
            return usual[0][1], self.series[usual[0][1]]
        found = None if usual else _only(named) or _only(training)
        if found is None and len(tags) == 1 and not OTHER_DATA.search(tags[0].lower()):
            found = tags[0]
        if found is None:
            which = [name for _, name in usual] or named or training
            said = f"several tags may be the training loss: {listed(which)}" if which else "no tag is a training loss"
            rest = "" if which else f"; there {'is' if len(tags) == 1 else 'are'} {listed(tags, 8)}" if tags else ""
            raise LogError(f"{said}{rest}; choose one with --tag")
        return found, self.series[found]


def _bare(tag: str) -> str:
    """Return a tag without the name of the run, which an export of W&B writes before it."""
    return tag.rpartition(" - ")[2]


def _only(names: Iterable[str]) -> str | None:
    found = list(names)
    return found[0] if len(found) == 1 else None


def _nearest(tag: str, tags: Iterable[str]) -> str:
    """Return the tags that are most like this one, in a clause."""
    names = list(tags)
    if not names:
        return "no number is logged"
    lower = {name.lower(): name for name in names}
    near = [lower[found] for found in difflib.get_close_matches(tag.lower(), lower, n=4, cutoff=0.4)]
    near += [name for name in names if name not in near and tag.lower() in name.lower()]
    return (
        f"the nearest {'is' if len(near) == 1 else 'are'} {listed(near)}" if near else f"there are {listed(names, 8)}"
    )


def number(text: Any) -> float | None:
    """Return a value of a log as a number, which may be NaN or infinite; None if it is no number."""
    if isinstance(text, bool) or text is None:
        return None
    try:
        return float(text)
    except (TypeError, ValueError, OverflowError):
        return None


def step_of(number: float | None, row: int) -> float:
    """Return the step of a row: the number that was logged, or the number of the row where that is none."""
    return number if number is not None and math.isfinite(number) else float(row)
