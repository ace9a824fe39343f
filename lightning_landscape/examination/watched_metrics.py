"""The metrics of a run that are watched beside its training loss: the declared ones and the validation loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lightning_landscape.diagnosis.findings.metrics import fresh_data_gain_nothing, memorises, sentence, stands_still
from lightning_landscape.evidence import Cause, Evidence, LossLevel, MetricTrend, Plateau, Verdict
from lightning_landscape.examination.metric_reader import Value
from lightning_landscape.tracking.metric_history import Declared, MetricHistory
from lightning_landscape.tracking.validation_loss import validation_loss

CONFIRMED_AFTER = 0.02
"""share of the run after which a judgement must still be the same to become a verdict, since it may be chance"""
STANDS_STILL, MEMORISES, NOTHING_GAINED = "metric-stands-still", "memorises", "fresh-data-gain-nothing"
"""the names of the findings; the first may come again, when a metric has improved and stops again"""


class WatchedMetrics:
    """The histories of the declared metrics and of the validation loss, and the verdicts on them.

    Args:
        declared: the metrics that the user has named, and whether each should fall or rise.
        horizon: number of optimizer steps of the run; None where it is unknown.
    """

    def __init__(self, declared: Declared, horizon: int | None) -> None:
        self.declared = dict(declared)
        self.per_step: list[str] = []
        """those of them that are logged more often than once in an epoch"""
        self.validated = False
        """whether a validation has ended"""
        self.verdicts: list[Verdict] = []
        """the verdicts on metrics, in order"""
        self._horizon = horizon
        self._histories = {name: MetricHistory(name, mode, horizon=horizon) for name, mode in declared.items()}
        self._validation: str | None = None
        self._suspected: dict[str, tuple[str, int]] = {}

    @property
    def histories(self) -> list[MetricHistory]:
        """The histories that have values, those of the declared metrics first."""
        return [history for history in self._histories.values() if history.count]

    @property
    def missing(self) -> list[str]:
        """The declared metrics that were never logged."""
        return [n for n in self.declared if not self._histories[n].count and not self._histories[n].not_finite]

    @property
    def judges(self) -> bool:
        """Whether a declared metric has values, so that the run is judged by it where the loss is no judge."""
        return any(history.declared for history in self.histories)

    @property
    def scalars(self) -> dict[str, float]:
        """The length of the plateau of each declared metric, in optimizer steps."""
        return {f"plateau_length/{name}": float(self._histories[name].plateau_length) for name in self.declared}

    def validation(self, logged: Sequence[str]) -> list[str]:
        """Return which of the metrics that a validation has logged are watched."""
        self.validated = True
        self._validation = self._validation or validation_loss(logged)
        return [name for name in logged if name in self.declared or name == self._validation]

    def enter(self, values: Sequence[Value], training_loss: float | None) -> None:
        """Add values of watched metrics, with the training loss at that time if it is known."""
        for name, step, value in values:
            if name not in self._histories:
                self._histories[name] = MetricHistory(name, declared=False, horizon=self._horizon)
            self._histories[name].update(step, value, training_loss)

    def judge(self, level: LossLevel | None, *, alarmed: bool) -> list[Verdict]:
        """Return the new verdicts on the metrics, and keep them; a plateau of a metric gets one verdict.

        Args:
            level: levels of the training loss; None where there is none.
            alarmed: whether the training loss stands still with an alarm, beside which a metric raises no other.
        """
        new = []
        for history in self.histories:
            trend = trend_of(history)
            if trend is None:
                continue
            since = trend.step if trend.since is None else trend.since
            known = () if level is None else (level,)
            evidence = Evidence(Plateau(trend.step, since), trend, *known)
            verdict = self._reached(evidence, history)
            if verdict is not None and alarmed:
                verdict = replace(verdict, stuck=False)
            if self._is_new(verdict, history) and verdict is not None:
                self.verdicts = [said for said in self.verdicts if not _is_replaced(said, verdict)]
                self.verdicts.append(verdict)
                new.append(verdict)
        return new

    def leading(self, verdict: Verdict | None) -> Verdict | None:
        """Return a verdict on the training loss with what the declared metrics show before its reason.

        While one of them improves, it is no alarm: the user has said that the metric counts. A divergence and mistakes
        that are certain are alarms all the same. Nor is a verdict without a cause, once a metric has raised an alarm.
        """
        trends = {name: trend_of(self._histories[name]) for name in self.declared}
        known = [trend for trend in trends.values() if trend is not None]
        if verdict is None or not known:
            return verdict
        improves = any(self._histories[trend.name].improves for trend in known)
        certain = verdict.finding is not None and verdict.finding.weight == "certain"
        told = any(said.stuck for said in self.verdicts) and verdict.cause is Cause.UNDECIDED
        stuck = verdict.stuck and (certain or verdict.cause is Cause.DIVERGED or not (improves or told))
        return replace(verdict, stuck=stuck, reason="\n".join([*map(sentence, known), verdict.reason]))

    def notes(self) -> list[str]:
        """Return a note on each metric."""
        notes = [f"the declared metric {name!r} was never logged" for name in self.missing]
        for history in self._histories.values():
            if history.not_finite:
                count = history.not_finite
                notes.append(f"`{history.name}` was not finite {count} time{'s' * (count > 1)}; these are left out")
            if history.best is None:
                continue
            trend, (step, best) = trend_of(history), history.best
            known = sentence(trend) if trend is not None else f"`{history.name}` has too few values yet to be judged."
            whose = "declared" if history.declared else "validation loss"
            notes.append(f"{whose}: {known} Best value: {best:.4g} at step {step}.")
        return notes

    def drawn(self) -> list[dict[str, Any]]:
        """Return the curves of the metrics, as `MetricHistory.drawn` does."""
        return [history.drawn() for history in self.histories]

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, as builtins."""
        return {
            "histories": [history.state_dict() for history in self._histories.values()],
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "per_step": list(self.per_step),
            "validated": self.validated,
            "validation": self._validation,
            "suspected": {name: list(suspected) for name, suspected in self._suspected.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Restore what was observed; which metrics are declared, and how, is as it was set for this run."""
        if state is None:  # older versions watched no metrics
            return
        for stored in state["histories"]:
            name = str(stored["name"])
            history = self._histories.get(name)
            if history is None and stored["declared"]:
                continue  # it was declared in the earlier run only
            if history is None:
                history = self._histories[name] = MetricHistory(name, declared=False, horizon=self._horizon)
            history.load_state_dict(stored)
        self.verdicts = [Verdict.from_dict(verdict) for verdict in state["verdicts"]]
        self.per_step = [str(name) for name in state["per_step"] if name in self.declared]
        self.validated, self._validation = bool(state["validated"]), state["validation"]
        self._suspected = {str(name): (str(title), int(step)) for name, (title, step) in state["suspected"].items()}

    def _reached(self, evidence: Evidence, history: MetricHistory) -> Verdict | None:
        """Return the verdict on one metric; a declared validation loss may get one of both kinds."""
        verdict = stands_still(evidence) if history.declared else None
        if verdict is None and history.name == self._validation:
            verdict = fresh_data_gain_nothing(evidence) or memorises(evidence)
        return verdict

    def _is_new(self, verdict: Verdict | None, history: MetricHistory) -> bool:
        """Return whether this verdict was reached twice, some steps apart, and was not said of this plateau before."""
        if verdict is None:
            self._suspected.pop(history.name, None)
            return False
        if any(_covers(said, verdict) for said in self.verdicts):
            return False
        title, first = self._suspected.get(history.name, ("", 0))
        if title != verdict.title:
            first = verdict.step
            self._suspected[history.name] = (verdict.title, first)
        return verdict.step > first and verdict.step - first >= CONFIRMED_AFTER * (self._horizon or verdict.step)


def _is_of_same_metric(said: Verdict, verdict: Verdict) -> bool:
    trends = said.evidence.get(MetricTrend), verdict.evidence.get(MetricTrend)
    return trends[0] is not None and trends[1] is not None and trends[0].name == trends[1].name


def _name(verdict: Verdict) -> str:
    return "" if verdict.finding is None else verdict.finding.name


def _covers(said: Verdict, verdict: Verdict) -> bool:
    """Return whether an earlier verdict makes this one superfluous."""
    if not _is_of_same_metric(said, verdict) or said.stuck < verdict.stuck:
        return False
    again = _name(verdict) == STANDS_STILL and verdict.since > said.step
    return (said.title == verdict.title and not again) or (_name(said), _name(verdict)) == (NOTHING_GAINED, MEMORISES)


def _is_replaced(said: Verdict, verdict: Verdict) -> bool:
    """Return whether this verdict says the same as an earlier one, but as an alarm, or says why it was so."""
    if not _is_of_same_metric(said, verdict):
        return False
    louder = said.title == verdict.title and verdict.stuck > said.stuck
    return louder or (_name(said), _name(verdict)) == (MEMORISES, NOTHING_GAINED)


def trend_of(history: MetricHistory) -> MetricTrend | None:
    """Return what a history shows, with its levels in the units of the metric; None for too few values."""
    shown = history.shown
    if shown is None:
        return None
    losses = [point[2] for point in history.points]
    return MetricTrend(
        name=history.name,
        rises=history.mode == "max",
        declared=history.declared,
        values=history.count,
        first_step=history.step_of(0),
        step=history.step,
        first=history.value_at(0),
        best=history.value_of(shown.best),
        best_step=history.step_of(shown.best_at),
        now=history.value_of(shown.now),
        gained=shown.gained,
        worse=shown.worse,
        since=history.since,
        training_first=losses[0],
        training_best=losses[shown.best_at],
        training_now=losses[-1],
        elapsed=None if history.horizon is None else min(1.0, (history.step + 1) / history.horizon),
        noise=shown.noise,
    )
