"""What may fail without taking the run with it: each failure is counted, told once, and switched off after three."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from lightning_landscape.errors import LandscapeWarning, ProbeFailedWarning
from lightning_landscape.reporting.words import announce

log = logging.getLogger("lightning_landscape")

STRIKES = 3


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
        """Count what goes wrong inside, say it the first time, and go on behind the block.

        Raises:
            LandscapeWarning: where the user's filters turn warnings into errors.
        """
        try:
            yield
        except LandscapeWarning:
            raise
        except Exception as error:
            self._count(part, error)

    def give_up(self, part: str, reason: str) -> None:
        """Switch it off at once, and say why."""
        self._count(part, MemoryError(reason))
        self.failures[part] = STRIKES

    def attempt(self, part: str, work: Callable[[], object]) -> None:
        """Do it, unless it is switched off."""
        if self.allows(part):
            with self(part):
                work()

    def _count(self, part: str, error: Exception) -> None:
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
