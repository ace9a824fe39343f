"""The nouns: readings, the evidence they make up, and the verdict that is drawn from it.

A reading is a frozen dataclass of plain numbers, measured once and never changed. `Evidence` keys readings by their
type, so a reading of your own needs no registration. Nothing here knows torch, Lightning or TensorBoard.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from enum import Enum
from typing import Any, TypeVar

R = TypeVar("R")


class Cause(str, Enum):
    """Why a loss does not fall. The first eight alarm; the last four are information."""

    SADDLE_POINT = "saddle_point"
    FLAT_REGION = "flat_region"
    POOR_MINIMUM = "poor_minimum"
    LEARNING_RATE_TOO_SMALL = "learning_rate_too_small"
    LEARNING_RATE_TOO_LARGE = "learning_rate_too_large"
    NOT_UPDATING = "not_updating"
    NOTHING_TO_LEARN = "nothing_to_learn"
    DIVERGED = "diverged"
    SETTLED = "settled"
    SCHEDULED_END = "scheduled_end"
    SLOW = "slow"
    UNDECIDED = "undecided"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Plateau:
    """The stretch of the run that is being examined."""

    step: int
    """the latest optimizer step"""
    since: int
    """the step from which on the loss has not fallen"""


@dataclass(frozen=True)
class Trend:
    """How far the loss fell over the last `window` steps, with the error bar of that statement.

    The loss has stalled when the *largest* fall that the noise leaves open is still below `tolerance * level`: an
    equivalence test, since failing to see a trend is no evidence that there is none.
    """

    window: int
    """optimizer steps"""
    level: float
    """absolute value of the mean loss in the window, in units of the loss"""
    progress: float
    """fall of the fitted line over the window, in units of the loss; negative where the loss rose"""
    margin: float
    """2.5 standard errors of `progress`"""
    tolerance: float
    """share of `level` that a fall must reach to count as progress"""
    predicted: float | None = None
    """Σ|g·Δw| over the window: no first-order decrease can exceed it; None where it was not measured"""

    @property
    def threshold(self) -> float:
        """The fall that counts as progress, in units of the loss."""
        return self.tolerance * self.level

    @property
    def largest_fall(self) -> float:
        """Upper end of the interval for the fall over the window, in units of the loss."""
        return self.progress + self.margin

    @property
    def bounded(self) -> bool:
        """Whether the updates were too small to lower the loss by 30% of the threshold, whatever the noise hides."""
        return (
            self.predicted is not None
            and self.predicted < 0.3 * self.threshold
            and self.progress - self.margin < self.threshold
        )

    @property
    def stalled(self) -> bool:
        """Whether a fall of `threshold` over the window is excluded."""
        return self.largest_fall < self.threshold or self.bounded

    @property
    def powered(self) -> bool:
        """Whether a fall of twice the threshold would have been seen through the noise."""
        return self.margin < 2 * self.threshold or self.bounded

    @property
    def falling(self) -> bool:
        """Whether a fall above the threshold is certain."""
        return self.progress - self.margin > 0 and self.progress > self.threshold

    def sentence(self) -> str:
        """What the test found, with the fall that it would have seen."""
        if self.level == 0:
            return (
                f"The training loss averages zero over {self.window} steps, so that no share of it can be said to fall."
            )
        seen = f"(a fall of {max(self.tolerance, self.margin / self.level):.1%} would have been seen)"
        if self.largest_fall >= self.threshold and self.bounded and self.predicted is not None:
            most = f"{self.predicted / self.level:.1e}"
            return f"The updates of {self.window} steps could not lower the training loss by more than {most} of it."
        if self.largest_fall <= 0:
            return f"The training loss has not fallen at all in {self.window} steps {seen}."
        most = f"{self.largest_fall / self.level:.1%}"
        return f"The training loss has not fallen by more than {most} in {self.window} steps {seen}."


@dataclass(frozen=True)
class LossLevel:
    """Where the loss started, how low it came and where it is, each a mean over a block of steps."""

    start: float
    best: float
    now: float

    @property
    def share_of_start(self) -> float:
        """Present loss over starting loss: below 1 where the loss fell, above 1 where it rose, in [0, inf].

        Of a loss that is negative at both ends it is the inverse; where the sign changed there is no scale, and it is 0
        after a fall and inf after a rise.
        """
        if self.now * self.start > 0:
            return self.now / self.start if self.start > 0 else self.start / self.now
        if self.now == self.start:
            return 1.0
        return 0.0 if self.now < self.start else math.inf

    @property
    def solved(self) -> bool:
        """Whether a positive loss has come down to a tenth of where it started."""
        return 0 <= self.now < 0.1 * self.start


@dataclass(frozen=True)
class Divergence:
    """The loss left the region in which it can come back."""

    step: int
    """optimizer step of the first loss that was not finite, or from which on it grew"""
    finite: bool
    """False: NaN or inf; True: a finite loss that keeps growing"""
    start: float
    """mean of the first losses; NaN where none was finite"""
    now: float
    """the last loss where that is not finite, else its mean over 1% of the run"""


@dataclass(frozen=True)
class Schedule:
    """What the learning rate is and was."""

    learning_rate: float
    peak: float
    elapsed: float | None
    """share of the run's horizon that has passed, in [0, 1]; None where the horizon is unknown"""

    @property
    def share_of_peak(self) -> float:
        """Learning rate over its largest value so far, in [0, 1]."""
        return self.learning_rate / self.peak if self.peak > 0 else 1.0


