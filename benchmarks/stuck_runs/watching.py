"""Train a run with the monitor in a Trainer, and apply the published rules to the same run."""

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
from benchmarks.stuck_runs.hiding import hide
from benchmarks.stuck_runs.scoring import Alarm
from benchmarks.stuck_runs.trace import record
from benchmarks.stuck_runs.training import fit
from lightning_landscape import LandscapeMonitor

Mode = Literal["default", "no_horizon", "cheap"]
"""default arguments, default arguments and a run of unknown length, or no probes"""


@dataclass(frozen=True)
class Job:
    """A run, and how the monitor watches it."""

    name: str
    seed: int
    mode: Mode = "default"
    only_monitor: bool = False
    """whether the rules and the run without a monitor are left out"""
    hidden: str = "nothing"
    """signal that is hidden from the monitor, one of `hiding.ABLATIONS`"""


@dataclass(frozen=True)
class RunResult:
    """What the monitor and the rules reported about a run."""

    name: str
    seed: int
    alarms: tuple[Alarm, ...]
    """alarms of the monitor"""
    remarks: tuple[Alarm, ...]
    """verdicts of the monitor that are not alarms"""
    watched_seconds: float
    """wall-clock seconds of the run with the monitor"""
    bare_seconds: float | None = None
    """wall-clock seconds of the run without a monitor; None if it was left out"""
    rules: dict[str, list[Alarm]] = field(default_factory=dict)
    """alarms of the published rules, by their names"""
    error: str | None = None
    """class and message of the error that ended the run with the monitor"""


def watch(job: Job) -> RunResult:
    """Train the run with the monitor and, unless left out, without it and for the rules; return what they report."""
    configuration = CONFIGURATIONS[job.name]
    known, horizon = job.mode != "no_horizon", configuration.horizon
    monitor = LandscapeMonitor(probes=()) if job.mode == "cheap" else LandscapeMonitor()
    bare, rules, error = None, {}, None
    with silence():
        if not job.only_monitor:
            bare = time.perf_counter()
            fit(configuration.problem(job.seed), job.seed, horizon, horizon_known=known)
            bare = time.perf_counter() - bare
            trace = record(configuration.problem(job.seed), job.seed, horizon)
            rules = {name: rule(trace) for name, rule in RULES.items()}
        start = time.perf_counter()
        try:
            with hide(job.hidden):
                fit(configuration.problem(job.seed), job.seed, horizon, monitor, horizon_known=known)
        except Exception as exception:
            error = f"{type(exception).__name__}: {exception}"[:300]
    verdicts = [(verdict.stuck, Alarm(verdict.step, verdict.cause.value)) for verdict in monitor.verdicts]
    return RunResult(
        name=job.name,
        seed=job.seed,
        alarms=tuple(alarm for stuck, alarm in verdicts if stuck),
        remarks=tuple(alarm for stuck, alarm in verdicts if not stuck),
        watched_seconds=time.perf_counter() - start,
        bare_seconds=bare,
        rules=rules,
        error=error,
    )


@contextmanager
def silence() -> Iterator[None]:
    """Suppress warnings and messages of Lightning and the monitor."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
