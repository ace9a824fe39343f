"""One run, watched: by the monitor, in a real Trainer, and by the published rules."""

from __future__ import annotations

import io
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.stuck_runs.baselines import RULES
from benchmarks.stuck_runs.configurations import CONFIGURATIONS
from benchmarks.stuck_runs.hiding import hidden
from benchmarks.stuck_runs.scoring import Alarm
from benchmarks.stuck_runs.trace import record
from benchmarks.stuck_runs.training import fit

Mode = Literal["default", "no_horizon", "cheap"]
"""as it comes; with a run of unknown length; without probes"""


@dataclass(frozen=True)
class Order:
    """What to do with a run."""

    name: str
    seed: int
    mode: Mode = "default"
    only_monitor: bool = False
    hidden: str = "nothing"
    """from the monitor; a key of `ablation.ABLATIONS`"""


@dataclass(frozen=True)
class Watched:
    """What was said about a run, by whom."""

    name: str
    seed: int
    alarms: tuple[Alarm, ...]
    """by the monitor"""
    remarks: tuple[Alarm, ...]
    """its verdicts that are no alarms"""
    watched_seconds: float
    bare_seconds: float | None = None
    rules: dict[str, list[Alarm]] = field(default_factory=dict)
    error: str | None = None


def watch(order: Order) -> Watched:
    """Train the run once for each of those who watch."""
    from lightning_landscape import LandscapeMonitor

    configuration = CONFIGURATIONS[order.name]
    known, horizon = order.mode != "no_horizon", configuration.horizon
    monitor = LandscapeMonitor(probes=()) if order.mode == "cheap" else LandscapeMonitor()
    bare, rules, error = None, {}, None
    with quiet():
        if not order.only_monitor:
            bare = time.perf_counter()
            fit(configuration.problem(order.seed), order.seed, horizon, horizon_known=known)
            bare = time.perf_counter() - bare
            trace = record(configuration.problem(order.seed), order.seed, horizon)
            rules = {name: rule(trace) for name, rule in RULES.items()}
        start = time.perf_counter()
        try:
            with hidden(order.hidden):
                fit(configuration.problem(order.seed), order.seed, horizon, monitor, horizon_known=known)
        except Exception as exception:
            error = f"{type(exception).__name__}: {exception}"[:300]
    said = [(verdict.stuck, Alarm(verdict.step, verdict.cause.value)) for verdict in monitor.verdicts]
    return Watched(
        name=order.name,
        seed=order.seed,
        alarms=tuple(alarm for stuck, alarm in said if stuck),
        remarks=tuple(alarm for stuck, alarm in said if not stuck),
        watched_seconds=time.perf_counter() - start,
        bare_seconds=bare,
        rules=rules,
        error=error,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Without what Lightning and the monitor say on the way."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
