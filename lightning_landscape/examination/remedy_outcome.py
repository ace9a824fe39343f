"""What remedies did about one alarm, and whether the run escaped from its plateau."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemedyOutcome:
    """One alarm, what each remedy did, and whether the run escaped from its plateau."""

    step: int
    """optimizer step after which the remedies were called"""
    since: int
    """optimizer step at which the plateau began"""
    cause: str
    """the cause of the alarm, such as "saddle_point" """
    level: float | None
    """the loss when the remedies were called; None after a divergence"""
    said: tuple[str, ...]
    """the sentence that each remedy returned, with the name of the remedy"""
    escaped: int | None = None
    """step at which the loss was falling again and was below `level`; None if it has not been so yet"""
    over: int | None = None
    """step of the next alarm, if that came before an escape; `step` itself if a remedy stopped the run"""

    @property
    def open(self) -> bool:
        """Whether it is not known yet whether the run escapes."""
        return self.escaped is None and self.over is None

    def sentence(self, now: int) -> str:
        """Return what was done, and whether the run has escaped by step `now`."""
        by = now if self.over is None else self.over
        if self.escaped is not None:
            outcome = f"; the run escaped at step {self.escaped}"
        elif by > self.step:
            outcome = f"; the run has not escaped by step {by}"
        else:
            outcome = "; it is not known yet whether the run escapes" if self.open else ""
        return f"step {self.step} ({self.cause}): {'; '.join(self.said)}{outcome}."
