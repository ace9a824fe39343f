"""Keep errors of a monitor out of the training loop, and switch off a part that fails three times."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from lightning_landscape._text import times
from lightning_landscape.errors import LandscapeWarning, ProbeFailedWarning
from lightning_landscape.examination.naming import in_words
from lightning_landscape.reporting.terminal import announce

log = logging.getLogger("lightning_landscape")

MAX_FAILURES = 3
"""failures after which a part is switched off"""


class Guard:
    """Runs the parts of a monitor so that none of their errors reaches the training loop.

    `KeyboardInterrupt` passes through, and so does a `LandscapeWarning` that the user has turned into an error.
    """

    def __init__(self) -> None:
        self.failures: dict[str, int] = {}
        """number of failures of each part, by its name"""

    def allows(self, part: str) -> bool:
        """Return whether this part is still switched on."""
        return self.failures.get(part, 0) < MAX_FAILURES

    def notes(self) -> list[str]:
        """Return the notes of the report: which parts failed, and how often."""
        return [f"{in_words(part)} failed {times(count)}" for part, count in self.failures.items()]

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count an error that is raised inside, and continue after the block."""
        try:
            yield
        except Exception as error:
            self.failed(part, error)

    def give_up(self, part: str, reason: str) -> None:
        """Switch the part off at once, with a warning that gives the reason."""
        self.failed(part, MemoryError(reason))
        self.failures[part] = MAX_FAILURES

    def attempt(self, part: str, work: Callable[[], object]) -> None:
        """Call `work`, unless its part is switched off, and count an error that it raises."""
        if self.allows(part):
            with self(part):
                work()

    def failed(self, part: str, error: Exception) -> None:
        """Count an error, and warn of the first one; a `LandscapeWarning` is raised again."""
        if isinstance(error, LandscapeWarning):
            raise error
        count = self.failures[part] = self.failures.get(part, 0) + 1
        log.debug("%s failed", part, exc_info=error)
        if count == 1:
            announce(
                f"[LL302] {in_words(part)} failed and training goes on: {type(error).__name__}: {error}. "
                f"It is switched off after {MAX_FAILURES} failures.",
                ProbeFailedWarning,
            )


@contextmanager
def while_an_error_ends_the_run() -> Iterator[None]:
    """Suppress errors, and print warnings even if the user has turned them into errors: the run's own error counts."""
    with warnings.catch_warnings(), suppress(Exception):
        warnings.simplefilter("default", LandscapeWarning)
        yield
