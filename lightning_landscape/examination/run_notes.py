"""The notes of the report on what was observed of a run, besides its verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_landscape.diagnosis.thresholds import PARAMETERS_UNREACHED
from lightning_landscape.evidence import Cause, Wiring
from lightning_landscape.reporting.messages import NOT_JUDGED

if TYPE_CHECKING:
    from lightning_landscape.examination.run_state import RunState


def notes_of(state: RunState) -> list[str]:
    """Return the notes: on missing verdicts, warnings, findings, untrained parameters and remedies."""
    notes = [NOT_JUDGED] if state.optimizer_count > 1 else []
    notes += [f"the warning [{code}] was given; docs/causes.md explains it" for code in state.announced_codes]
    if not state.findings.latest and all(verdict.cause is not Cause.NOT_UPDATING for verdict in state.verdicts):
        if state.coverage.outside_optimizers > PARAMETERS_UNREACHED:
            notes.append(f"no optimizer holds {state.coverage.outside_optimizers:.0%} of the trainable parameters")
        if state.no_grad_share > PARAMETERS_UNREACHED:
            notes.append(f"{state.no_grad_share:.0%} of the parameters received no gradient")
    notes += state.findings.notes(state.named_findings)
    wiring = state.readings.latest(Wiring)
    notes += [wiring.unseen_sentence] if wiring is not None and wiring.unseen_sentence is not None else []
    return notes + [outcome.sentence(state.step) for outcome in state.remedy_outcomes if outcome.said]
