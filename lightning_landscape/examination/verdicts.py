"""The detectors of a run: the library's and the user's, so that an error of one does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from lightning_landscape.diagnosis import DETECTORS, Detector, diagnose, needs_more_evidence
from lightning_landscape.evidence import Cause, Evidence, Verdict, shown
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.naming import name_of


@dataclass(frozen=True)
class Verdicts:
    """The detectors in use, in the order in which they are called."""

    detectors: Sequence[Detector] = DETECTORS

    def reached(self, evidence: Evidence, guard: Guard) -> Verdict | None:
        """Return the first verdict of a detector; an error is counted, and the next detector is called."""

        def guarded(detector: Detector) -> Detector:
            def called(known: Evidence) -> Verdict | None:
                found: list[Verdict | None] = []
                guard.attempt(name_of(detector), lambda: found.append(_checked_verdict(detector, known)))
                return found[0] if found else None

            return called

        return diagnose(evidence, [guarded(detector) for detector in self.detectors])

    def likely(self, evidence: Evidence) -> Verdict | None:
        """Return the first verdict while a diagnosis is going on; errors of detectors are ignored for now."""
        return diagnose(evidence, self._quiet)

    def open(self, evidence: Evidence) -> bool:
        """Return whether a more expensive probe could still change the verdict."""
        return needs_more_evidence(evidence, self._quiet)

    @property
    def _quiet(self) -> list[Detector]:
        return [_quiet(detector) for detector in self.detectors]


def _quiet(detector: Detector) -> Callable[[Evidence], Verdict | None]:
    def called(evidence: Evidence) -> Verdict | None:
        with suppress(Exception):
            return _checked_verdict(detector, evidence)
        return None

    return called


def _checked_verdict(detector: Detector, evidence: Evidence) -> Verdict | None:
    """Return the verdict of a detector, with the evidence that it was called with where the verdict has none.

    Raises:
        TypeError: if it returns anything but None or a verdict that can be stored.
    """
    verdict = detector(evidence)
    if verdict is None:
        return None
    if not isinstance(verdict, Verdict):
        raise TypeError(f"a detector returns a Verdict or None, got {shown(verdict)}")
    complete = verdict.evidence if len(verdict.evidence) else evidence
    verdict = replace(verdict, cause=Cause(verdict.cause), evidence=complete)
    Verdict.from_dict(verdict.to_dict())  # a verdict that a resumed run could not read is refused at once
    return verdict