@dataclass(frozen=True)
class Movement:
    """How far the weights travel."""

    update_ratio: float | None
    """mean |Δw|/|w| of one step; None where it was not measured"""
    travelled: float | None
    """Σ|Δw|/max(|w|, 1) over 5% of the run; None where it was not measured"""
    without_gradient: float
    """share of the optimizers' parameters that received no gradient, in [0, 1]"""
    not_held: float
    """share of the module's trainable parameters that no optimizer holds, in [0, 1]"""


@dataclass(frozen=True)
class GradientScale:
    """The gradient before clipping, as a whole and by group of parameters, in the order of the module."""

    norm: float
    relative: float
    """|g|·max(|w|, 1)/|loss|: the relative change of the loss along a relative step of 1"""
    groups: Mapping[str, float]
    """norm by group of parameters; groups without any gradient are left out"""

    @property
    def first_to_last(self) -> float:
        """Norm of the first group over that of the last; inf where the last is zero, 1 where there is one group."""
        norms = list(self.groups.values())
        if len(norms) < 2:
            return 1.0
        return norms[0] / norms[-1] if norms[-1] > 0 else math.inf


@dataclass(frozen=True)
class Activity:
    """What the activation layers do on a fixed set of samples."""

    dead: float
    """largest share of units of one layer that are zero on every sample, in [0, 1]"""
    dead_layer: str | None
    saturated: float
    """largest share of (unit, sample) pairs of one bounded layer that sit at its bounds, in [0, 1]"""
    saturated_layer: str | None
    layers: int
    samples: int


@dataclass(frozen=True)
class Line:
    """The loss on the straight line from an anchor (α = 0) to the present weights (α = 1) and a step beyond."""

    anchor: str
    alphas: tuple[float, ...]
    losses: tuple[float, ...]
    """same length as `alphas`; NaN and inf stay what they are"""
    barrier: float
    """largest rise over the chord between α = 0 and α = 1, in units of the loss; never negative; NaN where an end is"""
    monotone: bool
    """whether the loss never rises from α = 0 to α = 1"""
    samples: int

    @property
    def relative_barrier(self) -> float:
        """Barrier over the larger of the two end losses; NaN where that is not positive."""
        ends = [loss for alpha, loss in zip(self.alphas, self.losses, strict=True) if alpha in (0.0, 1.0)]
        top = max(ends)
        return self.barrier / top if top > 0 else math.nan


@dataclass(frozen=True)
class Descent:
    """The loss along the direction of smallest curvature, on the batches that found it and on others.

    A direction fitted to some batches goes down on them by selection; it leads somewhere if it does on others as well.
    """

    distances: tuple[float, ...]
    """signed distance from the present weights, ascending, with 0"""
    losses: tuple[float, ...]
    """same length; NaN and inf stay what they are"""
    held_out: tuple[float, ...] | None
    """the same on the other half of the batches; None where there is none"""

    @property
    def distance(self) -> float:
        """Where the measured loss is lowest; 0 where it only rises."""
        finite = [pair for pair in zip(self.losses, self.distances, strict=True) if math.isfinite(pair[0])]
        return min(finite, key=lambda pair: (pair[0], abs(pair[1])))[1] if finite else 0.0

    @property
    def drop(self) -> float:
        """Fall of the measured loss from here to `distance`, in units of the loss; never negative."""
        return self._fall(self.losses)

    @property
    def held_out_drop(self) -> float | None:
        """Fall of the loss on the other batches over the same distance; negative where it rises there."""
        return None if self.held_out is None else self._fall(self.held_out)

    def _fall(self, losses: tuple[float, ...]) -> float:
        return losses[self.distances.index(0.0)] - losses[self.distances.index(self.distance)]


