"""What a monitor has observed of a run, which is saved in checkpoints; its settings are not part of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape.diagnosis import found
from lightning_landscape.evidence import (
    Cause,
    Evidence,
    KeptGradients,
    Players,
    ReadingsLog,
    Verdict,
    from_builtins,
    to_builtins,
)
from lightning_landscape.examination.account import ProbeReason
from lightning_landscape.examination.evidence_of_run import evidence_of
from lightning_landscape.examination.fit_start import FitStart
from lightning_landscape.examination.frozen import FrozenSince
from lightning_landscape.examination.known_findings import KnownFindings
from lightning_landscape.examination.remedy_outcome import RemedyOutcome
from lightning_landscape.examination.run_notes import notes_of
from lightning_landscape.examination.unclear import is_unclear, may_be_noise
from lightning_landscape.examination.verdicts import place_of, restored
from lightning_landscape.examination.watched_metrics import WatchedMetrics
from lightning_landscape.reporting.run_document import RunDocument
from lightning_landscape.tracking.gradient_norms import GradientNorms
from lightning_landscape.tracking.mean_loss import MeanLoss
from lightning_landscape.tracking.metric_history import Declared
from lightning_landscape.tracking.players import PlayerCourses
from lightning_landscape.tracking.progress import Progress
from lightning_landscape.tracking.step_record import StepRecord
from lightning_landscape.trainer.optimizer_coverage import OptimizerCoverage


class RunState:
    """The progress, gradients, readings and verdicts of one fit.

    Args:
        horizon: number of optimizer steps of the fit; None where it is unknown.
        groups: names of the groups of parameters.
        start: where the training began; None for a fit before which nothing was trained.
        metrics: the declared metrics, and the mode of each.
    """

    def __init__(
        self,
        horizon: int | None = None,
        groups: Sequence[str] = (),
        start: FitStart | None = None,
        metrics: Declared | None = None,
    ) -> None:
        self.progress, self.gradients = Progress(horizon), GradientNorms(groups)
        self.readings, self.document = ReadingsLog(), RunDocument()
        self.verdicts: list[Verdict] = []
        self.remedy_outcomes: list[RemedyOutcome] = []  # of the remedies for each alarm, in order
        self.scalars: dict[str, float] = {}  # the latest ones of the user's own readings, by name
        self.announced_codes: list[str] = []  # of the messages that are shown once per fit and have been shown
        self.start = FitStart() if start is None else start
        self.steps = self.step = 0  # number of optimizer steps so far, and the loggers' x of the latest one
        self.status = "running"  # or "ended", or for example "stopped by KeyError"; a fit that resumes is running again
        self.judged_at: int | None = None  # `steps` at the last diagnosis of this plateau; None before the first
        self.judged_divergence: int | None = None  # first step of the divergence at the last diagnosis
        self.judgements = 0  # number of diagnoses of the present plateau; each doubles the time to the next
        self.judged_proven = self.judged_stalled = False  # at the last diagnosis: a proven plateau, and any plateau
        self.optimizer_count = 1  # that step; with several, only a divergence and what `players` shows are judged
        self.players, self.coverage = PlayerCourses(), OptimizerCoverage()
        self.no_grad_share = 0.0  # of the optimizers' parameters, those without a gradient at the last measured step
        self.host_readings: tuple[object, ...] = ()  # the latest ones of optimizers, schedulers and parameters
        self.kept_gradients: KeptGradients | None = None  # an optimizer whose gradients are never zeroed
        self.recent_losses = MeanLoss()  # since the weights were last copied
        self.frozen, self.findings = FrozenSince(), KnownFindings()
        self.metrics = WatchedMetrics(metrics or {}, horizon)
        self.asked = False  # whether the user has asked for a diagnosis, which is still to be made

    def update(self, record: StepRecord) -> None:
        """Add the record of one optimizer step; the trend of the loss is that of the first optimizer."""
        self.steps += 1
        self.step = record.step
        self.gradients.update(record)
        self.players.update(record)
        if record.optimizer == 0:
            self.progress.update(record)
            self.recent_losses.add(record.loss)
            self.start.enter(record.loss)
            self.document.update(record.step, record.loss, record.grad_norm)
            self.no_grad_share = self.no_grad_share if record.no_grad_share is None else record.no_grad_share

    @property
    def stalled(self) -> bool:
        """Whether a diagnosis is due: of a new plateau, of one that is proven by now, or of an old one without a cause.

        An alarm that names a cause ends the diagnoses of its plateau; one that is undecided does not.
        """
        # Slow progress after an earlier fit is usual, so that the weaker test is not enough there.
        seems = self.progress.stalled and (self.progress.proven or not self.continues)
        plateau = seems or self.unclear or self.asked
        if not plateau or self.progress.divergence is not None or self.optimizer_count > 1:
            return False
        if self.judged_at is None or self.asked:
            return True
        alarmed = bool(self.verdicts) and self.verdicts[-1].stuck and self.verdicts[-1].cause is not Cause.UNDECIDED
        again = self.steps - self.judged_at >= self._patience * 2 ** (self.judgements - 1)
        now, before = (self.progress.stalled, self.progress.proven), (self.judged_stalled, self.judged_proven)
        return not alarmed and (again or now > before)  # a clearer case than at the last diagnosis

    @property
    def _patience(self) -> int:
        """Steps until a diagnosis is first repeated: a tenth of the run, at least 200."""
        return max(200, (self.progress.horizon or self.steps) // 10)

    @property
    def unclear(self) -> bool:
        """Whether the loss is diagnosed although it shows no plateau, see `is_unclear`."""
        certain = self.findings.certain_besides(self.named_findings)
        return is_unclear(self.progress, self.steps, self.start.loss(self.progress.level), certain=certain)

    @property
    def continues(self) -> bool:
        """Whether this fit continues a training that had already lowered the loss, as far as is known."""
        level = self.progress.level
        return level is not None and self.start.added_to(level).continues

    @property
    def named_findings(self) -> list[str]:
        """The names of the findings of all verdicts."""
        return [verdict.finding.name for verdict in self.verdicts if verdict.finding is not None]

    def may_stall_within(self, steps: int) -> bool:
        """Return whether a new plateau may be found within this many steps, so that batches are worth capturing."""
        progress = self.progress
        if self.judged_at is not None or self.optimizer_count > 1 or not progress.judges_within(steps):
            return False
        return progress.trend is None or progress.trend.progress < 2 * progress.trend.threshold

    @property
    def probe_reason(self) -> ProbeReason:
        """The reason for which probes would run now."""
        certain = ProbeReason.DIAGNOSIS if self.judged_at is None else ProbeReason.REPEATED_DIAGNOSIS
        diagnosis = certain if self.progress.proven or self.asked else ProbeReason.PROBABLE_PLATEAU
        return diagnosis if self.stalled else ProbeReason.SCHEDULE

    def postpone(self) -> None:
        """Leave the present plateau without a verdict until its next diagnosis is due."""
        self.judgements = 1 if self.judged_at is None else self.judgements + 1
        self.judged_at, divergence = self.steps, self.progress.divergence
        self.judged_divergence = None if divergence is None else divergence.step
        self.judged_proven, self.judged_stalled = self.progress.proven, self.progress.stalled

    def judge(self, verdict: Verdict) -> bool:
        """Add the verdict of a diagnosis, and return whether it is new.

        There is one verdict for each plateau. A later one replaces one that does not alarm, and an alarm that names a
        cause replaces one that is undecided; nothing replaces a divergence. A plateau that begins soon after a verdict
        of the same cause counts as the same plateau, unless it raises an alarm at a lower loss. A finding is named in
        one verdict only. Where nothing shows a cause and the plateau may only be noise, there is no verdict.
        """
        first, last = self.judged_at is None, self.verdicts[-1] if self.verdicts else None
        self.postpone()
        if verdict.finding is not None and verdict.finding.name in self.named_findings:
            return False
        continues = self.continues and not verdict.stuck
        if verdict.cause is Cause.UNDECIDED and may_be_noise(self.progress, continues=continues):
            return False
        place = place_of(verdict, last, first=first, patience=self._patience)
        if place == "repeats":
            return False
        if place == "replaces":
            self.verdicts.pop()
        self.verdicts.append(verdict)
        return True

    def escaped(self) -> Verdict | None:
        """Return the alarm whose plateau has ended since the last call; None where there is none.

        A diagnosis of a run in whose noise no plateau was seen ends when the loss clearly falls, and not by noise: each
        further one would take half of the budget.
        """
        progress = self.progress
        if self.judged_at is None or progress.stalled or self.unclear or progress.divergence is not None:
            return None
        # With several optimizers, the falling loss of one says nothing about another.
        if self.optimizer_count > 1 or (not self.judged_stalled and not progress.falls):
            return None
        self.judged_at = None
        self.findings.end_plateau()
        return self.verdicts[-1] if self.verdicts and self.verdicts[-1].stuck else None

    @property
    def diverged(self) -> bool:
        """Whether a divergence was not judged yet; with several optimizers, a finite loss may grow by design."""
        divergence = self.progress.divergence
        if divergence is None or (divergence.finite and self.optimizer_count > 1):
            return False
        judged = divergence.finite and divergence.step == self.judged_divergence
        return not judged and all(verdict.cause is not Cause.DIVERGED for verdict in self.verdicts)

    def evidence(self, readings: Sequence[object] = ()) -> Evidence:
        """Return all that is known at this step, with these readings of probes."""
        return evidence_of(self, readings)

    @property
    def of_players(self) -> Players | None:
        """The course of each optimizer; None in a run with one optimizer."""
        horizon = self.progress.horizon
        return self.players.reading(None if horizon is None else min(1.0, (self.step + 1) / horizon))

    @property
    def shows_player(self) -> bool:
        """Whether one of several optimizers shows a mistake that no verdict names yet."""
        if self.optimizer_count == 1 or (self.progress.divergence is not None and not self.progress.divergence.finite):
            return False
        return any(finding.name not in self.named_findings for finding in found(self.evidence()))

    def accepts(self, verdict: Verdict) -> bool:
        """Return whether this may be said of the run: of several optimizers, only a finding or a divergence may be."""
        return self.optimizer_count == 1 or verdict.finding is not None or verdict.cause is Cause.DIVERGED

    def enter_findings(self, evidence: Evidence) -> None:
        """Replace the findings by those of this evidence; that of several optimizers has no readings of the wiring."""
        enter = self.findings.enter if self.optimizer_count == 1 else self.findings.enter_beside_wiring
        enter(found(evidence))

    def mark(self) -> None:
        """Add the present state to the document: "learning", "stalled", "not_judged", or the cause of a verdict."""
        judged = bool(self.verdicts) and (self.judged_at is not None or self.progress.divergence is not None)
        cause = self.verdicts[-1].cause.value if judged else ""
        without_cause = "not_judged" if self.optimizer_count > 1 else "stalled" if self.progress.proven else "learning"
        self.document.mark(self.step, cause or without_cause)

    def notes(self) -> list[str]:
        """Return the notes of the report."""
        return notes_of(self)

    def state_dict(self) -> dict[str, Any]:
        """Return builtins only, for the checkpoint."""
        return {
            "progress": self.progress.state_dict(),
            "start": self.start.state_dict(),
            "gradients": self.gradients.state_dict(),
            "readings": self.readings.state_dict(),
            "document": self.document.state_dict(),
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "remedy_outcomes": [to_builtins(outcome) for outcome in self.remedy_outcomes],
            "findings": self.findings.state_dict(),
            "frozen": self.frozen.state_dict(),
            "metrics": self.metrics.state_dict(),
            "recent_losses": self.recent_losses.state_dict(),
            "players": self.players.state_dict(),
            "scalars": dict(self.scalars),
            "announced_codes": list(self.announced_codes),
            **{name: getattr(self, name) for name in ("steps", "step", "no_grad_share", "judged_divergence")},
            **{name: getattr(self, name) for name in ("judged_at", "judged_proven", "judged_stalled", "judgements")},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.progress.load_state_dict(state["progress"])
        self.start.load_state_dict(state["start"] if "start" in state else {"first": state["first_loss"]})
        if tuple(state["gradients"]["groups"]) == self.gradients.groups:
            self.gradients.load_state_dict(state["gradients"])
        self.readings.load_state_dict(state["readings"])
        self.document.load_state_dict(state["document"])
        self.verdicts = restored(state["verdicts"])
        self.remedy_outcomes = [from_builtins(RemedyOutcome, outcome) for outcome in state["remedy_outcomes"]]
        if "findings" in state:  # version 0.1 had none
            self.findings.load_state_dict(state["findings"])
            self.frozen.load_state_dict(state["frozen"])
        self.metrics.load_state_dict(state.get("metrics"))
        self.recent_losses.load_state_dict(state.get("recent_losses", {"sum": 0.0, "count": 0}))
        self.players.load_state_dict(state.get("players", ()))
        self.scalars = {str(name): float(value) for name, value in state["scalars"].items()}
        self.announced_codes = [str(code) for code in state["announced_codes"]]
        self.steps, self.step, self.judgements = (int(state[name]) for name in ("steps", "step", "judgements"))
        self.judged_at, self.judged_divergence = state["judged_at"], state.get("judged_divergence")
        self.judged_stalled = bool(state.get("judged_stalled", True))
        self.judged_proven, self.no_grad_share = bool(state["judged_proven"]), float(state["no_grad_share"])
