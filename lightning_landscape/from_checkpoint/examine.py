"""Make a whole diagnosis of a run at one of its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_landscape.evidence import Verdict
from lightning_landscape.examination.effort import Setting
from lightning_landscape.from_checkpoint.examiner import STEPS, Examiner
from lightning_landscape.from_checkpoint.fit import RunFailedError, continue_fit, quiet
from lightning_landscape.from_checkpoint.loading import StoredRun
from lightning_landscape.reporting.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Examined:
    """What the diagnosis of a checkpoint found."""

    verdict: Verdict | None
    """the verdict; None where none was reached, as with several optimizers"""
    report: Report
    """the report, as that of a live monitor"""
    watched: bool
    """whether the checkpoint held the state of the run's own `LandscapeMonitor`, which was used"""
    skipped: Mapping[str, str]
    """what could not be measured, and why"""
    examiner: Examiner

    def figures(self) -> Mapping[str, Figure]:
        """Return the figures, drawn now, by their names."""
        return self.examiner.figures()


def examine(run: StoredRun, *, effort: Setting = "standard", anchors: Sequence[str] = ()) -> Examined:
    """Make a whole diagnosis of a run at its checkpoint; the run, its checkpoint and its files stay as they are.

    The question whether the run is stuck is taken from the caller: nothing tests first whether the loss stands still.

    Args:
        run: the run.
        effort: how much the diagnosis may compute: "standard" or "thorough".
        anchors: paths of other checkpoints of the run, to which lines are drawn.

    Raises:
        RunFailedError: if the run cannot be continued from the checkpoint, or the training data end too soon.
    """
    examiner = Examiner(run, effort=effort, anchors=anchors)
    continue_fit(run, examiner, steps=STEPS)
    if not examiner.examined:
        raise RunFailedError(
            f"fewer than {STEPS} optimizer steps could be taken from {run.path}; give a longer training loader"
        )
    with quiet():
        report = examiner.report
    return Examined(examiner.answer, report, examiner.watched, examiner.skipped, examiner)
