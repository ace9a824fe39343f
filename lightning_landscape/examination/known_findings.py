"""What was found in the code, the data and the settings of a run so far, and which warnings were given of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape._text import capitalised
from lightning_landscape.evidence import Finding

SAID_BY = {"graph-cut": "part-without-gradient", "clipped-too-tight": "lost-updates"}
"""findings that say of the same parameters what another one says, which is then no note"""


class KnownFindings:
    """The findings of the latest check or diagnosis of a run."""

    def __init__(self) -> None:
        self.latest: tuple[Finding, ...] = ()
        """the findings, those that weigh most first"""
        self.looked = False
        """whether the wiring was checked after the first optimizer step"""
        self._of_wiring: tuple[Finding, ...] = ()
        self.unseen: str | None = None
        """why the wiring could not be checked; None if it could"""
        self._announced: list[str] = []

    def certain_besides(self, named: Sequence[str]) -> bool:
        """Return whether a mistake is certain that is not among these names of findings."""
        return any(finding.weight == "certain" and finding.name not in named for finding in self.latest)

    def enter_wiring(self, findings: Sequence[Finding]) -> list[Finding]:
        """Do as `enter`, for findings of a check of the wiring, which hold whether the loss stands still or not."""
        self._of_wiring = tuple(findings)
        return self.enter(findings)

    def end_plateau(self) -> None:
        """Forget what was found on a plateau that is over: the loss falls, so it no longer holds the run back."""
        self.latest = self._of_wiring

    def enter(self, findings: Sequence[Finding]) -> list[Finding]:
        """Replace the findings, and return the mistakes that are certain and of which no warning was given yet."""
        self.latest = tuple(findings)
        new = [finding for finding in findings if finding.weight == "certain" and finding.code not in self._announced]
        self._announced += [finding.code for finding in new]
        return new

    def enter_beside_wiring(self, findings: Sequence[Finding]) -> list[Finding]:
        """Do as `enter`, but keep those of the latest check of the wiring."""
        names = [finding.name for finding in findings]
        return self.enter([*findings, *(finding for finding in self._of_wiring if finding.name not in names)])

    def notes(self, in_verdicts: Sequence[str]) -> list[str]:
        """Return a note for each finding that no verdict names.

        Args:
            in_verdicts: the names of the findings that are in a verdict.
        """
        notes = [] if self.unseen is None else [f"the wiring could not be checked: {self.unseen}"]
        said = {SAID_BY[finding.name] for finding in self.latest if finding.name in SAID_BY}
        rest = [finding for finding in self.latest if finding.name not in {*in_verdicts, *said}]
        return notes + [finding_note(finding) for finding in rest]

    def state_dict(self) -> dict[str, Any]:
        """Return everything as builtins, for the checkpoint."""
        return {
            "latest": [finding.to_dict() for finding in self.latest],
            "of_wiring": [finding.to_dict() for finding in self._of_wiring],
            "looked": self.looked,
            "unseen": self.unseen,
            "announced": list(self._announced),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.latest = tuple(Finding.from_dict(finding) for finding in state["latest"])
        self._of_wiring = tuple(Finding.from_dict(finding) for finding in state["of_wiring"])
        self.looked, self.unseen = bool(state["looked"]), state["unseen"]
        self._announced = [str(code) for code in state["announced"]]


def finding_note(finding: Finding) -> str:
    """Return the note of the report on a finding."""
    return f"[{finding.code}] {finding.sentence} Try: {capitalised(finding.advice)}"