@dataclass(frozen=True)
class Curvature:
    """Both ends of the Hessian's spectrum at the present weights."""

    lambda_min: float
    """smallest curvature found; the true one is not above it, but for `error`"""
    lambda_max: float
    """largest curvature found; the true one is not below it, but for `error`"""
    residual_min: float
    """an eigenvalue lies within this distance of `lambda_min`"""
    residual_max: float
    error: float
    """absolute error of the products themselves, from their asymmetry"""
    loss: float
    gradient_norm: float
    relative_gradient: float
    """κ = |g|·max(|w|, 1)/|loss|: the relative change of the loss along a relative step of 1"""
    products: int
    """Hessian-vector products that it took"""
    method: str
    """how products were taken, in words; "approximate" stands in it for finite differences"""
    reason: str | None
    """why not the best method; None where it was"""
    parameters: int
    samples: int
    """how many the loss averages over; 0 where that is not known; few samples bias both ends outward"""
    descent: Descent | None = None
    """the loss along the direction of `lambda_min`; None where that is not negative"""

    @property
    def degenerate(self) -> bool:
        """Whether there is no curvature at all: second order cannot tell a minimum from a saddle here."""
        return self.lambda_min == 0.0 == self.lambda_max

    @property
    def negative(self) -> bool | None:
        """Whether the smallest curvature is below zero; None while residual and error leave it open."""
        if self.lambda_min + self.error < 0 and self.lambda_min + self.residual_min <= 0:
            return True
        slack = 1e-4 * max(abs(self.lambda_min), abs(self.lambda_max))
        return None if self.lambda_min - self.residual_min - self.error < -slack else False

    @property
    def ratio(self) -> float | None:
        """λ_min over λ_max; None where there is no upward curvature. Healthy networks have it down to about -0.2."""
        return self.lambda_min / self.lambda_max if self.lambda_max > 0 else None

    def sharpness_ratio(self, learning_rate: float) -> float:
        """λ_max over 2/learning rate, the edge of stability of plain gradient descent [Cohen21]_; 1 is the edge.

        .. [Cohen21] Gradient descent on neural networks typically occurs at the edge of stability, arXiv:2103.00065.
        """
        return self.lambda_max * learning_rate / 2


@dataclass(frozen=True)
class Spectrum:
    """All curvatures at the present weights, as a density, and their sum."""

    nodes: tuple[float, ...]
    """curvatures, ascending"""
    weights: tuple[float, ...]
    """share of the directions that has each; sum 1"""
    trace: float
    trace_error: float
    """standard error of `trace`"""
    share_negative: float
    """share of the directions along which the loss bends down, in [0, 1]: Dauphin's index α"""
    products: int
    method: str
    reason: str | None
    parameters: int
    samples: int


@dataclass(frozen=True)
class Plane:
    """The loss on a plane through the present weights."""

    x_name: str
    y_name: str
    xs: tuple[float, ...]
    """ascending, with 0; distances along the first axis"""
    ys: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    """``losses[j][i]`` at ``(xs[i], ys[j])``; NaN and inf stay what they are"""
    points: Mapping[str, tuple[float, float]]
    """named points of the run by their coordinates, in order of time: the trajectory; projected where off the plane"""
    off_plane: float
    """share of the points' distance from here that the plane does not show, in [0, 1]; root mean square"""
    samples: int


class Evidence:
    """Readings keyed by their type: ``evidence.get(Trend)`` is the `Trend`, or None where none was taken."""

    def __init__(self, *readings: object) -> None:
        self._readings = {type(reading): reading for reading in readings}

    def get(self, kind: type[R]) -> R | None:
        """The reading of this kind, or None."""
        reading = self._readings.get(kind)
        return reading if isinstance(reading, kind) else None

    def including(self, *readings: object) -> Evidence:
        """The same evidence with these readings added; one of a kind replaces the older one."""
        return Evidence(*self._readings.values(), *readings)

    def __iter__(self) -> Iterator[object]:
        return iter(self._readings.values())

    def __len__(self) -> int:
        return len(self._readings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Evidence) and self._readings == other._readings

    def __hash__(self) -> int:
        return hash(frozenset(self._readings))

    def __repr__(self) -> str:
        return f"Evidence({', '.join(map(repr, self))})"

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Builtins only, keyed by the name of the reading's type."""
        return {type(reading).__name__: plain(reading) for reading in self}

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Any]]) -> Evidence:
        """The readings of `to_dict` whose types are defined in this module; others are left out."""
        kinds = {name: globals()[name] for name in data if is_dataclass(globals().get(name))}
        return cls(*(restored(kind, data[name]) for name, kind in kinds.items()))


@dataclass(frozen=True)
class Verdict:
    """One named cause for one stretch of the run, with what it was drawn from."""

    cause: Cause
    step: int
    """optimizer step at which the verdict was reached"""
    since: int
    """optimizer step from which on the loss has not fallen"""
    stuck: bool
    """whether it alarms"""
    reason: str
    """the numbers against their thresholds, in sentences"""
    advice: str = ""
    """what a person can do about it"""
    evidence: Evidence = field(default_factory=Evidence, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Builtins only, as in the event log and in checkpoints."""
        return {
            "cause": self.cause.value,
            "step": self.step,
            "since": self.since,
            "stuck": self.stuck,
            "reason": self.reason,
            "advice": self.advice,
            "evidence": self.evidence.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_dict` was taken of."""
        return cls(
            cause=Cause(data["cause"]),
            step=data["step"],
            since=data["since"],
            stuck=data["stuck"],
            reason=data["reason"],
            advice=data["advice"],
            evidence=Evidence.from_dict(data["evidence"]),
        )


def restored(kind: type[R], values: Mapping[str, Any]) -> R:
    """A reading of this kind from what `plain` made of it."""
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def plain(reading: Any) -> dict[str, Any]:
    """The fields of a reading as builtins: tuples as lists, mappings as dicts."""
    return {name: _builtin(value) for name, value in asdict(reading).items()}


def _builtin(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _builtin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_builtin(item) for item in value]
    return value
