"""What may fail without taking the run with it: each failure is counted, told once, and switched off after three."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, TypeVar, cast

from lightning_landscape.errors import LandscapeWarning, ProbeFailedWarning
from lightning_landscape.reporting.messages import announce

log = logging.getLogger("lightning_landscape")

STRIKES = 3


Hook = TypeVar("Hook", bound=Callable[..., None])


def guarded(part: str) -> Callable[[Hook], Hook]:
    """A monitor's hook that does nothing while it is not watching: its `Guard` counts failures, its `Stopwatch` time.

    It is the guard for what is called at every step, where a `with` would cost more than what stands in it.
    """

    def decorated(hook: Hook) -> Hook:
        @wraps(hook)
        def called(self: Any, *args: Any) -> None:
            guard, stopwatch = self._guard, self._stopwatch
            if self._watching and (not guard.failures or guard.allows(part)):
                start = stopwatch.training if stopwatch.sampling else None
                try:
                    hook(self, *args)
                except Exception as error:
                    guard.failed(part, error)
                if start is not None:
                    stopwatch.sample(start)

        return cast("Hook", called)

    return decorated


class Guard:
    """Runs the parts of a monitor so that none of their errors reaches the training loop.

    `KeyboardInterrupt` passes through, and so does a `LandscapeWarning` that the user has turned into an error.
    """

    def __init__(self) -> None:
        self.failures: dict[str, int] = {}

    def allows(self, part: str) -> bool:
        """Whether this part is still switched on."""
        return self.failures.get(part, 0) < STRIKES

    def notes(self) -> list[str]:
        """What failed, and how often."""
        return [f"{part} failed {count} time{'s' * (count > 1)}" for part, count in self.failures.items()]

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count what goes wrong inside, say it the first time, and go on behind the block."""
        try:
            yield
        except Exception as error:
            self.failed(part, error)

    def give_up(self, part: str, reason: str) -> None:
        """Switch it off at once, and say why."""
        self.failed(part, MemoryError(reason))
        self.failures[part] = STRIKES

    def attempt(self, part: str, work: Callable[[], object]) -> None:
        """Do it, unless it is switched off."""
        if self.allows(part):
            with self(part):
                work()

    def failed(self, part: str, error: Exception) -> None:
        """Count what went wrong, and say it the first time; a `LandscapeWarning` is raised again."""
        if isinstance(error, LandscapeWarning):
            raise error
        count = self.failures[part] = self.failures.get(part, 0) + 1
        log.debug("%s failed", part, exc_info=error)
        if count == 1:
            announce(
                f"[LL302] {part} failed and training goes on: {type(error).__name__}: {error}. "
                f"It is switched off after {STRIKES} failures.",
                ProbeFailedWarning,
            )


@contextmanager
def last_words() -> Iterator[None]:
    """What is said while somebody else's error ends the run: nothing that is raised here takes the place of that."""
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("default", LandscapeWarning)
        yield
