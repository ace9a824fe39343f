"""Apply the remedies that the user has asked for, once per alarm, and see whether the run escapes."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.optim import Optimizer

from lightning_landscape.evidence import Cause, Verdict
from lightning_landscape.examination.account import ProbeReason
from lightning_landscape.examination.examination import Examination
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.naming import name_of
from lightning_landscape.examination.remedy_outcome import RemedyOutcome
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.probes.curvature import HessianExtremes, losses_along, reach
from lightning_landscape.remedies import Halt, Remedy, WayDown, checked_remedies
from lightning_landscape.reporting.reporter import Reporter
from lightning_landscape.surface import LossSurface, Params

log = logging.getLogger("lightning_landscape")

ESCAPED = 0.03
"""share by which the loss has to come below that of the alarm: a perturbation lifts it, and it sinks back by itself"""


class Remedying:
    """Calls each remedy with the alarm that stands and every optimizer, and follows what becomes of the run.

    Args:
        remedies: without any, nothing ever happens here.
    """

    def __init__(self, remedies: Sequence[Remedy]) -> None:
        self.remedies = checked_remedies(remedies)
        self.needs_batches = any(WayDown in getattr(remedy, "needs", ()) for remedy in self.remedies)
        """whether a remedy needs a direction, which is measured on batches"""

    def __call__(
        self, trainer: Any, pl_module: Any, state: RunState, examination: Examination, guard: Guard, reporter: Reporter
    ) -> None:
        """At a look, on every rank, while training goes on: between the step before and the batch after."""
        if not self.remedies:
            return
        with guard("following remedies"):
            self._follow(state, reporter)
        verdict = _alarm(state)
        ended = trainer.should_stop or (state.progress.horizon is not None and state.steps >= state.progress.horizon)
        if not _on_every_rank(trainer, verdict is not None and not ended) or verdict is None:
            return
        offered = self._with_needs(trainer, pl_module, verdict, state, examination, guard)
        said = [sentence for remedy in self.remedies for sentence in _applied(remedy, offered, trainer, guard)]
        # A outcome without a word is one as well: this alarm has had its turn.
        level = state.progress.level
        outcome = RemedyOutcome(
            step=state.step,
            since=verdict.since,
            cause=verdict.cause.value,
            level=None if level is None or verdict.cause is Cause.DIVERGED else level.now,
            said=tuple(said),
            over=state.step if trainer.should_stop else None,
        )
        state.remedy_outcomes.append(outcome)
        _tell(outcome, state.step, reporter)

    def finish(self, state: RunState, reporter: Reporter) -> None:
        """Say of a outcome that has not helped by the end that it has not; a resumed run goes on watching it."""
        self._follow(state, reporter)
        if state.remedy_outcomes and state.remedy_outcomes[-1].open:
            _tell(state.remedy_outcomes[-1], state.step, reporter)

    def _follow(self, state: RunState, reporter: Reporter) -> None:
        """Whether the run has escaped since the last look, or is stuck anew before it has."""
        if not state.remedy_outcomes or not state.remedy_outcomes[-1].open:
            return
        outcome, alarm = state.remedy_outcomes[-1], _alarm(state)
        if not state.progress.stalled and state.progress.divergence is None and _is_lower(state, outcome.level):
            state.remedy_outcomes[-1] = replace(outcome, escaped=state.step)
        elif alarm is not None:
            state.remedy_outcomes[-1] = replace(outcome, over=state.step)
        else:
            return
        _tell(state.remedy_outcomes[-1], state.step, reporter)

    def _with_needs(
        self,
        trainer: Any,
        pl_module: Any,
        verdict: Verdict,
        state: RunState,
        examination: Examination,
        guard: Guard,
    ) -> Verdict:
        """The verdict with the direction of smallest curvature in its evidence, where a remedy needs it.

        The verdict that is kept and reported stays without: a direction is as large as the model.
        """
        if not self.needs_batches or verdict.cause is Cause.DIVERGED:
            return verdict
        found: list[_NamedWay | None] = []

        def lowest(surface: LossSurface) -> None:  # no reading: it is as large as the model
            found[:] = [lowest_curvature(surface)]

        with guard("finding the smallest curvature"):
            if len(examination.probe_set):
                examination.run(trainer, pl_module, (lowest,), guard, state, ProbeReason.ASKED)
        # Every rank goes exactly the same way, whatever the last bits of its own reading are.
        found = trainer.strategy.broadcast(found)
        parameters = dict(pl_module.named_parameters())
        ways = [
            WayDown({parameters[name]: step for name, step in way.direction.items()}, way.lambda_min)
            for way in found
            if way is not None
        ]
        return replace(verdict, evidence=verdict.evidence.including(*ways))


@dataclass(frozen=True)
class _NamedWay:
    """`WayDown` by the names of the parameters."""

    direction: Params
    lambda_min: float


def lowest_curvature(surface: LossSurface) -> _NamedWay | None:
    """The unit vector of smallest curvature, turned to where the loss is lower; None where nothing bends down."""
    found = HessianExtremes().extremes(surface)
    if found.lambda_min >= 0:
        return None
    lowest = losses_along(surface, found.v_min, reach(surface.here)).distance
    sign = -1.0 if lowest < 0 else 1.0
    return _NamedWay({name: sign * part.detach().cpu() for name, part in found.v_min.items()}, found.lambda_min)


def _alarm(state: RunState) -> Verdict | None:
    """The alarm that stands and has not been treated, or None."""
    verdict = state.verdicts[-1] if state.verdicts else None
    if verdict is None or not verdict.stuck or not (state.progress.stalled or state.progress.divergence is not None):
        return None
    diverged = verdict.cause is Cause.DIVERGED
    treated = any(
        t.since == verdict.since and (t.cause == Cause.DIVERGED.value) is diverged for t in state.remedy_outcomes
    )
    return None if treated else verdict


def _applied(remedy: Remedy, verdict: Verdict, trainer: Any, guard: Guard) -> list[str]:
    """Call one remedy with each of the optimizers, and return what it says that it did, with its name, as one item."""
    sentences: list[str] = []
    name = name_of(remedy)
    for optimizer in trainer.optimizers:
        if not guard.allows(name):
            break
        with guard(name):
            before = [group.get("initial_lr") for group in optimizer.param_groups]
            before = [float(rate) if rate is not None else None for rate in before]
            said = remedy(verdict, optimizer)
            _carry_to_schedulers(trainer, optimizer, before)
            if isinstance(said, Halt):
                trainer.should_stop = True
            if said is not None:
                sentences.append(" ".join(str(said).split()).rstrip("."))
    return [_by(name, " and ".join(dict.fromkeys(sentences)))] if sentences else []


def _by(name: str, said: str) -> str:
    """Return what a remedy says that it did with the remedy's name, unless it has named itself."""
    return said if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", said) else f"{said} (remedy: {name})".strip()


