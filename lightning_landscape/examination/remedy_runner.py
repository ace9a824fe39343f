"""Call the user's remedies once for each alarm, and observe whether the run escapes from the plateau."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch.optim import Optimizer

from lightning_landscape.evidence import Cause, Verdict
from lightning_landscape.examination.account import ProbeReason
from lightning_landscape.examination.examination import Examination
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.naming import name_of
from lightning_landscape.examination.remedy_outcome import RemedyOutcome
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.probes.curvature import HessianExtremes, distances_from, losses_along
from lightning_landscape.remedies import Halt, Remedy, WayDown, checked_remedies
from lightning_landscape.reporting.reporter import Reporter
from lightning_landscape.surface import LossSurface, Params
from lightning_landscape.trainer._compat import inner_schedulers
from lightning_landscape.trainer.host import Host

log = logging.getLogger("lightning_landscape")

ESCAPED = 0.03
"""share of the loss at the alarm by which it has to fall; after a perturbation, it falls back to that loss by itself"""


class RemedyRunner:
    """Calls each remedy with the present alarm and every optimizer, and observes whether the run escapes.

    Args:
        remedies: the user's remedies; without any, training is never changed.
    """

    def __init__(self, remedies: Sequence[Remedy] = ()) -> None:
        self.remedies = checked_remedies(remedies)
        self.needs_batches = any(WayDown in getattr(remedy, "needs", ()) for remedy in self.remedies)
        """whether a remedy needs the direction of smallest curvature, which is measured on batches"""

    def __call__(self, host: Host, state: RunState, examination: Examination, guard: Guard, reporter: Reporter) -> None:
        """Call the remedies if there is a new alarm; on every rank, between two optimizer steps."""
        if not self.remedies:
            return
        with guard("following remedies"):
            self._follow(state, reporter)
        alarm = _new_alarm(state)
        ended = host.should_stop or (state.progress.horizon is not None and state.steps >= state.progress.horizon)
        # A remedy that changes the weights of one rank only would make the ranks train different models.
        if not host.is_true_on_every_rank(alarm is not None and not ended) or alarm is None:
            return
        offered = self._with_direction(host, alarm, state, examination, guard)
        said = [sentence for remedy in self.remedies for sentence in _applied(remedy, offered, host, guard)]
        level = state.progress.level
        # The outcome is added even if no remedy did anything, so that they are not called for this alarm again.
        outcome = RemedyOutcome(
            step=state.step,
            since=alarm.since,
            cause=alarm.cause.value,
            level=None if level is None or alarm.cause is Cause.DIVERGED else level.now,
            said=tuple(said),
            over=state.step if host.should_stop else None,
        )
        state.remedy_outcomes.append(outcome)
        _announce(outcome, state.step, reporter)

    def finish(self, state: RunState, reporter: Reporter) -> None:
        """Report at the end of the fit that the run has not escaped, if so; a resumed run may still escape."""
        self._follow(state, reporter)
        if state.remedy_outcomes and state.remedy_outcomes[-1].open:
            _announce(state.remedy_outcomes[-1], state.step, reporter)

    def _follow(self, state: RunState, reporter: Reporter) -> None:
        """Update the outcome of the last alarm if the run has escaped since the last check or raised a new alarm."""
        if not state.remedy_outcomes or not state.remedy_outcomes[-1].open:
            return
        outcome, alarm = state.remedy_outcomes[-1], _new_alarm(state)
        if not state.progress.stalled and state.progress.divergence is None and _is_lower(state, outcome.level):
            state.remedy_outcomes[-1] = replace(outcome, escaped=state.step)
        elif alarm is not None:
            state.remedy_outcomes[-1] = replace(outcome, over=state.step)
        else:
            return
        _announce(state.remedy_outcomes[-1], state.step, reporter)

    def _with_direction(
        self, host: Host, alarm: Verdict, state: RunState, examination: Examination, guard: Guard
    ) -> Verdict:
        """Return the alarm with the direction of smallest curvature in its evidence, where a remedy needs it.

        The alarm in the report stays without it: a direction is as large as the model.
        """
        if not self.needs_batches or alarm.cause is Cause.DIVERGED:
            return alarm
        directions: list[_NamedDirection | None] = []

        def measure(surface: LossSurface) -> None:
            directions[:] = [lowest_curvature(surface)]

        with guard("finding the smallest curvature"):
            if len(examination.probe_set):
                examination.run(host, (measure,), guard, state, ProbeReason.REMEDY)
        # The directions of the ranks may differ by rounding, so all use that of rank 0.
        directions = host.from_first_rank(directions)
        parameters = dict(host.module.named_parameters())
        ways = [
            WayDown({parameters[name]: step for name, step in found.direction.items()}, found.lambda_min)
            for found in directions
            if found is not None
        ]
        return replace(alarm, evidence=alarm.evidence.including(*ways))


@dataclass(frozen=True)
class _NamedDirection:
    """A `WayDown` with the names of the parameters, which are the same on all ranks, in place of the parameters."""

    direction: Params
    lambda_min: float


def lowest_curvature(surface: LossSurface) -> _NamedDirection | None:
    """Return the unit vector of smallest curvature, towards the lower loss; None if no curvature is negative."""
    found = HessianExtremes().extremes(surface)
    if found.lambda_min >= 0:
        return None
    lowest = losses_along(surface, found.v_min, distances_from(surface.here)).distance
    sign = -1.0 if lowest < 0 else 1.0
    return _NamedDirection({name: sign * part.detach().cpu() for name, part in found.v_min.items()}, found.lambda_min)


def _new_alarm(state: RunState) -> Verdict | None:
    """Return the present alarm if the remedies were not called for it yet, else None."""
    verdict = state.verdicts[-1] if state.verdicts else None
    if verdict is None or not verdict.stuck or not (state.progress.stalled or state.progress.divergence is not None):
        return None
    diverged = verdict.cause is Cause.DIVERGED
    known = any(
        outcome.since == verdict.since and (outcome.cause == Cause.DIVERGED.value) is diverged
        for outcome in state.remedy_outcomes
    )
    return None if known else verdict


def _applied(remedy: Remedy, alarm: Verdict, host: Host, guard: Guard) -> list[str]:
    """Call one remedy with each optimizer; return a list with the sentence on what it did, empty if it did nothing."""
    sentences: list[str] = []
    name = name_of(remedy)
    for optimizer in host.optimizers:
        if not guard.allows(name):
            break
        with guard(name):
            rates = [group.get("initial_lr") for group in optimizer.param_groups]
            before = [float(rate) if rate is not None else None for rate in rates]
            said = remedy(alarm, optimizer)
            _update_schedulers(host, optimizer, before)
            if isinstance(said, Halt):
                host.stop()
            if said is not None:
                sentences.append(" ".join(str(said).split()).rstrip("."))
    return [_with_name(name, " and ".join(dict.fromkeys(sentences)))] if sentences else []


def _with_name(name: str, said: str) -> str:
    """Return what a remedy says, with the name of the remedy after it unless that is already part of it."""
    return said if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said) else f"{said} (remedy: {name})".strip()


def _update_schedulers(host: Host, optimizer: Optimizer, before: Sequence[float | None]) -> None:
    """Scale the copies of a changed `initial_lr` that the schedulers made when they were constructed."""
    now = [group.get("initial_lr") for group in optimizer.param_groups]
    factors = [float(n) / b if n is not None and b else 1.0 for n, b in zip(now, before, strict=True)]
    if all(factor == 1.0 for factor in factors):
        return
    pending = list(host.schedulers)
    while pending:
        scheduler = pending.pop()
        pending += inner_schedulers(scheduler)
        if getattr(scheduler, "optimizer", None) is not optimizer:
            continue
        for name in ("base_lrs", "max_lrs"):
            rates = getattr(scheduler, name, None)
            if isinstance(rates, list) and len(rates) == len(factors):
                setattr(scheduler, name, [rate * factor for rate, factor in zip(rates, factors, strict=True)])


def _is_lower(state: RunState, level: float | None) -> bool:
    now = state.progress.level
    return level is None or (now is not None and now.is_below(level, ESCAPED))


def _announce(outcome: RemedyOutcome, step: int, reporter: Reporter) -> None:
    if not outcome.said:
        return
    sentence = outcome.sentence(step)
    log.log(logging.INFO if reporter.silent else logging.WARNING, "%s", sentence)
    reporter.text("landscape/remedies", sentence, step)
