"""What a monitor may cost: a share of the training time, measured by itself and kept to by itself."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto

LEAST = 1.2
"""seconds that every run may spend, however short: 2% of a minute"""
SHORT_RUN = 10.0
"""seconds of training below which a run is examined in full, whatever its share"""
IN_FULL = 1500
"""gradients of one batch that an examination in full may take"""
FIRST = 0.25
"""share of the whole budget that the first examination of an episode may take even where nothing is left"""
FEWEST_GRADIENTS = 60
"""of one batch, for the first examination of an episode in any case: the shortest trials, and a look at the units"""
LOOK_AT_A_BATCH = 16
"""gradients that three lines and a noise scale cost on a single batch, without which no look is taken"""
PICTURES = 0.3
"""seconds that the pictures of a run are believed to take until some have been drawn"""

SAMPLED = 17
"""batches of which the hooks of one are timed, for all of them: a prime, so that nothing else keeps its rhythm"""


class Occasion(Enum):
    """What probes are run for."""

    LOOK = auto()
    """a scheduled one, which can wait"""
    FIRST_EXAMINATION = auto()
    """of an episode: a budget that is spent shortens it and does not silence it"""
    EXAMINATION = auto()
    """a later one"""


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
        self._could_wait, self._last_drawing = 0.0, PICTURES
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
            self._could_wait += self._last_drawing

    @contextmanager
    def probing(self, occasion: Occasion) -> Iterator[Allowance | None]:
        """Probes run inside.

        Yields:
            what they may cost; None where nobody counts, or no step has been timed.
        """
        start = time.perf_counter()
        try:
            yield self._allowance(occasion)
        finally:
            self._could_wait += time.perf_counter() - start if occasion is Occasion.LOOK else 0.0

    @property
    def can_draw(self) -> bool:
        """Whether pictures that could wait are paid for."""
        return self.share is None or self._spare > self._last_drawing

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

    def pays(self, occasion: Occasion) -> bool:
        """Whether probes may begin: always in a first examination, else if it is paid for."""
        if self.share is None or occasion is Occasion.FIRST_EXAMINATION:
            return True
        if occasion is Occasion.EXAMINATION:
            return self._whole - self.spent > FEWEST_GRADIENTS * self._step_seconds
        return self._spare > LOOK_AT_A_BATCH * self._step_seconds

    def notes(self) -> list[str]:
        """What it has cost so far; nothing where nobody counts."""
        if self.share is None:
            return []
        allowed = f"budget {self.share:.3g}, or {LEAST:g} s where that is more"
        return [f"watching took {self.spent:.1f} s, {self.overhead:.1%} of the training time ({allowed})"]

    def _allowance(self, occasion: Occasion) -> Allowance | None:
        if self.share is None or not self._steps or not self.training:
            return None
        seconds = self._spare if occasion is Occasion.LOOK else self._whole - self.spent
        if occasion is Occasion.FIRST_EXAMINATION:
            seconds = max(seconds, FIRST * self._whole, FEWEST_GRADIENTS * self._step_seconds)
        return Allowance(seconds, self._step_seconds)

    @property
    def _spare(self) -> float:
        """Seconds for looks and pictures that could wait: half of what is earned, less the pictures at the end."""
        return min(self._earned / 2 - self._could_wait, self._earned - self.spent) - self._last_drawing

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
