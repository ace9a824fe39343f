"""What a monitor has seen of a run: everything that a resumed run must know again, and nothing that was configured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape.evidence import Cause, Evidence, Movement, Plateau, Verdict
from lightning_landscape.gradients import GradientNorms
from lightning_landscape.progress import Progress, StepRecord
from lightning_landscape.reporting.chronicle import Chronicle

SCHEMA = 2


class Observations:
    """Progress, gradients and verdicts of one fit.

    Args:
        horizon: optimizer steps that the fit will take, or None where nobody knows.
        groups: names of the groups of parameters.
    """

    def __init__(self, horizon: int | None = None, groups: Sequence[str] = ()) -> None:
        self.progress = Progress(horizon)
        self.gradients = GradientNorms(groups)
        self.chronicle = Chronicle()
        self.verdicts: list[Verdict] = []
        self.told: list[str] = []
        """codes of what is said once per fit"""
        self.steps = 0
        self.step = 0
        """the loggers' x of the latest step"""
        self.examined = False
        """whether the present episode has been examined"""
        self.missing = 0.0
        self.not_held = 0.0

    def update(self, record: StepRecord) -> None:
        """Take in one optimizer step; the trend follows the first optimizer."""
        self.steps += 1
        self.step = record.step
        self.gradients.update(record)
        if record.optimizer == 0:
            self.progress.update(record)
            self.chronicle.update(record.step, record.loss, record.grad_norm)
            self.missing = self.missing if record.missing is None else record.missing

    @property
    def stalled(self) -> bool:
        """Whether there is a plateau that nobody has examined."""
        return self.progress.stalled and not self.examined and self.progress.divergence is None

    @property
    def diverged(self) -> bool:
        """Whether the run has diverged and nobody has said so."""
        return self.progress.divergence is not None and all(v.cause is not Cause.DIVERGED for v in self.verdicts)

    def mark(self) -> None:
        """Note what the run is doing now: "learning", "stalled", or the cause that was named."""
        state = "learning"
        if self.progress.stalled or self.progress.divergence is not None:
            since = self.progress.since or 0
            named = [v for v in self.verdicts if v.step >= since or v.cause is Cause.DIVERGED]
            state = named[-1].cause.value if named else "stalled"
        self.chronicle.mark(self.step, state)

    def evidence(self, readings: Sequence[object] = ()) -> Evidence:
        """Everything known at this step, with the readings of the probes."""
        progress = self.progress
        since = progress.since if progress.divergence is None else progress.divergence.step
        # Since it began, noise may have blurred the test; what it showed then stands until the loss falls.
        trend = progress.opening if progress.stalled else progress.trend
        known = (trend, progress.level, progress.divergence, progress.schedule, self.gradients.scale())
        return Evidence(
            Plateau(self.step, self.step if since is None else since),
            *(reading for reading in known if reading is not None),
            Movement(progress.update_ratio, progress.travelled, self.missing, self.not_held),
            *readings,
        )

    def state_dict(self) -> dict[str, Any]:
        """Builtins only."""
        return {
            "schema": SCHEMA,
            "progress": self.progress.state_dict(),
            "gradients": self.gradients.state_dict(),
            "chronicle": self.chronicle.state_dict(),
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "told": list(self.told),
            "steps": self.steps,
            "step": self.step,
            "examined": self.examined,
            "missing": self.missing,
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
        self.chronicle.load_state_dict(state["chronicle"])
        self.verdicts = [Verdict.from_dict(verdict) for verdict in state["verdicts"]]
        self.told = [str(code) for code in state["told"]]
        self.steps, self.step = int(state["steps"]), int(state["step"])
        self.examined, self.missing = bool(state["examined"]), float(state["missing"])
