"""From evidence to findings: what in the code, the data or the settings of a run is wrong.

A finder is a function that takes `Evidence` and returns a `Finding`, or None if it finds nothing or lacks a reading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lightning_landscape.evidence import WEIGHTS, Evidence, Finding

Finder: TypeAlias = Callable[[Evidence], Finding | None]

FINDERS: tuple[Finder, ...] = ()
"""the finders in the order in which they are called: of two findings of equal weight, the first is the verdict"""


def found(evidence: Evidence, finders: Sequence[Finder] = FINDERS) -> tuple[Finding, ...]:
    """Return all findings, those that weigh most first."""
    findings = [finding for finder in finders if (finding := finder(evidence)) is not None]
    return tuple(sorted(findings, key=lambda finding: WEIGHTS.index(finding.weight)))
