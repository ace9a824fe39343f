"""Measure how long training takes and how long watching takes; the brake that ends an examination by the clock."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.examination.effort import FEWEST, UNTIMED
from lightning_landscape.module_surface.meter import Meter

SAMPLED = 17
"""the hooks of one batch in this many are timed, for all of them: a prime, so that no rhythm of the run coincides"""
TIMED = 100
"""batches at the beginning of a fit whose times are kept, for the median"""
PLANNED = 10.0
"""seconds that a diagnosis is meant to take at any speed of the steps"""
SEVERAL = 5.0
"""an examination that takes this many times what was planned is ended"""


class Stopwatch:
    """How much time a fit has taken, without the monitor's own, and how much the monitor has taken.

    Args:
        clock: tells the time.
        horizon: optimizer steps that this fit will take, or None where it is unknown.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK, horizon: int | None = None) -> None:
        self.sampling = False
        """whether the hooks of the present batch are timed"""
        self._clock, self._horizon = clock, horizon
        self._spent = 0.0
        self._since: float | None = None  # when the work that is under way began
        self._began, self._ended = clock.now(), math.inf
        self._steps = self._batches = 0
        self._times: list[float] = []
        self._batch_began: float | None = None

    def end(self) -> None:
        """Stop: the fit is over."""
        self._ended = self._clock.now()

    def begin_batch(self) -> None:
        """A batch is about to be trained on: the first ones of a fit are timed, without loading and validation."""
        if len(self._times) < TIMED:
            self._batch_began = self._clock.now()

    def end_batch(self) -> int:
        """Count one more batch, and return how many there were."""
        self._batches += 1
        self.sampling = self._batches % SAMPLED == 0
        if self._batch_began is not None:
            self._times.append(max(0.0, self._clock.now() - self._batch_began))
            self._batch_began = None
        return self._batches

    @property
    def batch_seconds(self) -> float | None:
        """Median time of a batch among the first ones of this fit; None before the first."""
        return statistics.median(self._times) if self._times else None

    def sample(self, start: float) -> None:
        """Enter a hook of a batch that stands for `SAMPLED`; it began when `training` was `start`."""
        self._spent += SAMPLED * (self.training - start)

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time inside as the monitor's."""
        self._since = self._clock.now()
        try:
            yield
        finally:
            self._spent, self._since = self.spent, None

    @property
    def spent(self) -> float:
        """Seconds in the monitor itself."""
        return self._spent + (0.0 if self._since is None else self._clock.now() - self._since)

    def count(self, steps: int) -> None:
        """Enter this many more optimizer steps."""
        self._steps += steps

    @property
    def training(self) -> float:
        """Seconds of the fit so far without the monitor's own."""
        return max(min(self._clock.now(), self._ended) - self._began - self.spent, 0.0)

    @property
    def whole_training(self) -> float:
        """Seconds that the whole fit will take, as far as its length is known."""
        return self.training / max(self._steps, 1) * max(self._horizon or 0, self._steps)

    @property
    def overhead(self) -> float:
        """Seconds in the monitor over those of training so far; 0 before any."""
        training = self.training
        return self.spent / training if training > 0 else 0.0

    def notes(self) -> list[str]:
        """Return what watching has cost so far; nothing before the first step."""
        if not self._steps:
            return []
        return [f"watching took {self.spent:.1f} s, {self.overhead:.1%} of the training time"]


class Brake:
    """Ends an examination by the clock: one that takes several times what was planned, or more than a share of the run.

    Args:
        stopwatch: of the fit.
        share: of the training time, for watching and examining together; None for no such limit.
    """

    def __init__(self, stopwatch: Stopwatch, share: float | None = None) -> None:
        self._stopwatch, self._share = stopwatch, share

    def left(self, meter: Meter, allowance: int | None, *, first: bool) -> int | None:
        """Return the gradients of one batch for which time is left; None for no limit.

        Args:
            meter: of the examination that is under way.
            allowance: gradients that it may take in all.
            first: whether it is the first diagnosis of a plateau, which may take `FEWEST` gradients in any case.
        """
        if self._takes_too_long(meter, allowance):
            return 0
        if self._share is None:
            return None
        seconds = self._share * self._stopwatch.whole_training - self._stopwatch.spent
        affordable = int(max(seconds, 0.0) / self._batch_seconds)
        return max(affordable, FEWEST - int(meter.gradients) if first else 0)

    def reason(self, meter: Meter, allowance: int | None) -> tuple[str, str]:
        """Return why no time is left, and the setting that would change it; empty where none would."""
        if self._takes_too_long(meter, allowance):
            return f"the examination took {meter.seconds:.0f} s, several times what was planned", ""
        return f"budget={self._share:g} of the training time is used up", "budget=None"

    def _takes_too_long(self, meter: Meter, allowance: int | None) -> bool:
        """Whether an examination that is limited takes several times what was planned."""
        if allowance is None:
            return False
        return meter.seconds > SEVERAL * max(PLANNED, allowance * self._batch_seconds)

    @property
    def _batch_seconds(self) -> float:
        return self._stopwatch.batch_seconds or UNTIMED
