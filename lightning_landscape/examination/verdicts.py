"""The detectors of a run: the usual ones or a user's, none of which may fail for the others."""

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
    """The detectors in use, in the order in which they are asked, and what they make of evidence."""

    detectors: Sequence[Detector] = DETECTORS

    def reached(self, evidence: Evidence, guard: Guard) -> Verdict | None:
        """Return the first verdict; a detector that fails is counted, and the next one is asked."""

        def counted(detector: Detector) -> Detector:
            def asked(known: Evidence) -> Verdict | None:
                found: list[Verdict | None] = []
                guard.attempt(name_of(detector), lambda: found.append(_asked(detector, known)))
                return found[0] if found else None

            return asked

        return diagnose(evidence, [counted(detector) for detector in self.detectors])

    def likely(self, evidence: Evidence) -> Verdict | None:
        """Return the first verdict while an examination is under way: a detector that fails says nothing yet."""
        return diagnose(evidence, self._quiet)

    def open(self, evidence: Evidence) -> bool:
        """Return whether a dearer probe could still change the verdict."""
        return needs_more_evidence(evidence, self._quiet)

    @property
    def _quiet(self) -> list[Detector]:
        return [_quiet(detector) for detector in self.detectors]


def _quiet(detector: Detector) -> Callable[[Evidence], Verdict | None]:
    def asked(evidence: Evidence) -> Verdict | None:
        with suppress(Exception):
            return _asked(detector, evidence)
        return None

    return asked


def _asked(detector: Detector, evidence: Evidence) -> Verdict | None:
    """Return what a detector says, with the evidence that it was asked about where it gives none.

    Raises:
        TypeError: if it returns something else than None or a verdict that can be stored.
    """
    verdict = detector(evidence)
    if verdict is None:
        return None
    if not isinstance(verdict, Verdict):
        raise TypeError(f"a detector returns a Verdict or None, got {shown(verdict)}")
    complete = verdict.evidence if len(verdict.evidence) else evidence
    verdict = replace(verdict, cause=Cause(verdict.cause), evidence=complete)
    Verdict.from_dict(verdict.to_dict())  # what a resumed run could not read is refused here and now
    return verdict
