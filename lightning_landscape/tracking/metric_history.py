"""The values of one logged metric over a run: its best, and since when it has not improved, in bounded memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Literal, TypeAlias

from lightning_landscape.functional.standstill import Standstill, standstill

Mode = Literal["min", "max"]
"""whether the metric should fall or rise"""
Declared: TypeAlias = Mapping[str, Mode]
"""the metrics that the user has named, and the mode of each"""
POINTS = 200
"""most points that are kept; when there are as many, neighbours are merged"""
RESTS = 0.1
"""share of the run for which a metric must not have improved before it counts as standing still"""

Point = Sequence["float | None"]
"""``[step, mean value, mean training loss]``; the loss is None where it is unknown"""


class MetricHistory:
    """The values of a metric, merged into at most 200 points, and what they show.

    Values that are not finite are left out, and a metric may be logged as rarely as its module likes.

    >>> history = MetricHistory("val_acc", "max")
    >>> for step in range(0, 3000, 100):
    ...     history.update(step, min(step, 1000) / 1000)
    >>> history.since, history.plateau_length, history.best
    (1000, 1900, (1000, 1.0))

    Args:
        name: the name under which it is logged.
        mode: "min" for a metric that should fall, "max" for one that should rise.
        declared: whether the user has named it, with ``monitor=``.
        horizon: number of optimizer steps of the run; None where it is unknown.
    """

    def __init__(self, name: str, mode: Mode = "min", *, declared: bool = True, horizon: int | None = None) -> None:
        self.name, self.mode, self.declared, self.horizon = name, mode, declared, horizon
        self.points: list[Point] = []
        self.count = self.not_finite = 0
        """number of finite values, and of values that were not finite"""
        self.best: tuple[int, float] | None = None
        """step and value of the best single value; None before the first"""
        self.step = 0
        """step of the latest value"""
        self._span = 1
        self._open: list[Point] = []
        self._judged: tuple[int, int, Standstill | None] | None = None

    def update(self, step: int, value: float, training_loss: float | None = None) -> None:
        """Add a value that was logged after this step, with the training loss there if it is known."""
        self.step = step
        if not isfinite(value):
            self.not_finite += 1
            return
        self.count += 1
        if self.best is None or self._sign * value < self._sign * self.best[1]:
            self.best = (step, value)
        self._open.append([step, value, training_loss])
        if len(self._open) == self._span:
            self.points.append(_merged(self._open))
            self._open = []
            if len(self.points) == POINTS:
                self.points = [_merged(self.points[i : i + 2]) for i in range(0, POINTS, 2)]
                self._span *= 2

    @property
    def shown(self) -> Standstill | None:
        """What the points show, in which a larger value is worse, see `standstill`; None for too few of them."""
        key = len(self.points), self._span
        if self._judged is None or self._judged[:2] != key:
            self._judged = (*key, standstill([self._sign * _number(point[1]) for point in self.points]))
        return self._judged[2]

    @property
    def since(self) -> int | None:
        """The step since when the metric has not improved beyond its noise; None if it has not stopped improving.

        It must have rested for a tenth of the run, or of the steps so far where the length of the run is unknown.
        """
        if self.shown is None or self.shown.since is None:
            return None
        step = self.step_of(self.shown.since)
        return step if self.step - step >= RESTS * (self.horizon or self.step) else None

    @property
    def plateau_length(self) -> int:
        """Number of optimizer steps since the metric has stopped improving; 0 if it has not."""
        return 0 if self.since is None else self.step - self.since

    @property
    def improves(self) -> bool:
        """Whether the metric has clearly improved and has not stopped doing so."""
        return self.shown is not None and self.shown.gained > 0 and self.since is None and not self.shown.worse

    def step_of(self, place: int) -> int:
        """Return the step of a point."""
        return int(_number(self.points[place][0]))

    def value_at(self, place: int) -> float:
        """Return the value of a point."""
        return _number(self.points[place][1])

    def value_of(self, level: float) -> float:
        """Return a level of `shown`, in which a larger value is worse, in the units of the metric."""
        return self._sign * level

    def drawn(self) -> dict[str, Any]:
        """Return the curve, its best value and levels, and since when it has not improved, as builtins."""
        points = [*self.points, *([_merged(self._open)] if self._open else [])]
        return {
            "name": self.name,
            "mode": self.mode,
            "declared": self.declared,
            "step": [int(_number(point[0])) for point in points],
            "value": [_number(point[1]) for point in points],
            "best": None if self.best is None else {"step": self.best[0], "value": self.best[1]},
            "since": self.since,
            "level": None if self.shown is None else self.value_of(self.shown.best),
            "now": None if self.shown is None else self.value_of(self.shown.now),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, as builtins."""
        return {
            **{name: getattr(self, name) for name in ("name", "mode", "declared", "count", "not_finite", "step")},
            "best": None if self.best is None else list(self.best),
            "points": [list(point) for point in self.points],
            "open": [list(point) for point in self._open],
            "span": self._span,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what was observed; name, mode and horizon are those of this history."""
        self.count, self.not_finite, self.step = int(state["count"]), int(state["not_finite"]), int(state["step"])
        best = state["best"]
        self.best = None if best is None else (int(best[0]), float(best[1]))
        self.points, self._open = [list(p) for p in state["points"]], [list(p) for p in state["open"]]
        self._span, self._judged = int(state["span"]), None

    @property
    def _sign(self) -> float:
        return 1.0 if self.mode == "min" else -1.0


def _merged(points: Sequence[Point]) -> Point:
    """Return one point for several: the last step, the mean value, and the mean of the losses that are known."""
    if len(points) == 1:
        return points[0]
    losses = [loss for _, _, loss in points if loss is not None]
    mean = sum(_number(value) for _, value, _ in points) / len(points)
    return [points[-1][0], mean, sum(losses) / len(losses) if losses else None]


def _number(value: float | None) -> float:
    """Return a number of a point that is always known."""
    return 0.0 if value is None else value
