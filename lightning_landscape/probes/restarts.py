"""Restarts: runs on a copy that begin at new or at the initial weights, to see whether the run could be elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lightning_landscape.evidence import Restart, RestartedRun, from_builtins, to_builtins
from lightning_landscape.probes.course import LEAST_PART, STOPS, Course, Judge, cost_of_steps
from lightning_landscape.probes.trials import adam
from lightning_landscape.surface import LossSurface, OptimizerStep, Params

OWN, ADAM, TENTH, HUNDREDTH = "own", "adam", "tenth", "hundredth"
USUAL_RATE, GOING_ON = "usual_rate", "going_on"
"""the kinds of runs, named like the fields of `Restart`"""
FACTORS = {OWN: 1.0, TENTH: 0.1, HUNDREDTH: 0.01}
"""factors on the rate of the run"""
LEAST_STEPS = {OWN: 100, ADAM: 100, TENTH: 60, HUNDREDTH: 60, USUAL_RATE: 60, GOING_ON: 40}
"""smallest number of steps of a run; after fewer, its loss cannot be compared with that of the run"""
CLEAR_GAIN = 0.3
"""gain after which no other change is tried"""
NOTICEABLE_GAIN = 0.1
"""gain from which on it matters what the run would gain by going on as long"""
UNMOVED = 0.02
"""change of the loss on a batch of its own, as a share, below which a run shows that the rate may be too small: a
smaller one cannot help then"""
SHARE_OF_FIRST_RUN = 0.6
"""largest share of the gradient budget for the first run, so that enough is left for the second; Adam may take all of
it, because nothing is said of the data after too short a run"""


@dataclass(frozen=True)
class Restarts:
    """Run from new weights and from the initial weights, in the order in which the results can settle the question.

    Runs begin at new weights, with the run's own optimizer and rate or with Adam at a learning rate of 0.01, or at the
    initial weights, at a tenth of the rate, and at a hundredth if a tenth does not train or helps.
    `RunContext.restart_order` says which come first, and whether one begins at the present weights with the rate that
    was usual before the schedule ended; further new weights come last. If one of them helps, the run goes on from the
    present weights for as many steps, for comparison. Each run is stopped where one half of the held-out batches has
    the lowest loss, and its gain is that on the other half.

    This takes more than any other probe, so it runs last. Where the gradient budget is smaller, runs are shorter, but
    at least 100 steps long, and 60 from the initial weights. Where `RunContext.kept` is given, a run that the budget
    does not cover goes on at the next diagnosis, with a new state of its optimizer.
    """

    seeds: int = 2
    steps: int = 300

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.steps < 1:
            raise ValueError(f"seeds and steps must be at least 1, got {self.seeds} and {self.steps}")

    def __call__(self, surface: LossSurface) -> Restart | None:
        """Return the results; None where no run is possible or none was completed, or without held-out batches."""
        if surface.held_out is None or not self._possible(surface):
            return None
        judge = Judge(surface)
        budget = math.inf if surface.run.gradient_budget is None else surface.run.gradient_budget - judge.cost
        runs, course = _kept(surface)
        while (course := course or self._next(surface, runs, budget, judge)) is not None:
            budget = course.advance(
                surface, judge, lambda one: _start(one, surface), _optimizer(course, surface), budget
            )
            if not course.complete:
                break
            runs.setdefault(course.kind, []).append(course.result())
            course = None
        _keep(surface, runs, course)
        return _reading(runs, self._needed(surface, runs), len(judge.losses))

    def cost(self, surface: LossSurface) -> float:
        """Return the largest cost on this surface, in gradients of one batch; 0 where it returns None."""
        possible = self._possible(surface)
        if surface.held_out is None or not possible:
            return 0.0
        before = Judge.cost_on(surface)
        all_runs = [self._most_steps(kind) for kind in possible for _ in range(self._most_runs(kind))]
        most = before + sum(_cost_of_run(steps, before) for steps in all_runs)
        first = next((kind for kind in surface.run.restart_order if kind in possible), possible[0])
        least = before + _cost_of_run(min(self.steps, LEAST_STEPS[first]), before)
        if surface.run.kept is not None:
            least = before + 1 / 3 + cost_of_steps(min(self.steps, LEAST_PART), before + 1 / 3)
        budget = surface.run.gradient_budget
        return most if budget is None else min(most, max(least, budget))

    def _possible(self, surface: LossSurface) -> list[str]:
        """Return the kinds of runs that are possible on this surface, within its memory; none if only going on is."""
        own, drawn = surface.run.fresh_optimizer is not None, surface.run.reinitialize is not None
        kinds = [OWN] if own and drawn else []
        kinds += [TENTH, HUNDREDTH] if own and "initial" in surface.anchors else []
        kinds += [ADAM] if drawn and surface.has_room_for_adam else []
        kinds += [USUAL_RATE] if own and USUAL_RATE in surface.run.restart_order else []
        return [*kinds, GOING_ON] if kinds and surface.run.optimizer_copy is not None else kinds

    def _next(
        self, surface: LossSurface, runs: Mapping[str, Sequence[RestartedRun]], budget: float, judge: Judge
    ) -> Course | None:
        """Return the run that comes next, as long as the gradient budget allows; None if there is none."""
        kind = self._next_kind(surface, runs)
        if kind is None:
            return None
        most = self._most_steps(kind)
        if kind == GOING_ON:
            most = max(run.stopped_at for of_kind in runs.values() for run in of_kind)
        share = 1.0 if runs or kind == ADAM else SHARE_OF_FIRST_RUN
        affordable = share * budget - _cost_of_run(0, judge.cost)
        return Course(kind, len(runs.get(kind, ())), int(min(most, max(LEAST_STEPS[kind], affordable))))

    def _next_kind(self, surface: LossSurface, runs: Mapping[str, Sequence[RestartedRun]]) -> str | None:
        """Return the kind of run that can settle the question next, given the results so far; None if none can."""
        open_kinds = [kind for kind in self._possible(surface) if len(runs.get(kind, ())) < self._most_runs(kind)]
        gain = max((run.gain for kind in runs if kind != GOING_ON for run in runs[kind] if run.trained), default=0.0)
        if gain > CLEAR_GAIN:
            return GOING_ON if GOING_ON in open_kinds else None
        going_on = (GOING_ON,) if gain > NOTICEABLE_GAIN else ()
        wanted = (*self._needed(surface, runs), *going_on, OWN, ADAM)
        return next((kind for kind in wanted if kind in open_kinds), None)

    def _needed(self, surface: LossSurface, runs: Mapping[str, Sequence[RestartedRun]]) -> tuple[str, ...]:
        """Return the kinds of runs without which the question is not settled, and which are not complete.

        A smaller rate cannot help where the run's own hardly moves new weights, and a hundredth is tried only if a
        tenth does not train or helps. Adam is not needed where the run has learned and its own optimizer trains.
        """
        own, tenth, order = runs.get(OWN, ()), runs.get(TENTH, ()), surface.run.restart_order
        if max((run.gain for of_kind in runs.values() for run in of_kind), default=0.0) > CLEAR_GAIN:
            return ()
        useless = {TENTH, HUNDREDTH} if _unmoved(own) else set()
        if not tenth or (tenth[0].trained and tenth[0].gain <= NOTICEABLE_GAIN):
            useless.add(HUNDREDTH)
        if own and own[0].trained and not _unmoved(own) and order.index(OWN) < order.index(ADAM):
            useless.add(ADAM)
        possible = self._possible(surface)
        return tuple(kind for kind in order if kind in possible and kind not in runs and kind not in useless)

    def _most_runs(self, kind: str) -> int:
        return self.seeds if kind in (OWN, ADAM) else 1

    def _most_steps(self, kind: str) -> int:
        return max(1, self.steps // 2) if kind in (TENTH, HUNDREDTH, USUAL_RATE) else self.steps


def _unmoved(runs: Sequence[RestartedRun]) -> bool:
    """Return whether the first of these runs has hardly changed the loss on a batch of its own."""
    return bool(runs) and abs(runs[0].fallen or 0.0) < UNMOVED


def _cost_of_run(steps: int, evaluation: float) -> float:
    """Return the cost of a whole run with all its evaluations, in gradients of one batch."""
    return 1 / 3 + cost_of_steps(steps, evaluation + 1 / 3, len(STOPS))


def _start(course: Course, surface: LossSurface) -> Params:
    """Return the weights at which a run begins."""
    if course.kind in (GOING_ON, USUAL_RATE):
        return surface.here
    if course.kind in (TENTH, HUNDREDTH):
        return surface.anchors["initial"]
    assert surface.run.reinitialize is not None
    return surface.run.reinitialize(course.seed)


def _optimizer(course: Course, surface: LossSurface) -> OptimizerStep:
    """Return the optimizer of a run."""
    if course.kind == ADAM:
        return adam(surface)
    copied = surface.run.optimizer_copy if course.kind == GOING_ON else surface.run.fresh_optimizer
    assert copied is not None
    return copied(FACTORS.get(course.kind, 1.0))


def _reading(runs: Mapping[str, Sequence[RestartedRun]], left: tuple[str, ...], held_out: int) -> Restart | None:
    """Return the reading of the complete runs; None if none is complete."""
    best = {kind: _best(of_kind) for kind, of_kind in runs.items()}
    if not best:
        return None
    redrawn = [best[kind] for kind in (OWN, ADAM) if kind in best] or [RestartedRun(-math.inf, steps=0, seeds=0)]
    top = max(redrawn, key=lambda run: (run.trained, run.gain))
    return Restart(top.gain, top.seeds, top.steps, top.fallen, **best, held_out_batches=held_out, left=left)


def _best(runs: Sequence[RestartedRun]) -> RestartedRun:
    return replace(max(runs, key=lambda run: (run.trained, run.gain)), seeds=len(runs))


def _kept(surface: LossSurface) -> tuple[dict[str, list[RestartedRun]], Course | None]:
    """Return the results of the earlier diagnoses of this plateau, and the run that goes on; None if there is none."""
    kept = (surface.run.kept or {}).get("restarts", {})
    runs = {
        kind: [from_builtins(RestartedRun, run) for run in of_kind] for kind, of_kind in kept.get("runs", {}).items()
    }
    course = kept.get("course")
    return runs, None if course is None else Course.from_dict(course, surface.here)


def _keep(surface: LossSurface, runs: Mapping[str, Sequence[RestartedRun]], course: Course | None) -> None:
    """Keep the results, and the run that goes on at the next diagnosis."""
    if surface.run.kept is None:
        return
    stored = {kind: [to_builtins(run) for run in of_kind] for kind, of_kind in runs.items()}
    going_on = None if course is None or not course.taken else course.to_dict()
    surface.run.kept["restarts"] = {"runs": stored, "course": going_on}
