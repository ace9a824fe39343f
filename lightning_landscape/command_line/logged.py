"""Judge a run by its logged loss, for the verbs that look at runs that were not watched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_landscape.errors import LogError
from lightning_landscape.evidence import CAUSES
from lightning_landscape.logs.judged import judge
from lightning_landscape.logs.judgement import JudgedLoss
from lightning_landscape.logs.series import Log, Series
from lightning_landscape.logs.words import pace, sentences, title

RATES = re.compile(r"^(lr-.*|lr|learning_rate|train/(lr|learning_rate))$")
"""tags of the learning rate; `LearningRateMonitor` logs ``lr-AdamW``"""


@dataclass(frozen=True)
class LoggedRun:
    """A run with what its loss shows."""

    run: str
    """its name, or the file"""
    tag: str
    """the tag that was judged"""
    loss: Series
    judged: JudgedLoss
    notes: tuple[str, ...] = ()
    """sentences about what could not be read"""
    seen: float | None = None
    """when the last value was written, in seconds since 1970"""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that the documentation of ``landscape plateau`` lists."""
        judged = self.judged
        usual, fastest, slowest = judged.steps_to_fall
        trend, level = judged.trend, judged.level
        return {
            "run": self.run,
            "tag": self.tag,
            "state": judged.state,
            "alarm": judged.alarm,
            "cause": None if judged.cause is None else judged.cause.value,
            "code": None if judged.cause is None else CAUSES[judged.cause].code,
            "since": judged.since,
            "loss": {"start": level.start, "lowest": level.best, "now": level.now},
            "values": judged.values,
            "first_step": judged.first_step,
            "last_step": judged.last_step,
            "every": judged.every,
            "test": {
                "window": trend.window,
                "fallen": trend.progress,
                "fallen_at_most": trend.largest_fall,
                "noticed": max(trend.threshold, trend.margin),
            },
            "further_1_percent": {"steps": usual, "at_least": fastest, "at_most": slowest},
            "stretches": [
                {"since": s.since, "until": s.until, "loss": s.loss, "stuck": s.stuck, "noticed": s.noticed}
                for s in judged.stretches
            ],
            "sentences": [title(judged), *sentences(judged)],
            "notes": list(self.notes),
        }

    @property
    def pace(self) -> str:
        """How many steps a further fall by 1% takes, in a sentence."""
        return pace(self.judged)


def judged_run(
    run: str, log: Log, tag: str | None = None, horizon: float | None = None, floor: float | None = None
) -> LoggedRun:
    """Return the run with what its loss shows; a `LogError` is raised if it has no such loss or too few values."""
    name, loss = log.chosen(tag)
    rates = [series for other, series in log.series.items() if RATES.match(other)]
    judged = judge(loss, horizon, rates[0] if len(rates) == 1 else None, floor)
    return LoggedRun(run, name, loss, judged, tuple(log.notes), log.seen)


def name_below(folder: Path, directory: Path) -> str:
    """Return the name of a run: its directory below the folder, or that of the folder itself."""
    return directory.relative_to(folder).as_posix() if directory != folder else folder.absolute().name or str(folder)


def reason_of(error: LogError, directory: Path) -> str:
    """Return an error without the directory at its beginning, for a table that names it already."""
    return str(error).removeprefix(f"{directory} ")
