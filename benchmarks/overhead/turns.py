"""Time several fits that take turns in one process, so that other load on the machine affects all of them.

Each fit runs in its own thread and waits in its data loader for its turn; only one thread runs at a time.
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
    """Median and quartiles of some values."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the median and the quartiles of at least two values."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, median, high)

    def __str__(self) -> str:
        return f"{self.median:.3f} ({self.low:.3f} to {self.high:.3f})"


class Timings(NamedTuple):
    """Seconds of every fit, by its name."""

    seconds: Mapping[str, Sequence[float]]
    """of each turn but the first, in which caches are filled"""
    errors: Mapping[str, str]
    """class and message of the error that ended a fit"""
    turn: int
    """steps in a turn"""
    totals: Mapping[str, float]
    """from the beginning to the end of the fit, with its first turn and all that comes before and after its turns"""

    def per_step(self, name: str) -> float:
        """Return the median seconds of a step."""
        return statistics.median(self.seconds[name]) / self.turn

    def ratio(self, name: str, to: str) -> Spread:
        """Return the spread over the rounds of the time of one fit over that of another in the same round."""
        return Spread.of([a / b for a, b in zip(self.seconds[name], self.seconds[to], strict=True)])

    def ratio_of_sums(self, name: str, to: str) -> float:
        """Return the time of all turns of one fit over that of another; rare events count here, unlike in a median."""
        return sum(self.seconds[name]) / sum(self.seconds[to])


class TimedBatches:
    """The batches of one fit, an iterable that lets another fit run after every `turn` batches."""

    def __init__(
        self, batches: Sequence[Any], turns: int, turn: int, clock: Callable[[], float], horizon: int = 0
    ) -> None:
        self.batches, self.turns, self.turn, self.clock = batches, turns, turn, clock
        self.horizon = max(horizon, turns * turn)
        self.seconds: list[float] = []
        self.total = self.start = 0.0
        self.turn_begins, self.turn_ended = threading.Semaphore(0), threading.Semaphore(0)

    def begin_turn(self) -> None:
        """Wait for the next turn of this fit."""
        self.turn_begins.acquire()
        self.start = self.clock()

    def end_turn(self) -> None:
        """Add the time of the turn to the total, and let the next fit run."""
        self.total += self.clock() - self.start
        self.turn_ended.release()

    def __len__(self) -> int:
        return self.horizon

    def __iter__(self) -> Iterator[Any]:
        for turn in range(self.turns):
            if turn:
                self.end_turn()
                self.begin_turn()
            start = self.clock()
            for index in range(turn * self.turn, (turn + 1) * self.turn):
                yield self.batches[index % len(self.batches)]
            self.seconds.append(self.clock() - start)


def time_in_turns(
    fits: Mapping[str, Fit], batches: Sequence[Any], *, turns: int, turn: int, horizon: int = 0, clock: Any = None
) -> Timings:
    """Let every fit take `turns` turns of `turn` steps, in rounds whose order rotates, and return the times.

    Args:
        fits: the fits by name.
        batches: of all fits; after the last one, the first follows.
        turns: of each fit; the time of the first is not counted.
        turn: steps in a turn.
        horizon: length that the data loaders report to the Trainers, if it is more than the steps that are taken.
        clock: returns seconds; by default processor time, or with a GPU the wall-clock time after it has synchronised.
    """
    clock = clock or (synchronised_time if torch.cuda.is_available() else time.process_time)
    loaders = {name: TimedBatches(batches, turns, turn, clock, horizon) for name in fits}
    errors: dict[str, str] = {}

    def run(name: str) -> None:
        loaders[name].begin_turn()
        torch.set_num_threads(1)
        try:
            fits[name](loaders[name])
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"
        loaders[name].end_turn()

    threads = {name: threading.Thread(target=run, args=(name,), daemon=True) for name in fits}
    for thread in threads.values():
        thread.start()
    order = list(fits)
    for _ in range(turns):
        for name in order:
            if name not in errors:
                loaders[name].turn_begins.release()
                loaders[name].turn_ended.acquire()
        order = [*order[1:], order[0]]
    for thread in threads.values():
        thread.join()
    finished = {name: loader for name, loader in loaders.items() if name not in errors}
    seconds = {name: loader.seconds[1:] for name, loader in finished.items()}
    return Timings(seconds, errors, turn, {name: loader.total for name, loader in finished.items()})


def synchronised_time() -> float:
    """Return the wall-clock time in seconds, after the GPU has finished its work."""
    torch.cuda.synchronize()
    return time.perf_counter()
