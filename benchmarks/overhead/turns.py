"""Several fits in one process that take turns, so that a noisy machine is noisy for all of them.

Each fit runs in a thread of its own and waits in its data loader until its turn comes; only one thread runs at a time.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

Fit = Callable[[Any], object]
"""trains on an iterable of batches"""


class Spread(NamedTuple):
    """Median and quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least two values."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, median, high)

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


class Race(NamedTuple):
    """Seconds of every turn of every fit; the first turn of each is left out, since it warms up."""

    seconds: Mapping[str, Sequence[float]]
    failed: Mapping[str, str]
    """why a fit has no times"""
    turn: int
    """steps"""
    totals: Mapping[str, float]
    """seconds of each fit from its beginning to its end, the first turn and what comes before and after included"""

    def per_step(self, name: str) -> float:
        """Median seconds of one step."""
        return statistics.median(self.seconds[name]) / self.turn

    def ratio(self, name: str, to: str) -> Spread:
        """Over the turns, the time of one fit as a multiple of another's in the same round."""
        return Spread.of([a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True)])

    def whole(self, name: str, to: str) -> float:
        """All turns together: what happens rarely counts here, and not in a median."""
        return sum(self.seconds[name]) / sum(self.seconds[to])


class Seat:
    """One fit's batches: an iterable that hands on the baton after every `turn` of them."""

    def __init__(
        self, batches: Sequence[Any], turns: int, turn: int, clock: Callable[[], float], horizon: int = 0
    ) -> None:
        self.batches, self.turns, self.turn, self.clock = batches, turns, turn, clock
        self.horizon = max(horizon, turns * turn)
        self.seconds: list[float] = []
        self.total = self.since = 0.0
        self.called, self.left = threading.Semaphore(0), threading.Semaphore(0)

    def sit_down(self) -> None:
        """Wait for the turn."""
        self.called.acquire()
        self.since = self.clock()

    def get_up(self) -> None:
        """Pass it on."""
        self.total += self.clock() - self.since
        self.left.release()

    def __len__(self) -> int:
        return self.horizon

    def __iter__(self) -> Iterator[Any]:
        for turn in range(self.turns):
            if turn:
                self.get_up()
                self.sit_down()
            start = self.clock()
            for index in range(turn * self.turn, (turn + 1) * self.turn):
                yield self.batches[index % len(self.batches)]
            self.seconds.append(self.clock() - start)


def race(
    fits: Mapping[str, Fit], batches: Sequence[Any], *, turns: int, turn: int, horizon: int = 0, clock: Any = None
) -> Race:
    """Let every fit take `turns` turns of `turn` steps, round after round, in an order that rotates.

    Args:
        fits: by name.
        batches: they are used in a circle.
        turns: of each fit; the first is not counted.
        turn: steps of a turn.
        horizon: steps that the Trainers are to believe their runs will take, if it is more than they do take.
        clock: seconds; by default processor time, or with a GPU the time on the wall once it has finished its work.
    """
    clock = clock or (synchronised if torch.cuda.is_available() else time.process_time)
    seats = {name: Seat(batches, turns, turn, clock, horizon) for name in fits}
    failed: dict[str, str] = {}

    def run(name: str) -> None:
        seats[name].sit_down()
        torch.set_num_threads(1)
        try:
            fits[name](seats[name])
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
        seats[name].get_up()

    threads = {name: threading.Thread(target=run, args=(name,), daemon=True) for name in fits}
    for thread in threads.values():
        thread.start()
    order = list(fits)
    for _ in range(turns):
        for name in order:
            if name not in failed:
                seats[name].called.release()
                seats[name].left.acquire()
        order = [*order[1:], order[0]]
    for thread in threads.values():
        thread.join()
    done = {name: seat for name, seat in seats.items() if name not in failed}
    totals = {name: seat.total for name, seat in done.items()}
    return Race({name: seat.seconds[1:] for name, seat in done.items()}, failed, turn, totals)


def synchronised() -> float:
    """Seconds on the wall once the GPU has done what it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()