def _carry_to_schedulers(trainer: Any, optimizer: Optimizer, before: Sequence[float | None]) -> None:
    """Let schedulers follow: each copied the `initial_lr` of every group when it was made."""
    now = [group.get("initial_lr") for group in optimizer.param_groups]
    factors = [float(n) / b if n is not None and b else 1.0 for n, b in zip(now, before, strict=True)]
    if all(factor == 1.0 for factor in factors):
        return
    pending = [config.scheduler for config in trainer.lr_scheduler_configs]
    while pending:
        scheduler = pending.pop()
        pending += getattr(scheduler, "_schedulers", [])  # of SequentialLR and ChainedScheduler
        if getattr(scheduler, "optimizer", None) is not optimizer:
            continue
        for name in ("base_lrs", "max_lrs"):
            rates = getattr(scheduler, name, None)
            if isinstance(rates, list) and len(rates) == len(factors):
                setattr(scheduler, name, [rate * factor for rate, factor in zip(rates, factors, strict=True)])


def _is_lower(state: RunState, level: float | None) -> bool:
    now = state.progress.level
    return level is None or (now is not None and now.now < level - ESCAPED * abs(level))


def _on_every_rank(trainer: Any, decision: bool) -> bool:  # noqa: FBT001 - the argument is the vote
    """Whether all ranks say so: weights that change on one rank alone are lost for all."""
    if trainer.world_size == 1:
        return decision
    vote = torch.tensor(float(decision), device=trainer.strategy.root_device)
    return int(trainer.strategy.reduce(vote, reduce_op="sum")) == int(trainer.world_size)


def _tell(outcome: RemedyOutcome, step: int, reporter: Reporter) -> None:
    if not outcome.said:
        return
    sentence = outcome.sentence(step)
    log.log(logging.INFO if reporter.silent else logging.WARNING, "%s", sentence)
    reporter.text("landscape/remedies", sentence, step)
