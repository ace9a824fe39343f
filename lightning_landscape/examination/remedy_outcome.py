"""What remedies did about one alarm, and what became of it: an observation, saved and resumed with the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RemedyOutcome:
    """One alarm, what every remedy said that it did, and whether the run escaped."""

    step: int
    """optimizer step after which the remedies were applied"""
    since: int
    """beginning of the plateau, by which an episode is known"""
    cause: str
    level: float | None
    """the loss at that moment; None where it was no measure, as in a divergence"""
    said: tuple[str, ...]
    escaped: int | None = None
    """step at which the loss was seen to fall again, and below `level`"""
    over: int | None = None
    """step of the next alarm, where it comes before any escape; `step` itself where a remedy asked to stop"""

    @property
    def open(self) -> bool:
        """Whether the outcome is still to come."""
        return self.escaped is None and self.over is None

    def sentence(self, now: int) -> str:
        """What was done, and what became of it by step `now`."""
        by = now if self.over is None else self.over
        if self.escaped is not None:
            outcome = f"; the run escaped at step {self.escaped}"
        elif by > self.step:
            outcome = f"; the run has not escaped by step {by}"
        else:
            outcome = "; whether the run escapes will show" if self.open else ""
        return f"step {self.step} ({self.cause}): {'; '.join(self.said)}{outcome}."
