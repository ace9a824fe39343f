"""From evidence to findings: what in the code, the data or the settings of a run is wrong.

A finder is a function that takes `Evidence` and returns a `Finding`, or None if it finds nothing or lacks a reading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lightning_landscape.diagnosis.findings import (
    batch_dimension,
    data,
    decay,
    dropout,
    finiteness,
    graph_cuts,
    history,
    linear_model,
    log_probabilities,
    loss_sign,
    midway,
    outputs,
    parts,
    players,
    schedule,
    small_inputs,
    step_sizes,
    token_masks,
    wiring,
)
from lightning_landscape.diagnosis.verdicts import verdict_of
from lightning_landscape.evidence import WEIGHTS, Cause, Evidence, Finding, Verdict

Finder: TypeAlias = Callable[[Evidence], Finding | None]

FINDERS: tuple[Finder, ...] = (
    finiteness.not_finite,
    players.not_finite_weights,
    players.optimizer_without_updates,
    players.optimizer_stands_still,
    players.discriminator_wins,
    loss_sign.wrong_sign,
    wiring.squashed_twice,
    wiring.softmax_of_one,
    log_probabilities.not_log_probabilities,
    batch_dimension.samples_as_sequence,
    token_masks.inverted_mask,
    wiring.unowned_parameters,
    wiring.broadcast,
    wiring.output_range,
    wiring.rectified_logits,
    dropout.strong_dropout,
    graph_cuts.graph_cut,
    graph_cuts.detached_from_a_part,
    parts.stale_optimizer,
    step_sizes.gradients_not_zeroed,
    schedule.wrong_interval,
    decay.gone_after_an_epoch,
    schedule.schedule_ended,
    schedule.impatient_plateau_scheduler,
    data.not_finite_inputs,
    data.constant_inputs,
    data.unshuffled,
    history.data_changed,
    data.target_scale,
    data.input_scale,
    small_inputs.small_inputs,
    data.repeated_batches,
    midway.frozen_midway,
    midway.detached_midway,
    parts.zero_learning_rate,
    step_sizes.clipped_too_tight,
    parts.lost_updates,
    history.weights_put_back,
    parts.part_without_gradient,
    parts.zero_gradient,
    parts.unheld_parameters,
    step_sizes.weights_shrunk,
    history.units_died,
    history.lost_midway,
    step_sizes.weights_blown_up,
    outputs.collapsed,
    outputs.saturated_softmax,
    outputs.constant_prediction,
    loss_sign.no_lowest_loss,
    linear_model.linear_model_predicts,
)
"""the finders in the order in which they are called: of two findings of equal weight, the first is the verdict"""


def found(evidence: Evidence, finders: Sequence[Finder] = FINDERS) -> tuple[Finding, ...]:
    """Return all findings, those that weigh most first."""
    findings = [finding for finder in finders if (finding := finder(evidence)) is not None]
    return tuple(sorted(findings, key=lambda finding: WEIGHTS.index(finding.weight)))


def by_finding(evidence: Evidence) -> Verdict | None:
    """Return the verdict of the first finding that is more than a note, as an alarm; None if there is none."""
    finding = next((finding for finding in found(evidence) if finding.weight != "note"), None)
    return None if finding is None else verdict_of(evidence, finding.cause, "", stuck=True, finding=finding)


def of_divergence(evidence: Evidence) -> Finding | None:
    """Return the first finding that explains a divergence: one of that cause, or a mistake that is certain."""
    findings = (finding for finding in found(evidence) if finding.weight != "note")
    return next((f for f in findings if f.cause is Cause.DIVERGED or f.weight == "certain"), None)
