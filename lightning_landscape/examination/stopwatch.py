"""The times that training and the monitor take, and the brake that ends probes by the clock."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.examination.effort import FEWEST_GRADIENTS, UNTIMED_BATCH_SECONDS
from lightning_landscape.module_surface.meter import Meter

HOOKS_TIMED_EVERY = 17
"""the hooks of one batch in this many are timed; it is prime, and thus no multiple of the run's own intervals"""
TIMED_BATCHES = 100
"""number of batches at the beginning of a fit whose median time is taken"""
PLANNED_SECONDS = 10.0
"""seconds that a diagnosis should take, however fast the steps are"""
SHARE_FROM_SECONDS = 60.0
"""seconds of training from which on the time of the monitor is given as a share of it: one diagnosis takes as long in a
short run as in a long one"""
MAX_EXCESS = 5.0
"""the brake ends probes that take this many times the planned time"""


class Stopwatch:
    """Measures the time of a fit without the monitor, and the time of the monitor.

    Args:
        clock: the clock.
        horizon: number of optimizer steps of this fit; None where it is unknown.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK, horizon: int | None = None) -> None:
        self.sampling = False
        """whether the hooks of the present batch are timed"""
        self._clock, self._horizon = clock, horizon
        self._spent = 0.0
        self._since: float | None = None  # the time at which the present work of the monitor began
        self._began, self._ended = clock.now(), math.inf
        self._steps = self._batches = 0
        self._times: list[float] = []
        self._batch_began: float | None = None

    def end(self) -> None:
        """Stop at the end of the fit."""
        self._ended = self._clock.now()

    def begin_batch(self) -> None:
        """Begin to time a batch, if it is one of the first; loading and validation are not included."""
        if len(self._times) < TIMED_BATCHES:
            self._batch_began = self._clock.now()

    def end_batch(self) -> int:
        """Count one more batch, and return the number of batches so far."""
        self._batches += 1
        self.sampling = self._batches % HOOKS_TIMED_EVERY == 0
        if self._batch_began is not None:
            self._times.append(max(0.0, self._clock.now() - self._batch_began))
            self._batch_began = None
        return self._batches

    @property
    def batch_seconds(self) -> float | None:
        """Median time of the first batches of this fit, in seconds; None before the first."""
        return statistics.median(self._times) if self._times else None

    def sample(self, start: float) -> None:
        """Count the time of a hook that began when `training` was `start`, multiplied by `HOOKS_TIMED_EVERY`."""
        self._spent += HOOKS_TIMED_EVERY * (self.training - start)

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time inside as the monitor's own."""
        self._since = self._clock.now()
        try:
            yield
        finally:
            self._spent, self._since = self.spent, None

    @property
    def spent(self) -> float:
        """Seconds that the monitor has taken."""
        return self._spent + (0.0 if self._since is None else self._clock.now() - self._since)

    def count(self, steps: int) -> None:
        """Count this many more optimizer steps."""
        self._steps += steps

    @property
    def training(self) -> float:
        """Seconds of the fit so far, without those of the monitor."""
        return max(min(self._clock.now(), self._ended) - self._began - self.spent, 0.0)

    @property
    def seconds_per_step(self) -> float | None:
        """Seconds that the fit takes for an optimizer step, those of the monitor included; None before the first."""
        return (self.training + self.spent) / self._steps if self._steps else None

    @property
    def whole_training(self) -> float:
        """Seconds that the whole fit will take, or has taken so far where its length is unknown."""
        return self.training / max(self._steps, 1) * max(self._horizon or 0, self._steps)

    @property
    def overhead(self) -> float:
        """Seconds of the monitor over those of training; 0 before the first step."""
        training = self.training
        return self.spent / training if training > 0 else 0.0

    def notes(self) -> list[str]:
        """Return the note on the time of the monitor; nothing before the first step."""
        if not self._steps:
            return []
        share = f", {self.overhead:.1%} of the training time" if self.training >= SHARE_FROM_SECONDS else ""
        return [f"watching and diagnosing took {self.spent:.1f} s{share}"]


class Brake:
    """Ends probes by the clock: those that take several times the planned time, or more than a share of the run.

    Args:
        stopwatch: of the fit.
        share: share of the training time that the monitor may take in all; None for no such limit.
    """

    def __init__(self, stopwatch: Stopwatch, share: float | None = None) -> None:
        self._stopwatch, self._share = stopwatch, share

    def left(self, meter: Meter, allowance: int | None, *, first: bool) -> int | None:
        """Return the gradients of one batch for which time is left; None for no limit.

        Args:
            meter: counts what the probes of this check compute.
            allowance: gradients that they may compute in all; None for no limit.
            first: whether it is the first diagnosis of a plateau, which may compute `FEWEST_GRADIENTS` in any case.
        """
        if self._takes_too_long(meter, allowance):
            return 0
        if self._share is None:
            return None
        seconds = self._share * self._stopwatch.whole_training - self._stopwatch.spent
        affordable = int(max(seconds, 0.0) / self._batch_seconds)
        return max(affordable, FEWEST_GRADIENTS - int(meter.gradients) if first else 0)

    def reason(self, meter: Meter, allowance: int | None) -> tuple[str, str]:
        """Return why no time is left, and the setting that would change it; empty where there is none."""
        if self._takes_too_long(meter, allowance):
            return f"the probes took {meter.seconds:.0f} s, several times the planned time", ""
        return f"budget={self._share:g} of the training time is used up", "budget=None"

    def _takes_too_long(self, meter: Meter, allowance: int | None) -> bool:
        """Return whether probes with a limited budget take several times the planned time."""
        if allowance is None:
            return False
        return meter.seconds > MAX_EXCESS * max(PLANNED_SECONDS, allowance * self._batch_seconds)

    @property
    def _batch_seconds(self) -> float:
        return self._stopwatch.batch_seconds or UNTIMED_BATCH_SECONDS
