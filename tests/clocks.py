"""Clocks for tests, which do not depend on the speed of the machine."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timezone

from lightning_landscape.clock import Clock

DAY = datetime(2026, 1, 1, tzinfo=timezone.utc)


class ManualClock(Clock):
    """Stands still until it is moved, and then calls the actions that have become due."""

    def __init__(self, now: float = 100.0) -> None:
        self._now = now
        self._due: list[tuple[float, Callable[[], object]]] = []

    def now(self) -> float:
        return self._now

    def date(self) -> datetime:
        return DAY

    def move(self, seconds: float) -> None:
        self._now += seconds
        due = [entry for entry in self._due if entry[0] <= self._now]
        for entry in due:
            self._due.remove(entry)
            entry[1]()

    def call_after(self, seconds: float, action: Callable[[], object]) -> Callable[[], None]:
        entry = (self._now + seconds, action)
        self._due.append(entry)
        return lambda: self._due.remove(entry) if entry in self._due else None


class JumpingClock(ManualClock):
    """Advances by a random time at each reading, and in 1% of them jumps by an hour, forwards or backwards."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)

    def now(self) -> float:
        jumps = self._random.random() < 0.01
        self._now += self._random.choice((3600.0, -3600.0)) if jumps else self._random.random() / 500
        return self._now
