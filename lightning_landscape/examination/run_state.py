"""What a monitor has seen of a run: everything that a resumed run must know again, and nothing that was configured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightning_landscape.diagnosis.judging import PART_OF_THE_MODEL
from lightning_landscape.evidence import (
    Cause,
    Evidence,
    LossLevel,
    Plateau,
    UpdateStatistics,
    Verdict,
    from_builtins,
    to_builtins,
)
from lightning_landscape.examination.account import ProbeReason
from lightning_landscape.examination.remedy_outcome import RemedyOutcome
from lightning_landscape.functional.plateau import TOLERANCE
from lightning_landscape.reporting.messages import NOT_JUDGED
from lightning_landscape.reporting.run_document import RunDocument
from lightning_landscape.tracking.gradient_norms import GradientNorms
from lightning_landscape.tracking.loss_history import FIRST_HORIZON
from lightning_landscape.tracking.progress import Progress, StepRecord
from lightning_landscape.trainer.optimizer_coverage import OptimizerCoverage

SCHEMA = 2
HIGH = 0.7
"""share of the first losses above which a run that noise hides is worth an examination; the trials decide"""
UNCLEAR = 0.1
"""share of the run after which a loss that noise hides is examined all the same"""


class RunState:
    """Progress, gradients and verdicts of one fit.

    Args:
        horizon: optimizer steps that the fit will take, or None where nobody knows.
        groups: names of the groups of parameters.
    """

    def __init__(self, horizon: int | None = None, groups: Sequence[str] = ()) -> None:
        self.progress = Progress(horizon)
        self.gradients = GradientNorms(groups)
        self.document = RunDocument()
        self.verdicts: list[Verdict] = []
        self.remedy_outcomes: list[RemedyOutcome] = []
        """what remedies did, one for each alarm"""
        self.scalars: dict[str, float] = {}
        """what readings of the user's own show, by name, as last measured"""
        self.announced_codes: list[str] = []
        """codes of what is said once per fit"""
        self.first_loss: float | None = None
        """the loss before any step"""
        self.steps = 0
        self.step = 0
        """the loggers' x of the latest step"""
        self.judged_at: int | None = None
        """`steps` when the present episode was last judged; None while it was not"""
        self.judgements = 0
        """how often it was judged; each time it is left alone for twice as long"""
        self.judged_proven = False
        """whether the plateau was proven by then"""
        self.players = 1
        """how many optimizers take steps; where there are several, only a divergence is judged"""
        self.no_grad_share = 0.0
        self.coverage = OptimizerCoverage()

    def update(self, record: StepRecord) -> None:
        """Take in one optimizer step; the trend follows the first optimizer."""
        self.steps += 1
        self.step = record.step
        self.gradients.update(record)
        if record.optimizer == 0:
            self.progress.update(record)
            self.first_loss = record.loss if self.first_loss is None else self.first_loss
            self.document.update(record.step, record.loss, record.grad_norm)
            self.no_grad_share = self.no_grad_share if record.no_grad_share is None else record.no_grad_share

    @property
    def stalled(self) -> bool:
        """Whether there is a plateau to examine: a new one, one that is proven by now, or an old one without a cause.

        An alarm that names a cause ends the examinations of its episode; one that is undecided does not.
        """
        if not (self.progress.stalled or self.unclear) or self.progress.divergence is not None or self.players > 1:
            return False
        if self.judged_at is None:
            return True
        alarmed = bool(self.verdicts) and self.verdicts[-1].stuck and self.verdicts[-1].cause is not Cause.UNDECIDED
        again = self.steps - self.judged_at >= self._patience * 2 ** (self.judgements - 1)
        return not alarmed and (again or (self.progress.proven and not self.judged_proven))

    @property
    def _patience(self) -> int:
        """Steps of a tenth of the run."""
        return max(200, (self.progress.horizon or self.steps) // 10)

    @property
    def unclear(self) -> bool:
        """Whether a run is, after a long time, about where it started, and its losses alone do not say why.

        Noise may hide how it goes on, or a loss that blew up in the first steps may pass for where it started. Trials
        may tell what the losses cannot; they speak without a trend, so only plain evidence alarms.
        """
        progress, first = self.progress, self.first_loss
        if progress.trend is None or progress.level is None or progress.stalled or first is None:
            return False
        if self.steps < UNCLEAR * (progress.horizon or 2 * FIRST_HORIZON) or progress.trend.falling:
            return False
        start = min(first, progress.level.start)
        high = LossLevel(start, progress.level.best, progress.level.now).share_of_start > HIGH
        hidden = progress.hold is None and not progress.trend.powered
        return high and (hidden or progress.hold == "solved")

    def may_stall_within(self, steps: int) -> bool:
        """Whether the next so many steps may show a plateau that is not known yet: then batches are worth keeping."""
        progress = self.progress
        if self.judged_at is not None or self.players > 1 or not progress.judges_within(steps):
            return False
        return progress.trend is None or progress.trend.progress < 2 * progress.trend.threshold

    @property
    def occasion(self) -> ProbeReason:
        """What probes would be run for now."""
        if not self.stalled:
            return ProbeReason.LOOK
        return ProbeReason.DIAGNOSIS if self.judged_at is None else ProbeReason.RECHECK

    def postpone(self) -> None:
        """Leave the present episode without a verdict, until it is due again."""
        self.judgements = 1 if self.judged_at is None else self.judgements + 1
        self.judged_at, self.judged_proven = self.steps, self.progress.proven

    def judge(self, verdict: Verdict) -> bool:
        """Keep the verdict, one per episode, and tell whether it is news.

        Within an episode it takes the place of mere information, and an alarm that names a cause takes the place of one
        that is undecided, unless the run has diverged, which is an end. An episode that begins soon after a verdict of
        the same cause belongs to it, since the loss has only trembled; not an alarm at a lower loss.
        """
        first = self.judged_at is None
        self.postpone()
        last = self.verdicts[-1] if self.verdicts else None
        if last is not None:
            lower = verdict.stuck and _is_lower(verdict, last)
            near = verdict.since - last.step < self._patience and not lower
            if last.cause is verdict.cause and last.stuck >= verdict.stuck and (near or not first):
                return False
            if not first and verdict.cause is not Cause.DIVERGED and (not last.stuck or last.cause is Cause.UNDECIDED):
                if last.stuck > verdict.stuck:
                    return False
                self.verdicts.pop()
        self.verdicts.append(verdict)
        return True

    def escaped(self) -> Verdict | None:
        """The alarm that the run has left behind since it was last asked, or None."""
        if self.judged_at is None or self.progress.stalled or self.unclear or self.progress.divergence is not None:
            return None
        self.judged_at = None
        return self.verdicts[-1] if self.verdicts and self.verdicts[-1].stuck else None

    @property
    def diverged(self) -> bool:
        """Whether the run has diverged and nobody has said so."""
        return self.progress.divergence is not None and all(v.cause is not Cause.DIVERGED for v in self.verdicts)

    def evidence(self, readings: Sequence[object] = ()) -> Evidence:
        """Everything known at this step, with the readings of the probes."""
        progress = self.progress
        since = progress.since if progress.divergence is None else progress.divergence.step
        if since is None and self.unclear and progress.trend is not None:
            since = max(0, self.step - progress.trend.window)
        # Since it began, noise may have blurred the test; what it showed then stands until the loss falls.
        trend = progress.opening if progress.stalled else progress.trend
        level = None if progress.level is None else replace(progress.level, first=self.first_loss)
        known = (trend, level, progress.divergence, progress.schedule, self.gradients.scale())
        return Evidence(
            Plateau(self.step, self.step if since is None else since),
            *(reading for reading in known if reading is not None),
            UpdateStatistics(
                *(
                    progress.update_ratio,
                    progress.travelled,
                    self.no_grad_share,
                    self.coverage.not_in_optimizer,
                    self.coverage.frozen,
                ),
                left_by_decay=self.coverage.left_by_decay,
            ),
            *reversed(readings),  # of several of a kind, such as lines from several anchors, the first stands
        )

    def mark(self) -> None:
        """Note what the run is doing now: "learning", "stalled", "not_judged", or the cause that was named."""
        named = self.judged_at is not None or self.progress.divergence is not None
        state = self.verdicts[-1].cause.value if named and self.verdicts else ""
        unnamed = "not_judged" if self.players > 1 else "stalled" if self.progress.stalled else "learning"
        self.document.mark(self.step, state or unnamed)

    def notes(self) -> list[str]:
        """What is not judged or trained, what was said once, what remedies did, and what became of it."""
        said = [NOT_JUDGED] if self.players > 1 else []
        said += [f"[{code}] was said; docs/causes.md explains it" for code in self.announced_codes]
        if all(verdict.cause is not Cause.NOT_UPDATING for verdict in self.verdicts):
            if self.coverage.outside_optimizers > PART_OF_THE_MODEL:
                said.append(f"no optimizer holds {self.coverage.outside_optimizers:.0%} of the trainable parameters")
            if self.no_grad_share > PART_OF_THE_MODEL:
                said.append(f"{self.no_grad_share:.0%} of the parameters received no gradient")
        return said + [outcome.sentence(self.step) for outcome in self.remedy_outcomes if outcome.said]

    def state_dict(self) -> dict[str, Any]:
        """Builtins only."""
        return {
            "schema": SCHEMA,
            "progress": self.progress.state_dict(),
            "gradients": self.gradients.state_dict(),
            "document": self.document.state_dict(),
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "remedy_outcomes": [to_builtins(outcome) for outcome in self.remedy_outcomes],
            "scalars": dict(self.scalars),
            "announced_codes": list(self.announced_codes),
            "first_loss": self.first_loss,
            "steps": self.steps,
            "step": self.step,
            "judged_at": self.judged_at,
            "judged_proven": self.judged_proven,
            "judgements": self.judgements,
            "no_grad_share": self.no_grad_share,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            ValueError: if the state is of another schema.
        """
        if state["schema"] != SCHEMA:
            raise ValueError(f"schema {SCHEMA} is understood, got {state['schema']!r}")
        self.progress.load_state_dict(state["progress"])
        if tuple(state["gradients"]["groups"]) == self.gradients.groups:
            self.gradients.load_state_dict(state["gradients"])
        self.document.load_state_dict(state["document"])
        self.verdicts = [Verdict.from_dict(verdict) for verdict in state["verdicts"]]
        self.remedy_outcomes = [from_builtins(RemedyOutcome, outcome) for outcome in state.get("remedy_outcomes", ())]
        self.scalars = {str(name): float(value) for name, value in state.get("scalars", {}).items()}
        self.announced_codes = [str(code) for code in state["announced_codes"]]
        self.steps, self.step, self.first_loss = int(state["steps"]), int(state["step"]), state["first_loss"]
        self.judged_at, self.judged_proven = state["judged_at"], bool(state["judged_proven"])
        self.judgements, self.no_grad_share = int(state["judgements"]), float(state["no_grad_share"])


def _is_lower(verdict: Verdict, last: Verdict) -> bool:
    """Whether the loss had come down by 3% or more between the two verdicts; False where that was not measured."""
    now, before = verdict.evidence.get(LossLevel), last.evidence.get(LossLevel)
    return now is not None and before is not None and before.now - now.now > TOLERANCE * abs(before.now)
