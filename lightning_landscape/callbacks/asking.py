"""Answer the question of another process, such as `landscape ask`, at a check of a running fit.

The question is a small file in the directory of the run's events. At each check rank 0 looks whether it is there, and
removes it; the other ranks learn of it with the numbers that are averaged at each check anyway. What the loss does and
what the diagnosis may cost decide as usual. The answer is an event.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lightning_landscape.evidence import Verdict
from lightning_landscape.examination.examination import Examination
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.reporting.questions import NO_QUESTION, UNLESS_IT_FALLS, Asked, take_question
from lightning_landscape.reporting.reporter import Reporter

MOST_CHECKS = 4
"""checks after which a question is answered without a diagnosis: batches are captured for the check after the question,
and a checkpoint may put it off by one more"""
FALLS = "The loss still falls, so nothing was examined; ask with --now to examine the run all the same."
SEVERAL = "The run has several optimizers, whose losses need not fall, so it is not judged."
NOT_MADE = "No diagnosis could be made."


class Asking:
    """The question that a fit is about to answer."""

    def __init__(self) -> None:
        self._asked, self._checks, self._open = Asked(), 0, False
        self._verdict: Verdict | None = None

    def look(self, folder: Path | None) -> float:
        """Return whether there is a new question, as a number for `enter`; on ranks without a directory there is none.

        A question that comes while another one is open stays where it is until that one is answered.

        Args:
            folder: the directory of the run's events; None on all ranks but rank 0.
        """
        if folder is None or self._open or (asked := take_question(folder)) is None:
            return float(NO_QUESTION)
        self._asked = asked
        return float(asked.number)

    def enter(self, number: float, state: RunState, reporter: Reporter) -> None:
        """Begin to answer the question with this number, which is the same on all ranks."""
        if round(number) == NO_QUESTION:
            self._checks += 1
            return
        self._checks, self._verdict = 0, None
        reporter.event("asked", state.step, id=self._asked.id)
        if state.optimizer_count > 1:
            self._answer(reporter, state, SEVERAL)
        elif round(number) == UNLESS_IT_FALLS and state.progress.falls:
            self._answer(reporter, state, FALLS)
        else:
            state.asked = self._open = True

    def heard(self, verdict: Verdict | None, state: RunState) -> Verdict | None:
        """Take the verdict of a diagnosis; return it if the run itself is to be judged, and None if it only answers.

        A run whose loss falls is not stuck, whatever was found.
        """
        if not state.asked or verdict is None:
            return verdict
        falls = state.progress.falls
        self._verdict = replace(verdict, stuck=False) if falls else verdict
        return verdict if state.progress.stalled or state.unclear else None

    def end_check(self, state: RunState, examination: Examination, reporter: Reporter) -> None:
        """Answer, if the diagnosis was made or cannot be made."""
        if not state.asked or examination.memory.underway is not None:
            return
        if self._verdict is not None:
            self._answer(reporter, state, "")
        elif state.progress.divergence is not None and state.verdicts:
            self._verdict = state.verdicts[-1]
            self._answer(reporter, state, "")
        elif self._checks >= MOST_CHECKS:
            notes = [note for note in examination.notes() if note.startswith(("left out", "skipped"))]
            self._answer(reporter, state, " ".join([NOT_MADE, *notes]))

    def _answer(self, reporter: Reporter, state: RunState, why: str) -> None:
        """Write the answer: the verdict, or the reason why there is none."""
        state.asked = self._open = False
        verdict = None if self._verdict is None else self._verdict.to_dict()
        reporter.event("answer", state.step, id=self._asked.id, verdict=verdict, why=why)
