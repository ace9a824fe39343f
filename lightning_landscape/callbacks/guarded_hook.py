"""The decorator of the hooks that Lightning calls for every batch."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from lightning_landscape.callbacks.reporting_callback import ReportingCallback

P = ParamSpec("P")
M = TypeVar("M", bound=ReportingCallback)


def guarded(part: str) -> Callable[[Callable[Concatenate[M, P], None]], Callable[Concatenate[M, P], None]]:
    """Return a decorator for a hook of a monitor, which then does nothing while the monitor watches no fit.

    Errors of the hook are counted under `part`, and its time is measured for one batch in `HOOKS_TIMED_EVERY`. A `with`
    block in each hook would take longer than the hook itself.
    """

    def decorated(hook: Callable[Concatenate[M, P], None]) -> Callable[Concatenate[M, P], None]:
        @wraps(hook)
        def called(monitor: M, /, *args: P.args, **kwargs: P.kwargs) -> None:
            guard, stopwatch = monitor._guard, monitor._stopwatch
            if monitor._watching and (not guard.failures or guard.allows(part)):
                start = stopwatch.training if stopwatch.sampling else None
                try:
                    hook(monitor, *args, **kwargs)
                except Exception as error:
                    guard.failed(part, error)
                if start is not None:
                    stopwatch.sample(start)

        return called

    return decorated
