"""What a monitor may cost: a share of the training time, measured by itself and kept to by itself."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

LEAST = 1.2
"""seconds that every run may spend, however short: 2% of a minute"""
SHORT_RUN = 10.0
"""seconds of training below which a run is examined in full, whatever its share"""
IN_FULL = 1500
"""gradients of one batch that an examination in full may take"""
FIRST = 0.25
"""share of the whole budget that the first examination of an episode may take even where nothing is left"""
LOOK = 0.05
"""share of the whole budget below which no look is taken that can wait"""
FEWEST_GRADIENTS = 60
"""of one batch, for the first examination of an episode in any case: the shortest trials, and a look at the units"""
PICTURES = 0.4
"""seconds that the pictures of a run are believed to take until some have been drawn"""

SAMPLED = 17
"""batches of which the hooks of one are timed, for all of them: a prime, so that nothing else keeps its rhythm"""


class Allowance:
    """So many seconds from now on, reckoned in gradients.

    Args:
        seconds: until it is used up.
        gradient: seconds that one gradient of one batch takes.
    """

    def __init__(self, seconds: float, gradient: float) -> None:
        self._until = time.perf_counter() + seconds
        self._gradient = gradient

    @property
    def gradients(self) -> int:
        """How many gradients of one batch are left; never negative."""
        return max(0, int((self._until - time.perf_counter()) / self._gradient))


class Budget:
    """How much time watching has taken, and how much an examination may take.

    Training time is that of the fit without the monitor's own; what is left is reckoned in gradients of one batch, as a
    training step takes one, so that in a run that is long enough the clock decides nothing.

    Args:
        share: of the training time, for watching and probing together; None where nobody counts.
        horizon: optimizer steps that this fit will take, or None where nobody knows.
    """

    def __init__(self, share: float | None, horizon: int | None = None) -> None:
        self.share = share
        self.horizon = horizon
        self.sampling = False
        """whether the hooks of the present batch are timed"""
        self._spent = 0.0
        self._since: float | None = None  # the beginning of what is being spent now
        self._drawn, self._last_drawing = 0.0, PICTURES
        self._began, self._ended = time.perf_counter(), math.inf
        self._steps = self._batches = 0

    def end(self) -> None:
        """The fit is over: the clock stands still."""
        self._ended = time.perf_counter()

    def end_batch(self) -> int:
        """One batch more is over; how many there were."""
        self._batches += 1
        self.sampling = self._batches % SAMPLED == 0
        return self._batches

    def sample(self, start: float) -> None:
        """A hook of a batch that stands for `SAMPLED` is over; it began when `training` was `start`."""
        self._spent += SAMPLED * (self.training - start)

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time inside as spent."""
        self._since = time.perf_counter()
        try:
            yield
        finally:
            self._spent, self._since = self.spent, None

    @property
    def spent(self) -> float:
        """Seconds in the monitor itself."""
        return self._spent + (0.0 if self._since is None else time.perf_counter() - self._since)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Count the time inside as taken for pictures."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._last_drawing = time.perf_counter() - start
            self._drawn += self._last_drawing

    @property
    def can_draw(self) -> bool:
        """Whether pictures that could wait are paid for, beside those at the end: they may take half of it all."""
        return self.share is None or self._earned / 2 - self._drawn > 2 * self._last_drawing

    def count(self, steps: int) -> None:
        """So many more optimizer steps have been taken."""
        self._steps += steps

    @property
    def training(self) -> float:
        """Seconds of the fit so far without the monitor's own."""
        return max(min(time.perf_counter(), self._ended) - self._began - self.spent, 0.0)

    @property
    def overhead(self) -> float:
        """Seconds in the monitor over those of training so far; 0 before any."""
        training = self.training
        return self.spent / training if training > 0 else 0.0

    def allowance(self, *, first: bool) -> Allowance | None:
        """What an examination that begins now may cost; None where nobody counts, or no step has been timed.

        Args:
            first: whether it is the first of its episode, which a budget that is spent shortens and does not silence.
        """
        if self.share is None or not self._steps or not self.training:
            return None
        seconds = self._whole - self.spent
        if first:
            seconds = max(seconds, FIRST * self._whole, FEWEST_GRADIENTS * self._step_seconds)
        return Allowance(seconds, self._step_seconds)

    def pays(self, *, stalled: bool, anew: bool) -> bool:
        """Whether what is due may begin: always the first examination of an episode; what can wait, if it is paid for.

        Args:
            stalled: whether an examination is due; a look otherwise.
            anew: whether it is the first of its episode.
        """
        if self.share is None or (stalled and anew):
            return True
        if stalled:
            return self._whole - self.spent > FEWEST_GRADIENTS * self._step_seconds
        # In the end there will be pictures; and what a short run may spend in full is for examinations.
        return self._earned - self.spent - self._last_drawing > LOOK * self._shared

    def notes(self) -> list[str]:
        """What it has cost so far; nothing where nobody counts."""
        if self.share is None:
            return []
        allowed = f"budget {self.share:.3g}, or {LEAST:g} s where that is more"
        return [f"watching took {self.spent:.1f} s, {self.overhead:.1%} of the training time ({allowed})"]

    @property
    def _earned(self) -> float:
        """Seconds that the time that has passed pays for."""
        return max((self.share or 0.0) * self.training, LEAST)

    @property
    def _step_seconds(self) -> float:
        return self.training / max(self._steps, 1)

    @property
    def _whole(self) -> float:
        """Seconds that the whole run may spend, as far as it is known how long it will be."""
        in_full = IN_FULL * self._step_seconds if self._whole_training < SHORT_RUN else 0.0
        return max(self._shared, in_full)

    @property
    def _shared(self) -> float:
        """Seconds that are the share of the whole run, or what every run may spend."""
        return max((self.share or 0.0) * self._whole_training, LEAST)

    @property
    def _whole_training(self) -> float:
        return self._step_seconds * max(self.horizon or 0, self._steps)
