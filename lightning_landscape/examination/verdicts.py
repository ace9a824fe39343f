"""Call the detectors of a run, so that an error of one does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from lightning_landscape.diagnosis import DETECTORS, Detector, by_finding, diagnose, needs_more_evidence
from lightning_landscape.evidence import Cause, Evidence, LossLevel, Verdict, shown
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.naming import name_of
from lightning_landscape.functional.plateau import TOLERANCE
from lightning_landscape.reporting.messages import NO_DETECTORS, verdict_markdown


@dataclass(frozen=True)
class Verdicts:
    """The detectors in use, in the order in which they are called."""

    detectors: Sequence[Detector] = DETECTORS

    @property
    def uses_findings(self) -> bool:
        """Whether verdicts come from findings as well, so that mistakes are looked for."""
        return by_finding in self.detectors

    def notes(self) -> list[str]:
        """Return the notes of the report: that nothing is judged if there is no detector."""
        return [] if self.detectors else [NO_DETECTORS]

    def reached(self, evidence: Evidence, guard: Guard) -> Verdict | None:
        """Return the first verdict of a detector; an error is counted, and the next detector is called."""

        def guarded(detector: Detector) -> Detector:
            def called(known: Evidence) -> Verdict | None:
                verdicts: list[Verdict | None] = []
                guard.attempt(name_of(detector), lambda: verdicts.append(_checked_verdict(detector, known)))
                return verdicts[0] if verdicts else None

            return called

        return diagnose(evidence, [guarded(detector) for detector in self.detectors])

    def likely(self, evidence: Evidence) -> Verdict | None:
        """Return the first verdict during a diagnosis; errors of detectors are ignored until it ends."""
        return diagnose(evidence, self._quiet)

    def open(self, evidence: Evidence) -> bool:
        """Return whether the readings of a more expensive probe could still change the verdict."""
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
        raise TypeError(f"a detector must return a Verdict or None, got {shown(verdict)}")
    complete = verdict.evidence if len(verdict.evidence) else evidence
    verdict = replace(verdict, cause=Cause(verdict.cause), evidence=complete)
    Verdict.from_dict(verdict.to_dict())  # raises an error for a verdict that a resumed run could not load
    return verdict


def place_of(
    verdict: Verdict, last: Verdict | None, *, first: bool, patience: int
) -> Literal["new", "replaces", "repeats"]:
    """Return whether a verdict stands beside the last one, replaces it, or only repeats it.

    Args:
        verdict: the verdict of a diagnosis.
        last: the latest verdict before it; None if there is none.
        first: whether it is from the first diagnosis of its plateau.
        patience: steps within which another plateau of the same cause counts as the same.
    """
    if last is None:
        return "new"
    near = verdict.since - last.step < patience and not (verdict.stuck and is_lower(verdict, last))
    if last.cause is verdict.cause and last.stuck >= verdict.stuck and (near or not first):
        return "repeats"
    if last.stuck and verdict.cause is Cause.UNDECIDED and near:
        return "repeats"
    if first or verdict.cause is Cause.DIVERGED or (last.stuck and last.cause is not Cause.UNDECIDED):
        return "new"
    return "repeats" if last.stuck > verdict.stuck else "replaces"


def is_lower(verdict: Verdict, last: Verdict) -> bool:
    """Return whether the loss fell by more than 3% of its height between the verdicts; False if it was not measured."""
    now, before = verdict.evidence.get(LossLevel), last.evidence.get(LossLevel)
    return now is not None and before is not None and now.is_below(before.now, TOLERANCE)


def restored(states: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """Return stored verdicts; a damaged one, which cannot be put into words, raises an error now, not in the report."""
    verdicts = [Verdict.from_dict(state) for state in states]
    for verdict in verdicts:
        verdict_markdown(verdict)
    return verdicts
