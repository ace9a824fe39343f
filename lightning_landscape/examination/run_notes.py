"""The notes of the report on what was observed of a run, besides its verdicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_landscape.diagnosis.findings.loss_sign import no_lowest_loss
from lightning_landscape.diagnosis.thresholds import PARAMETERS_UNREACHED
from lightning_landscape.evidence import Cause, Evidence, Wiring
from lightning_landscape.examination.known_findings import finding_note
from lightning_landscape.reporting.messages import JUDGED_BY_METRIC, NO_LOSS, NOT_JUDGED, TOO_SHORT

if TYPE_CHECKING:
    from lightning_landscape.examination.run_state import RunState


def notes_of(state: RunState) -> list[str]:
    """Return the notes: on missing verdicts, warnings, findings, untrained parameters and remedies."""
    notes = _why_not_judged(state)
    notes += [f"the warning [{code}] was given; docs/warnings.md explains it" for code in state.announced_codes]
    if not state.findings.latest and all(verdict.cause is not Cause.NOT_UPDATING for verdict in state.verdicts):
        if state.coverage.outside_optimizers > PARAMETERS_UNREACHED:
            notes.append(f"no optimizer holds {state.coverage.outside_optimizers:.0%} of the trainable parameters")
        if state.no_grad_share > PARAMETERS_UNREACHED:
            notes.append(f"{state.no_grad_share:.0%} of the parameters received no gradient")
    notes += state.findings.notes(state.named_findings)
    notes += _of_the_level(state)
    wiring = state.readings.latest(Wiring)
    notes += [wiring.unseen_sentence] if wiring is not None and wiring.unseen_sentence is not None else []
    notes += state.metrics.notes()
    return notes + [outcome.sentence(state.step) for outcome in state.remedy_outcomes if outcome.said]


def _of_the_level(state: RunState) -> list[str]:
    """Return the note that the loss falls without end, in a list; empty if it does not, or if that was said."""
    said = {*state.named_findings, *(finding.name for finding in state.findings.latest)}
    level, several = state.progress.level, state.optimizer_count > 1
    finding = None if level is None or several else no_lowest_loss(Evidence(level))
    if finding is None or said & {finding.name, "wrong-sign"} or state.progress.divergence is not None:
        return []
    return [finding_note(finding)]


def _why_not_judged(state: RunState) -> list[str]:
    """Return a note that says why the loss of the run could not be judged, in a list; empty if it could."""
    progress = state.progress
    if state.metrics.judges:
        return [JUDGED_BY_METRIC] if state.optimizer_count > 1 or state.start.first is None else []
    if state.optimizer_count > 1:
        players = state.of_players
        return [NOT_JUDGED, *(() if players is None else (player.sentence for player in players.players))]
    if not state.steps or state.verdicts or progress.trend is not None or progress.divergence is not None:
        return []
    return [NO_LOSS if state.start.first is None else TOO_SHORT]
